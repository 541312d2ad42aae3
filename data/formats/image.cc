#include "data/formats/image.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <jerror.h>
#include <jpeglib.h>  // Needs stdio's FILE to be declared first.

#include "core/error.h"

// Only formats that a file announces itself. TGA, PIC and HDR are left out because stb guesses them, so that any bytes
// could become a picture. JPEG is left out too: a JPEG that libjpeg-turbo refuses is damaged or of a kind that stb does
// not know either, and with damaged Huffman tables Debian's stb (2.27) writes past the end of an array.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_TGA
#define STBI_NO_PIC
#define STBI_NO_HDR
#define STBI_NO_PSD
#define STBI_NO_JPEG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_MAX_DIMENSIONS (1 << 24)
#include <stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

namespace hr {
namespace {

void check_size(int64_t width, int64_t height, std::string_view name, int64_t max_pixels) {
  check(width > 0 && height > 0, "{}: a picture of {} x {} pixels cannot be read", name, width, height);
  check(height <= max_pixels / width, "{}: {} x {} pixels, more than the limit of {}; scale it down first", name, width,
        height, max_pixels);
}

// ---- JPEG -----------------------------------------------------------------------------------------------------------
// libjpeg reports errors with a call that must not return. It jumps back to here. Functions that call setjmp therefore
// hold no objects that need a destructor; such objects live in their callers.

struct JpegErrors {
  jpeg_error_mgr base;  // Must be first, because libjpeg passes back a pointer to it.
  std::jmp_buf jump;
  bool ran_out;    // The bytes ended before the end marker, and libjpeg inserted one.
  bool truncated;  // Pixels are missing.
  char message[JMSG_LENGTH_MAX];
  char warning[JMSG_LENGTH_MAX];  // The first warning; the end of the bytes does not count as one.

  void clear() {
    ran_out = truncated = false;
    message[0] = warning[0] = '\0';
  }
};

void on_jpeg_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->jump, 1);  // NOLINT: libjpeg requires this way out
}

// A file that only lacks its end marker has all of its pixels. Pixels are missing if the Huffman decoder needs more
// bits than there are, which libjpeg calls a premature end of the data segment.
void on_jpeg_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  const int code = info->err->msg_code;
  if (code == JWRN_JPEG_EOF) {
    errors->ran_out = true;
    return;
  }
  if (code == JWRN_HIT_MARKER && errors->ran_out) errors->truncated = true;
  if (errors->warning[0] == '\0') info->err->format_message(info, errors->warning);
}

jpeg_error_mgr* install(JpegErrors& errors) {
  errors.clear();
  jpeg_error_mgr* base = jpeg_std_error(&errors.base);
  base->error_exit = on_jpeg_error;
  base->emit_message = on_jpeg_message;
  return base;
}

// A progressive file may have any number of scans, each of which costs a pass over the whole picture.
constexpr int max_scans = 500;

void on_jpeg_progress(j_common_ptr info) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  if (decompress->input_scan_number <= max_scans) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans, no camera writes such a file", max_scans);
  std::longjmp(errors->jump, 1);  // NOLINT: as above
}

struct JpegReader {
  JpegErrors errors;
  jpeg_decompress_struct info{};
  jpeg_progress_mgr progress{};
  bool created = false, finishing = false;

  JpegReader() {
    info.err = install(errors);
    progress.progress_monitor = on_jpeg_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool open(std::span<const std::byte> bytes) {
    errors.clear();
    if (setjmp(errors.jump) != 0) {
      jpeg_destroy_decompress(&info);  // Allowed in every state.
      created = false;
      return false;
    }
    if (created) {
      jpeg_abort_decompress(&info);
    } else {
      jpeg_create_decompress(&info);
      info.progress = &progress;
      created = true;
    }
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<unsigned long>(bytes.size()));
    jpeg_read_header(&info, TRUE);
    info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;  // libjpeg cannot convert CMYK to RGB.
    info.dct_method = JDCT_ISLOW;
    info.do_fancy_upsampling = TRUE;
    return true;
  }

  // Decodes at least `wanted` into memory that room(bytes) returns: rows of `region` (the decoded part) * 3 bytes,
  // followed by one row of 4 bytes per pixel as scratch memory. With a region libjpeg can skip work: blocks at the left
  // and right are not transformed, rows above are only read, rows below are not read. Smooth upsampling mixes
  // neighbouring samples, so that pixels at a cut edge would differ; therefore two more columns are decoded on either
  // side.
  template <class Room>
  bool decode(Region wanted, Region& region, const Room& room) {
    finishing = false;
    if (setjmp(errors.jump) != 0) {
      jpeg_destroy_decompress(&info);
      created = false;
      // All rows were decoded, so an error behind them is only a warning.
      if (finishing && errors.warning[0] == '\0') std::memcpy(errors.warning, errors.message, sizeof errors.warning);
      return finishing;
    }
    jpeg_start_decompress(&info);
    const int width = static_cast<int>(info.output_width), height = static_cast<int>(info.output_height);
    region = {0, wanted.y, width, wanted.h};
    constexpr int margin = 2;
    const int left = std::max(0, wanted.x - margin), right = std::min(width, wanted.x + wanted.w + margin);
    if (left > 0 || right < width) {
      JDIMENSION x = static_cast<JDIMENSION>(left), w = static_cast<JDIMENSION>(right - left);
      jpeg_crop_scanline(&info, &x, &w);  // Moves x to the left, onto the border of a block.
      region.x = static_cast<int>(x);
      region.w = static_cast<int>(w);
    }
    const size_t stride = static_cast<size_t>(region.w) * 3;
    uint8_t* rgb = room(region);
    uint8_t* row = rgb + stride * region.h;
    if (region.y > 0) jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(region.y));
    const bool cmyk = info.out_color_space == JCS_CMYK;
    const int bottom = std::min(height, region.y + region.h);
    while (static_cast<int>(info.output_scanline) < bottom && !errors.truncated) {
      uint8_t* out = rgb + (info.output_scanline - static_cast<size_t>(region.y)) * stride;
      uint8_t* target = cmyk ? row : out;
      jpeg_read_scanlines(&info, &target, 1);
      if (!cmyk) continue;
      for (int x = 0; x < region.w; ++x) {
        // Ink is stored inverted, as in practically all CMYK JPEGs (Adobe's convention) and as OpenCV reads them.
        const int k = row[4 * x + 3];
        for (int c = 0; c < 3; ++c) out[3 * x + c] = static_cast<uint8_t>(k - ((255 - row[4 * x + c]) * k >> 8));
      }
    }
    if (errors.ran_out && pixels_are_missing()) errors.truncated = true;
    if (bottom == height && !errors.truncated) {
      finishing = true;
      jpeg_finish_decompress(&info);  // Reads to the end marker and warns of bytes that belong to no pixel.
    }
    return true;
  }

  // Returns whether pixels are missing from a file without an end marker in a way that the Huffman decoder does not
  // notice. A file of several scans may be cut between two of them: a component without any scan has no quantisation
  // table yet, and for a progressive file libjpeg knows how many bits of each coefficient are still to come. The
  // arithmetic decoder (a rare format) silently reads zeros for missing bytes, so that any such file counts as cut off.
  bool pixels_are_missing() const {
    if (info.arith_code != FALSE) return true;
    for (int c = 0; c < info.num_components; ++c) {
      if (info.comp_info[c].quant_table == nullptr) return true;
      for (int i = 0; info.coef_bits != nullptr && i < DCTSIZE2; ++i) {
        if (info.coef_bits[c][i] != 0) return true;
      }
    }
    return false;
  }
};

bool is_jpeg(std::span<const std::byte> bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0xFF} && bytes[1] == std::byte{0xD8};
}

// Returns whether the end marker lies within the last bytes (some cameras append a little). If it is missing the file
// may be cut off, and decoding a part might not notice that.
bool has_jpeg_end(std::span<const std::byte> bytes) {
  for (size_t i = bytes.size(), n = 0; i >= 2 && n < 128; --i, ++n) {
    if (bytes[i - 2] == std::byte{0xFF} && bytes[i - 1] == std::byte{0xD9}) return true;
  }
  return false;
}

// Bytes that may come from an attacker: every read says whether it lay inside.
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

// Returns the EXIF orientation of a JPEG, 1 to 8; 1 if there is none or it cannot be read.
int jpeg_orientation(std::span<const std::byte> bytes) {
  const TiffBytes markers{bytes, true};
  size_t at = 2;
  unsigned marker = 0, length = 0;
  while (markers.u16(at, marker) && markers.u16(at + 2, length) && marker >> 8 == 0xFF && length >= 2) {
    if (marker == 0xFFDA) break;  // The pixels follow.
    const size_t end = std::min(bytes.size(), at + 2 + length);
    static constexpr std::string_view exif{"Exif\0\0", 6};
    const auto segment = bytes.subspan(at + 4 <= end ? at + 4 : end, at + 4 <= end ? end - at - 4 : 0);
    at = end;
    if (marker != 0xFFE1 || segment.size() < 14 || std::memcmp(segment.data(), exif.data(), exif.size()) != 0) continue;
    TiffBytes tiff{segment.subspan(6)};
    tiff.big_endian = tiff.bytes[0] == std::byte{'M'};
    size_t directory = 0;
    unsigned entries = 0;
    if (!tiff.u32(4, directory) || !tiff.u16(directory, entries)) return 1;
    for (unsigned i = 0; i < entries; ++i) {
      unsigned tag = 0, value = 0;
      if (!tiff.u16(directory + 2 + size_t{12} * i, tag) || !tiff.u16(directory + 10 + size_t{12} * i, value)) return 1;
      if (tag == 0x0112) return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
  }
  return 1;
}

// Returns the picture rotated or mirrored as orientation 2 to 8 demands. Pixel (x, y) of the result is (fx, fy) of the
// file.
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

// ---- everything else
// --------------------------------------------------------------------------------------------------

// For some formats stb reads zeros past the end of the file, which would give half a picture. This source notices it.
struct StbSource {
  std::span<const std::byte> bytes;
  size_t at = 0;
  bool ran_out = false;

  static int read(void* user, char* data, int size) {
    auto* self = static_cast<StbSource*>(user);
    const size_t n = std::min(static_cast<size_t>(std::max(size, 0)), self->bytes.size() - self->at);
    // stb fills its buffer 128 bytes at a time; a short answer to such a request only means that the end is near.
    if (n == 0 ? size > 0 : static_cast<int>(n) < size && size != 128) self->ran_out = true;
    std::memcpy(data, self->bytes.data() + self->at, n);
    self->at += n;
    return static_cast<int>(n);
  }
  static void skip(void* user, int n) {
    auto* self = static_cast<StbSource*>(user);
    const auto to = static_cast<int64_t>(self->at) + n;
    if (to > static_cast<int64_t>(self->bytes.size())) self->ran_out = true;
    self->at = static_cast<size_t>(std::clamp<int64_t>(to, 0, static_cast<int64_t>(self->bytes.size())));
  }
  static int eof(void* user) {
    const auto* self = static_cast<StbSource*>(user);
    return static_cast<int>(self->at == self->bytes.size());
  }
};

constexpr stbi_io_callbacks stb_calls{StbSource::read, StbSource::skip, StbSource::eof};

[[noreturn]] void refuse(bool ran_out, size_t bytes, std::string_view name) {
  if (ran_out) fail("{}: truncated picture ({} bytes); copy the file again", name, bytes);
  fail("{}: not a picture that can be read ({}); JPEG, PNG, BMP, GIF and PNM are", name, stbi_failure_reason());
}

PictureInfo probe_with_stb(std::span<const std::byte> bytes, std::string_view name, int64_t max_pixels) {
  PictureInfo info;
  int channels = 0;
  StbSource header{bytes};
  if (stbi_info_from_callbacks(&stb_calls, &header, &info.width, &info.height, &channels) == 0) {
    refuse(false, bytes.size(), name);
  }
  check_size(info.width, info.height, name, max_pixels);
  StbSource depth{bytes};
  // For such a file stb 2.27 takes the wrong byte of each sample, and reads past the samples when it makes three
  // channels of one.
  check(bytes[0] != std::byte{'P'} || stbi_is_16_bit_from_callbacks(&stb_calls, &depth) == 0,
        "{}: a PNM with 16 bits per channel; save it with 8", name);
  static constexpr std::string_view png{"\x89PNG"}, end{"IEND\xAE\x42\x60\x82"};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  info.whole = text.starts_with(png) && text.ends_with(end);
  return info;
}

// stb allocates as many bytes as a chunk of a PNG claims before it reads them. Returns whether all chunks lie in the
// file.
bool png_chunks_fit(std::span<const std::byte> bytes) {
  const TiffBytes numbers{bytes, true};
  size_t length = 0, type = 0;
  for (size_t at = 8; numbers.u32(at, length) && numbers.u32(at + 4, type); at += 12 + length) {
    if (length > bytes.size() - at - 8) return false;
    if (type == 0x49454E44) break;  // IEND.
  }
  return true;
}

// If colours are missing from the palette of a BMP, stb (2.27) decodes them from uninitialised memory. It also counts
// the colours of the old header of 12 bytes as if that had 24.
void check_bmp_palette(std::span<const std::byte> bytes, std::string_view name) {
  const TiffBytes numbers{bytes};
  size_t pixels = 0, header = 0;
  unsigned bits = 0;
  if (!numbers.u32(10, pixels) || !numbers.u32(14, header) || !numbers.u16(header == 12 ? 24 : 28, bits)) return;
  if (bits > 8) return;
  const size_t before = 14 + (header == 12 ? 24 : header), color = header == 12 ? 3 : 4;
  const size_t colors = pixels > before ? (pixels - before) / color : 0;
  check(colors >= size_t{1} << bits, "{}: a BMP of {} bits with a palette of {} colours, expected {}; save it as PNG",
        name, bits, colors, size_t{1} << bits);
}

Image decode_with_stb(std::span<const std::byte> bytes, std::string_view name) {
  if (bytes[0] == std::byte{0x89} && !png_chunks_fit(bytes)) refuse(true, bytes.size(), name);
  if (bytes[0] == std::byte{'B'}) check_bmp_palette(bytes, name);
  int width = 0, height = 0, channels = 0;
  StbSource source{bytes};
  struct Free {
    stbi_uc* data;
    ~Free() { stbi_image_free(data); }
  } const pixels{stbi_load_from_callbacks(&stb_calls, &source, &width, &height, &channels, 3)};
  if (pixels.data == nullptr || source.ran_out) refuse(source.ran_out, bytes.size(), name);
  Image image(width, height);
  std::memcpy(image.rgb.data(), pixels.data, image.rgb.size());
  return image;
}

// ---- writing
// ----------------------------------------------------------------------------------------------------------

struct JpegWriter {
  JpegErrors errors;
  jpeg_compress_struct info{};
  unsigned char* data = nullptr;
  unsigned long size = 0;

  JpegWriter() { info.err = install(errors); }
  ~JpegWriter() {
    jpeg_destroy_compress(&info);
    std::free(data);  // NOLINT: allocated by libjpeg with malloc
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  bool encode(const Image& image, int quality) {
    if (setjmp(errors.jump) != 0) return false;
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &data, &size);
    info.image_width = static_cast<JDIMENSION>(image.width);
    info.image_height = static_cast<JDIMENSION>(image.height);
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, quality, TRUE);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
      auto* row = const_cast<uint8_t*>(image.at(0, static_cast<int>(info.next_scanline)));  // libjpeg only reads it.
      jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    return true;
  }
};

}  // namespace

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
    check_size(s.jpeg.info.image_width, s.jpeg.info.image_height, name, max_pixels);
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

void write_image(const fs::path& path, const Image& image, int jpeg_quality) {
  check(image.width > 0 && image.height > 0 && image.rgb.size() == static_cast<size_t>(image.width) * image.height * 3,
        "{}: cannot write a picture of {} x {} pixels with {} bytes", path.string(), image.width, image.height,
        image.rgb.size());
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  AtomicFile file(path);
  if (extension == ".jpg" || extension == ".jpeg") {
    JpegWriter writer;
    check(writer.encode(image, jpeg_quality), "{}: cannot encode a JPEG of {} x {} pixels: {}", path.string(),
          image.width, image.height, writer.errors.message);
    file.write(std::as_bytes(std::span(writer.data, writer.size)));
  } else if (extension == ".png") {
    std::string bytes;
    const auto append = [](void* to, void* data, int size) {
      static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(size));
    };
    check(image.rgb.size() < (size_t{1} << 30), "{}: too large for a PNG: {} x {} pixels", path.string(), image.width,
          image.height);
    check(stbi_write_png_to_func(append, &bytes, image.width, image.height, 3, image.rgb.data(), image.width * 3) != 0,
          "{}: cannot encode a PNG of {} x {} pixels", path.string(), image.width, image.height);
    file.write(bytes);
  } else {
    fail("{}: unknown picture format \"{}\"; use .jpg, .jpeg or .png", path.string(), extension);
  }
  file.commit();
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

namespace {

// (v / 255 - mean) / std in float32 steps, as for the reference's tensors. It processes sixteen pixels at a time, so
// that the constants of the three channels align with vectors of any width; the compiler vectorises the inner loop.
constexpr size_t block = 48;
struct Normal {
  float mean[block], deviation[block];
  constexpr Normal() : mean(), deviation() {
    constexpr double means[3] = {0.485, 0.456, 0.406}, deviations[3] = {0.229, 0.224, 0.225};
    for (size_t i = 0; i < block; ++i) {
      mean[i] = static_cast<float>(means[i % 3]);
      deviation[i] = static_cast<float>(deviations[i % 3]);
    }
  }
};
constexpr Normal normal;

inline void normalize_block(const uint8_t* from, size_t n, float* to) {
  for (size_t i = 0; i < n; ++i) to[i] = (static_cast<float>(from[i]) / 255.0F - normal.mean[i]) / normal.deviation[i];
}

}  // namespace

void normalize_row(const uint8_t* rgb, size_t n, float* out, bool bgr) {
  uint8_t swapped[block];
  for (size_t done = 0; done < 3 * n; done += block) {
    const size_t count = std::min(block, 3 * n - done);
    const uint8_t* from = rgb + done;
    if (bgr) {
      for (size_t i = 0; i < count; i += 3) {
        swapped[i] = from[i + 2];
        swapped[i + 1] = from[i + 1];
        swapped[i + 2] = from[i];
      }
      from = swapped;
    }
    if (count == block) {
      normalize_block(from, block, out + done);
    } else {
      normalize_block(from, count, out + done);
    }
  }
}

void normalize(const Image& image, std::span<float> out, bool bgr) {
  check(out.size() == image.rgb.size(), "normalize: a picture of {} x {} pixels needs {} floats, got {}", image.width,
        image.height, image.rgb.size(), out.size());
  normalize_row(image.rgb.data(), image.rgb.size() / 3, out.data(), bgr);
}

}  // namespace hr
