// The libFuzzer target for ONNX. Two of three mutations change a nested message and keep its file well-formed.
#include "tests/fuzz/onnx_entry.h"
#include "tests/fuzz/target.h"

HR_FUZZ_TARGET(hr::test::open_onnx)

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  if (seed % 3 == 0) return LLVMFuzzerMutate(data, size, max_size);
  uint64_t state = seed;
  const auto below = [&](size_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>((state >> 33) % n);
  };
  const auto change = [&](std::string text) {
    const size_t before = text.size();
    text.resize(std::max<size_t>(before + 64, 64));
    text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), before, text.size()));
    return text;
  };
  const std::string message(reinterpret_cast<const char*>(data), size);
  constexpr int most_nested = 6;
  const std::string other = hr::test::mutate_message(message, most_nested, below, change);
  if (other.size() > max_size) return size;
  std::copy(other.begin(), other.end(), data);
  return other.size();
}
