// libFuzzer target: safetensors. One of two inputs gets a correct header length.
#include <cstring>

#include "tests/fuzz/entry.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  std::atexit([] { std::fprintf(stderr, "slowest: %.3f s of processor time\n", hr::test::slowest_seconds); });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  hr::test::open_safetensors(std::as_bytes(std::span(data, size)));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 2 == 0 || size < 8) return size;
  // The header ends at the last brace, because no text after it contains one.
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.rfind("}}");
  const uint64_t length = end == std::string::npos || end < 8 ? size - 8 : end + 2 - 8;
  std::memcpy(data, &length, 8);
  return size;
}
