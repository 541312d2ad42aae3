// libFuzzer target: the zip container of weight files. Two of three inputs are changed inside the container.
#include "tests/fuzz/target.h"
#include "tests/fuzz/zip_target.h"

HR_FUZZ_TARGET(hr::test::open_pth)

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return hr::test::mutate_zip(data, size, max_size, seed, 3);
}
