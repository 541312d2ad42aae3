// Pictures: 8-bit RGB in memory, JPEG through libjpeg-turbo, PNG, BMP, GIF and PNM through stb. The file's first bytes
// decide, not its name.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/file.h"

namespace hr {

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]

  Image() = default;
  Image(int w, int h) : width(w), height(h), rgb(static_cast<size_t>(w) * h * 3) {}
  bool empty() const { return rgb.empty(); }
  uint8_t* at(int x, int y) { return rgb.data() + (static_cast<size_t>(y) * width + x) * 3; }
  const uint8_t* at(int x, int y) const { return rgb.data() + (static_cast<size_t>(y) * width + x) * 3; }
};

// Orientation tags are ignored, as the official recipe reads pictures. JPEG: integer DCT, smooth chroma upsampling.
// Error: missing, truncated, not a picture, or larger than 2^28 pixels; the message names the file.
Image read_image(const fs::path& path);
Image decode_image(std::span<const std::byte> bytes, std::string_view name);

// Written atomically; the format follows the extension (.jpg, .jpeg or .png).
void write_image(const fs::path& path, const Image& image, int jpeg_quality = 92);

Image mirrored(const Image& image);  // left and right exchanged

// What the networks were trained on: (v/255 - mean) / std with ImageNet's mean .485 .456 .406 and std .229 .224 .225 by
// channel index, also when `bgr` puts blue first (so the published PoseResNet weights expect it). out: [H, W, 3].
void normalize(const Image& image, std::span<float> out, bool bgr = false);

}  // namespace hr
