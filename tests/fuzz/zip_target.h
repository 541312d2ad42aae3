// The mutator of targets that read zip files: some inputs are changed inside the container, which is then repaired.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>

#include "tests/fuzz/zip_mutator.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace hr::test {

// libFuzzer changes one of `plain` inputs; the others are changed inside the container. Returns the new size.
inline size_t mutate_zip(uint8_t* data, size_t size, size_t max_size, unsigned seed, size_t plain) {
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  const auto choose = [&](size_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<size_t>(state % n);
  };
  if (choose(plain) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string changed =
      mutate_inside({reinterpret_cast<const char*>(data), size}, choose, [&](const std::string& text) {
        std::string room(text.size() + 64, '\0');
        text.copy(room.data(), text.size());
        room.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(room.data()), text.size(), room.size()));
        return room;
      });
  if (changed.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(changed.begin(), changed.end(), data);
  return changed.size();
}

}  // namespace hr::test
