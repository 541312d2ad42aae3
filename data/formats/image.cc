#include "data/formats/image.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.h"
#include "data/formats/jpeg.h"
#include "data/formats/other_pictures.h"
#include "data/formats/picture_bytes.h"

namespace hr {

Image turned(const ImageView& image, int orientation) {
  const int w = image.width, h = image.height;
  Image out = orientation >= 5 ? Image(h, w) : Image(w, h);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      int fx = orientation >= 5 ? y : x, fy = orientation >= 5 ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) fx = w - 1 - fx;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) fy = h - 1 - fy;
      std::memcpy(out.at(x, y), image.at(fx, fy), 3);
    }
  }
  return out;
}

void check_picture_size(int64_t width, int64_t height, std::string_view name, int64_t max_pixels) {
  check(width > 0 && height > 0, "{}: a picture of {} x {} pixels cannot be read", name, width, height);
  check(height <= max_pixels / width, "{}: {} x {} pixels, more than the limit of {}; scale it down first", name, width,
        height, max_pixels);
}

Region united(const Region& a, const Region& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  const int x = std::min(a.x, b.x), y = std::min(a.y, b.y);
  return {x, y, std::max(a.x + a.w, b.x + b.w) - x, std::max(a.y + a.h, b.y + b.h) - y};
}

ImageView::ImageView(const Image& image)
    : width(image.width),
      height(image.height),
      region{0, 0, image.width, image.height},
      pixels(image.rgb.data()),
      stride(static_cast<size_t>(image.width) * 3),
      readable(image.rgb.size()) {}

struct ImageDecoder::State {
  JpegReader jpeg;
  std::vector<uint8_t> memory;
  Image image;  // For other formats, and for rotated pictures.
  std::span<const std::byte> bytes;
  std::string_view name;
  int width = 0, height = 0, orientation = 1;  // As stored in the file.
  bool is_jpeg = false, whole = true, opened = false;
  std::string damage;

  [[noreturn]] void fail_jpeg() const {
    if (jpeg.errors.ran_out) {
      fail("{}: truncated JPEG ({} bytes, and the picture goes on); copy the file again", name, bytes.size());
    }
    fail("{}: not a readable JPEG: {}", name, jpeg.errors.message);
  }
  ImageView decode_jpeg(Region wanted) {
    Region region;
    // 16 bytes more than the pixels, because the warp reads pixels eight bytes at a time.
    const auto room = [&](const Region& r) {
      const size_t size = static_cast<size_t>(r.area()) * 3 + static_cast<size_t>(r.w) * 4 + 16;
      if (memory.size() < size) memory.resize(size);
      return memory.data();
    };
    const bool good = jpeg.decode(wanted, region, room);
    if (jpeg.errors.truncated || !good) fail_jpeg();
    damage = jpeg.errors.warning;
    ImageView view;
    view.width = width;
    view.height = height;
    view.region = region;
    view.pixels = memory.data();
    view.stride = static_cast<size_t>(region.w) * 3;
    view.readable = memory.size();
    return view;
  }
};

ImageDecoder::ImageDecoder() : state_(std::make_unique<State>()) {}
ImageDecoder::~ImageDecoder() = default;

PictureInfo ImageDecoder::open(std::span<const std::byte> bytes, std::string_view name, Orientation orientation,
                               int64_t max_pixels) {
  State& s = *state_;
  s.opened = false;
  s.bytes = bytes;
  s.name = name;
  s.orientation = 1;
  s.damage.clear();
  int exif = 1;
  check(!bytes.empty(), "{}: empty file (0 bytes), expected a picture", name);
  s.is_jpeg = is_jpeg(bytes);
  if (s.is_jpeg) {
    if (!s.jpeg.open(bytes)) s.fail_jpeg();
    check_picture_size(s.jpeg.info.image_width, s.jpeg.info.image_height, name, max_pixels);
    s.width = static_cast<int>(s.jpeg.info.image_width);
    s.height = static_cast<int>(s.jpeg.info.image_height);
    s.whole = has_jpeg_end(bytes);
    exif = jpeg_orientation(bytes);
    if (orientation == Orientation::apply) s.orientation = exif;
  } else {
    const PictureInfo info = probe_with_stb(bytes, name, max_pixels);
    s.width = info.width;
    s.height = info.height;
    s.whole = info.whole;
  }
  s.opened = true;
  const bool on_its_side = s.orientation >= 5;
  return {on_its_side ? s.height : s.width, on_its_side ? s.width : s.height, s.whole, exif};
}

const std::string& ImageDecoder::damage() const { return state_->damage; }

ImageView ImageDecoder::decode(Region region) {
  State& s = *state_;
  check(s.opened, "ImageDecoder: decode() without open()");
  s.opened = false;
  if (!s.is_jpeg) {
    s.image = decode_with_stb(s.bytes, s.name);
    return s.image;
  }
  // A file that may be cut off is read to its end, so that the result does not depend on the region.
  const Region all{0, 0, s.width, s.height};
  if (s.orientation != 1 || !s.whole) region = all;
  check(all.contains(region), "{}: a region beyond the picture of {} x {} pixels", s.name, s.width, s.height);
  if (region.empty()) region = {0, 0, 1, 1};
  const ImageView view = s.decode_jpeg(region);
  if (s.orientation == 1) return view;
  s.image = turned(view, s.orientation);
  return s.image;
}

Image decode_image(std::span<const std::byte> bytes, std::string_view name, Orientation orientation, int64_t max_pixels,
                   std::string* damage) {
  ImageDecoder decoder;
  const PictureInfo info = decoder.open(bytes, name, orientation, max_pixels);
  const ImageView view = decoder.decode({0, 0, info.width, info.height});
  Image image(info.width, info.height);
  std::memcpy(image.rgb.data(), view.pixels, image.rgb.size());
  if (damage != nullptr) *damage = decoder.damage();
  return image;
}

PictureInfo probe_image(std::span<const std::byte> bytes, std::string_view name, Orientation orientation,
                        int64_t max_pixels) {
  return ImageDecoder().open(bytes, name, orientation, max_pixels);
}

Image read_image(const fs::path& path, Orientation orientation, std::string* damage) {
  const MappedFile file(path);
  return decode_image(file.bytes(), path.string(), orientation, default_max_pixels, damage);
}

Image mirrored(const Image& image) {
  Image out(image.width, image.height);
  for (int y = 0; y < image.height; ++y) {
    const uint8_t* from = image.at(0, y) + static_cast<size_t>(image.width) * 3;
    uint8_t* to = out.at(0, y);
    for (int x = 0; x < image.width; ++x, to += 3) {
      from -= 3;
      to[0] = from[0];
      to[1] = from[1];
      to[2] = from[2];
    }
  }
  return out;
}

}  // namespace hr
