// Corrects the checksums of a pack whose bytes were changed, so that a reader gets past them.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace hr::test {

// Corrects the two checksums of a pack, and the offset of its index if the file is shorter than that.
inline void repair_pack(std::string& file) {
  if (file.size() < 64) return;
  const auto sum = [](std::string_view bytes) {  // the checksum of data/pack/pack_format.cc
    constexpr uint64_t odd = 0x9E3779B97F4A7C15U;
    uint64_t lane[4] = {1, 2, 3, 4}, word[4];
    const auto mix = [](uint64_t h, uint64_t w) { return (h ^ w) * odd << 29 | (h ^ w) * odd >> 35; };
    size_t at = 0;
    for (bool last = false; !last; at += 32) {
      last = at + 32 > bytes.size();
      std::fill(std::begin(word), std::end(word), 0);
      std::memcpy(word, bytes.data() + at, std::min<size_t>(32, bytes.size() - at));
      for (int i = 0; i < 4; ++i) lane[i] = mix(lane[i], word[i]);
    }
    uint64_t all = bytes.size();
    for (const uint64_t h : lane) all = mix(all, h);
    return all;
  };
  uint64_t offset = 0;
  std::memcpy(&offset, file.data() + 16, 8);
  offset = std::clamp<uint64_t>(offset, 64, file.size());
  const uint64_t size = file.size() - offset, index = sum(std::string_view(file).substr(offset));
  std::memcpy(file.data(), "HRPACK\r\n\1\0\0\0\0\0\0\0", 16);
  std::memcpy(file.data() + 16, &offset, 8);
  std::memcpy(file.data() + 24, &size, 8);
  std::memcpy(file.data() + 32, &index, 8);
  const uint64_t header = sum(std::string_view(file).substr(0, 40));
  std::memcpy(file.data() + 40, &header, 8);
}

}  // namespace hr::test
