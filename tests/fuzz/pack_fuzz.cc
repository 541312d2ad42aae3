// libFuzzer target: packs. Three of four inputs get correct checksums.
#include "tests/fuzz/data_entry.h"
#include "tests/fuzz/pack_sums.h"
#include "tests/fuzz/target.h"

HR_FUZZ_TARGET(hr::test::open_pack)

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 4 == 0) return size;
  std::string file(reinterpret_cast<const char*>(data), size);
  hr::test::repair_pack(file);
  std::copy(file.begin(), file.end(), data);
  return size;
}
