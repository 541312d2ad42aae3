// Pictures: 8-bit RGB in memory. JPEG is read through libjpeg-turbo, PNG, BMP, GIF and PNM through stb. The first bytes
// of a file decide which format it has, not its name.
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
  std::vector<uint8_t> rgb;  // [height, width, 3], R, G, B.

  Image() = default;
  Image(int w, int h) : width(w), height(h), rgb(static_cast<size_t>(w) * h * 3) {}
  bool empty() const { return rgb.empty(); }
  uint8_t* at(int x, int y) { return rgb.data() + (static_cast<size_t>(y) * width + x) * 3; }
  const uint8_t* at(int x, int y) const { return rgb.data() + (static_cast<size_t>(y) * width + x) * 3; }
};

struct Region {
  int x = 0, y = 0, w = 0, h = 0;  // The pixels [x, x+w) x [y, y+h).

  bool empty() const { return w <= 0 || h <= 0; }
  int64_t area() const { return empty() ? 0 : static_cast<int64_t>(w) * h; }
  bool contains(const Region& r) const {
    return r.empty() || (r.x >= x && r.y >= y && r.x + r.w <= x + w && r.y + r.h <= y + h);
  }
  bool operator==(const Region&) const = default;
};
Region united(const Region& a, const Region& b);  // The smallest region that contains both.

// A picture of which all or a part is in memory. The view does not own the pixels, which must outlive it.
struct ImageView {
  int width = 0, height = 0;        // Of the whole picture.
  Region region;                    // The part that is in memory.
  const uint8_t* pixels = nullptr;  // The first pixel of the part, R, G, B.
  size_t stride = 0;                // Bytes from one row to the next.
  size_t readable = 0;              // Readable bytes from `pixels` on. More than the region needs makes warps faster.

  ImageView() = default;
  ImageView(const Image& image);  // NOLINT: a whole picture is a view of itself
  const uint8_t* at(int x, int y) const {
    return pixels + static_cast<size_t>(y - region.y) * stride + static_cast<size_t>(x - region.x) * 3;
  }
};

// Says what happens to the orientation tag of a camera (EXIF, in JPEG files). The official recipe ignores it; the
// seed's reader rotates the picture.
enum class Orientation : uint8_t { ignore, apply };

// The information that the header of a file gives before the picture is decoded.
struct PictureInfo {
  int width = 0, height = 0;  // The size that decode() gives, after rotation if it is applied.
  // False: the end of the file does not look like an end. Only decoding will tell whether pixels are missing.
  bool whole = true;
  // The EXIF orientation, 1 to 8, whether applied or not; from 5 on width and height change places.
  int orientation = 1;
};

// Reads a whole picture. Throws Error that names the file if it is missing, truncated, not a picture, or has more than
// max_pixels; sizes are checked before memory is allocated. JPEG: integer DCT, smooth chroma upsampling. For `damage`
// see ImageDecoder::damage().
inline constexpr int64_t default_max_pixels = int64_t{1} << 28;
Image read_image(const fs::path& path, Orientation orientation = Orientation::ignore, std::string* damage = nullptr);
Image decode_image(std::span<const std::byte> bytes, std::string_view name,
                   Orientation orientation = Orientation::ignore, int64_t max_pixels = default_max_pixels,
                   std::string* damage = nullptr);
PictureInfo probe_image(std::span<const std::byte> bytes, std::string_view name,
                        Orientation orientation = Orientation::ignore, int64_t max_pixels = default_max_pixels);

// Decodes pictures, or parts of them, one after the other into its own memory. Not thread-safe; each thread needs its
// own.
//   const PictureInfo info = decoder.open(bytes, "7.jpg");
//   const ImageView part = decoder.decode(region);
class ImageDecoder {
 public:
  ImageDecoder();
  ~ImageDecoder();
  ImageDecoder(const ImageDecoder&) = delete;
  ImageDecoder& operator=(const ImageDecoder&) = delete;

  // Both `bytes` and the name must stay valid until decode() returns. Throws Error as read_image() does.
  PictureInfo open(std::span<const std::byte> bytes, std::string_view name,
                   Orientation orientation = Orientation::ignore, int64_t max_pixels = default_max_pixels);
  // Decodes at least `region` of the opened picture; call it once per open(). Every pixel has the same bytes as if the
  // whole picture were decoded. Of a JPEG only the needed part is transformed, though everything before it in the file
  // must be read; other formats are decoded as a whole. Valid until the next open(). Throws Error if pixels are
  // missing.
  ImageView decode(Region region);
  // Returns the warning of the format's reader in the last decode(), such as "Corrupt JPEG data: bad Huffman code", or
  // an empty text. decode() reads the file only as far as the region needs it, so only decoding the whole picture reads
  // the file to its end. The pixels behind a damaged place may be wrong. A missing end marker alone is not damage,
  // because all pixels are there. Pixels that are missing because the file is cut off are an Error.
  const std::string& damage() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The file appears in one step. The format follows the extension (.jpg, .jpeg or .png). Throws Error for another one.
void write_image(const fs::path& path, const Image& image, int jpeg_quality = 92);

Image mirrored(const Image& image);  // Left and right exchanged.

// Normalises as for the training of the networks: (v/255 - mean) / std with ImageNet's mean .485 .456 .406 and std .229
// .224 .225 by channel index, also if `bgr` puts blue first, because the published PoseResNet weights expect that. out:
// [H, W, 3].
void normalize(const Image& image, std::span<float> out, bool bgr = false);
// Normalises a row of pixels: rgb [n, 3] -> out [n, 3].
void normalize_row(const uint8_t* rgb, size_t n, float* out, bool bgr = false);

}  // namespace hr
