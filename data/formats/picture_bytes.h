// Bytes of pictures that may come from an attacker.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hr {

struct Image;
struct ImageView;

// Returns the picture rotated or mirrored as orientation 2 to 8 demands. Pixel (x, y) of the result is (fx, fy) of the
// file.
Image turned(const ImageView& image, int orientation);

// Throws Error that begins with `name` if a picture of this size cannot be read, or is larger than the limit.
void check_picture_size(int64_t width, int64_t height, std::string_view name, int64_t max_pixels);

// Numbers in the bytes of a file: every read says whether it lay inside.
struct TiffBytes {
  std::span<const std::byte> bytes;
  bool big_endian = false;

  bool u16(size_t at, unsigned& value) const {
    if (at > bytes.size() || bytes.size() - at < 2) return false;
    const auto a = std::to_integer<unsigned>(bytes[at]), b = std::to_integer<unsigned>(bytes[at + 1]);
    value = big_endian ? a << 8 | b : b << 8 | a;
    return true;
  }
  bool u32(size_t at, size_t& value) const {
    unsigned a = 0, b = 0;
    if (!u16(at, a) || !u16(at + 2, b)) return false;
    value = big_endian ? size_t{a} << 16 | b : size_t{b} << 16 | a;
    return true;
  }
};

}  // namespace hr
