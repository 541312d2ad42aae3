// libFuzzer target: JPEG, PNG, BMP, GIF and PNM: sizes, EXIF data, and the pixels of small pictures.
#include "tests/fuzz/data_entry.h"
#include "tests/fuzz/target.h"

HR_FUZZ_TARGET(hr::test::open_picture)
