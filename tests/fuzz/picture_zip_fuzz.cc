// libFuzzer target: zip files of pictures, also with zip64 records. Half of the inputs are changed inside the
// container.
#include "tests/fuzz/data_entry.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/zip_target.h"

HR_FUZZ_TARGET(hr::test::open_picture_zip)

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return hr::test::mutate_zip(data, size, max_size, seed, 2);
}
