// libFuzzer target: JPEG, PNG, BMP, GIF and PNM: sizes, EXIF, and the pixels of small ones.
#include "tests/fuzz/data_entry.h"
#include "tests/fuzz/target.h"

HR_FUZZ_TARGET(hr::test::open_picture)
