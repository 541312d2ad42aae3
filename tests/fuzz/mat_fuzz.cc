// libFuzzer target: MATLAB files.
#include "tests/fuzz/data_entry.h"
#include "tests/fuzz/target.h"

HR_FUZZ_TARGET(hr::test::open_mat)
