// What libFuzzer requires of a target that has no mutator of its own.
#pragma once
#include "tests/fuzz/entry.h"

#define HR_FUZZ_TARGET(open)                                                                                     \
  extern "C" int LLVMFuzzerInitialize(int*, char***) {                                                           \
    std::atexit([] { std::fprintf(stderr, "slowest: %.3f s of processor time\n", hr::test::slowest_seconds); }); \
    return 0;                                                                                                    \
  }                                                                                                              \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {                                      \
    open(std::as_bytes(std::span(data, size)));                                                                  \
    return 0;                                                                                                    \
  }
