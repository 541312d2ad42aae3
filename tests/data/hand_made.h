// Bytes of files that the tests of data/ write by hand.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/io/zip.h"

namespace hr::test {

// Returns the lowest `bytes` bytes of a number, the lowest first.
inline std::string little(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(i < 8 ? value >> 8 * i : 0);
  return out;
}
// The same, the highest first.
inline std::string big(uint64_t value, int bytes) {
  const std::string out = little(value, bytes);
  return {out.rbegin(), out.rend()};
}
inline uint32_t crc(const std::string& text) { return zip_crc(std::as_bytes(std::span(text))); }

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Deflate's stored blocks: length, its complement, bytes.
inline std::string stored_blocks(const std::string& bytes) {
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 60000) {
    const std::string block = bytes.substr(at, 60000);
    out += static_cast<char>(at + block.size() == bytes.size());
    out += little(block.size(), 2) + little(~block.size(), 2) + block;
  }
  return out;
}

// A zip file with one deflated member, written by hand because ZipWriter only stores.
inline std::string deflated_zip(const std::string& name, const std::string& bytes) {
  const std::string packed = stored_blocks(bytes);
  const std::string common = little(20, 2) + little(0, 2) + little(8, 2) + little(0, 4) + little(crc(bytes), 4) +
                             little(packed.size(), 4) + little(bytes.size(), 4) + little(name.size(), 2) + little(0, 2);
  const std::string local = "PK\3\4" + common + name + packed;
  const std::string directory = "PK\1\2" + little(20, 2) + common + little(0, 2) + little(0, 2) + little(0, 2) +
                                little(0, 4) + little(0, 4) + name;
  return local + directory + "PK\5\6" + little(0, 4) + little(1, 2) + little(1, 2) + little(directory.size(), 4) +
         little(local.size(), 4) + little(0, 2);
}

}  // namespace hr::test
