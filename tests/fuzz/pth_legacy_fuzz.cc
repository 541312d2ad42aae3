// libFuzzer target: the legacy stream of five pickles.
#include "tests/fuzz/entry.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  std::atexit([] { std::fprintf(stderr, "slowest: %.3f s of processor time\n", hr::test::slowest_seconds); });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 2 && data[0] == 'P' && data[1] == 'K') return -1;  // an input of the other target
  hr::test::open_pth(std::as_bytes(std::span(data, size)));
  return 0;
}
