// Pictures: 8-bit RGB in memory, JPEG through libjpeg-turbo, PNG, BMP, GIF and PNM through stb. The file's first bytes
// decide, not its name.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
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

struct Region {
  int x = 0, y = 0, w = 0, h = 0;  // pixels [x, x+w) x [y, y+h)

  bool empty() const { return w <= 0 || h <= 0; }
  int64_t area() const { return empty() ? 0 : static_cast<int64_t>(w) * h; }
  bool contains(const Region& r) const {
    return r.empty() || (r.x >= x && r.y >= y && r.x + r.w <= x + w && r.y + r.h <= y + h);
  }
  bool operator==(const Region&) const = default;
};
Region united(const Region& a, const Region& b);  // the smallest region that contains both

// A picture of which a part is in memory (or all of it). Somebody else owns the pixels.
struct ImageView {
  int width = 0, height = 0;        // of the whole picture
  Region region;                    // the part that is there
  const uint8_t* pixels = nullptr;  // of its first pixel, R, G, B
  size_t stride = 0;                // bytes from row to row
  size_t readable = 0;              // bytes from `pixels` on that may be read; more than the region's make warps faster

  ImageView() = default;
  ImageView(const Image& image);  // NOLINT: a whole picture is a view of itself
  const uint8_t* at(int x, int y) const {
    return pixels + static_cast<size_t>(y - region.y) * stride + static_cast<size_t>(x - region.x) * 3;
  }
};

// A camera's orientation tag (EXIF, in JPEG files). The official recipe ignores it; the seed's reader turns the
// picture.
enum class Orientation : uint8_t { ignore, apply };

// What a file says before it is decoded.
struct PictureInfo {
  int width = 0, height = 0;  // as decode gives them (turned, if asked for)
  bool whole = true;          // false: the end of the file does not look like an end; only decoding will tell
  int orientation = 1;        // what EXIF says (1 to 8, from 5 on width and height change places), applied or not
};

// Error: missing, truncated, not a picture, or more than max_pixels; the message names the file. Bytes are counted
// before memory is taken. JPEG: integer DCT, smooth chroma upsampling. `damage`: see ImageDecoder::damage().
inline constexpr int64_t default_max_pixels = int64_t{1} << 28;
Image read_image(const fs::path& path, Orientation orientation = Orientation::ignore, std::string* damage = nullptr);
Image decode_image(std::span<const std::byte> bytes, std::string_view name,
                   Orientation orientation = Orientation::ignore, int64_t max_pixels = default_max_pixels,
                   std::string* damage = nullptr);
PictureInfo probe_image(std::span<const std::byte> bytes, std::string_view name,
                        Orientation orientation = Orientation::ignore, int64_t max_pixels = default_max_pixels);

// Decodes picture after picture, or parts of them, into memory of its own; one per thread.
//   const PictureInfo info = decoder.open(bytes, "7.jpg");
//   const ImageView part = decoder.decode(region);
class ImageDecoder {
 public:
  ImageDecoder();
  ~ImageDecoder();
  ImageDecoder(const ImageDecoder&) = delete;
  ImageDecoder& operator=(const ImageDecoder&) = delete;

  // The bytes and the name must stay until decode() is done.
  PictureInfo open(std::span<const std::byte> bytes, std::string_view name,
                   Orientation orientation = Orientation::ignore, int64_t max_pixels = default_max_pixels);
  // At least `region` of the opened picture, once per open; every pixel of it has the bytes that decoding the whole
  // picture gives. Of a JPEG only what is needed is transformed (all of what stands before it in the file must be
  // read); other formats are decoded whole. Valid until the next open().
  ImageView decode(Region region);
  // Returns the warning that the format's reader gave in the last decode(), which reads the file only as far as the
  // region needs it: such as "Corrupt JPEG data: bad Huffman code", or empty. The pixels behind such a place may be
  // wrong. Only a decode of the whole picture reads the file to its end. A missing end marker by itself is no damage:
  // all pixels are there. Pixels that are missing because the file is cut off are an Error.
  const std::string& damage() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Written atomically; the format follows the extension (.jpg, .jpeg or .png).
void write_image(const fs::path& path, const Image& image, int jpeg_quality = 92);

Image mirrored(const Image& image);  // left and right exchanged

// What the networks were trained on: (v/255 - mean) / std with ImageNet's mean .485 .456 .406 and std .229 .224 .225 by
// channel index, also when `bgr` puts blue first (so the published PoseResNet weights expect it). out: [H, W, 3].
void normalize(const Image& image, std::span<float> out, bool bgr = false);
// The same for a row of pixels: rgb [n, 3] -> out [n, 3].
void normalize_row(const uint8_t* rgb, size_t n, float* out, bool bgr = false);

}  // namespace hr
