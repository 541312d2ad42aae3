#include "data/image.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <jerror.h>
#include <jpeglib.h>  // wants stdio's FILE first

#include "core/error.h"

// Formats that a file announces itself: TGA, PIC and HDR are left out because stb guesses them, so that any bytes could
// turn into a picture. JPEG too: what libjpeg-turbo refuses is damaged or of a kind that stb does not know either, and
// on damaged Huffman tables Debian's stb (2.27) writes past the end of an array.
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

constexpr int64_t max_pixels = int64_t{1} << 28;

void check_size(int64_t width, int64_t height, std::string_view name) {
  check(width > 0 && height > 0, "{}: picture of {} x {} pixels", name, width, height);
  check(height <= max_pixels / width, "{}: {} x {} pixels, more than the limit of 2^28; scale it down first", name,
        width, height);
}

// ---- JPEG -----------------------------------------------------------------------------------------------------------
// libjpeg reports errors by a call that must not return. It jumps back here; functions that call setjmp therefore hold
// nothing that needs a destructor, and the objects that do live in their callers.

struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf jump;
  bool truncated;
  char message[JMSG_LENGTH_MAX];
};

void on_jpeg_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->jump, 1);  // NOLINT: the library's way out
}

void on_jpeg_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) reinterpret_cast<JpegErrors*>(info->err)->truncated = true;
}

jpeg_error_mgr* install(JpegErrors& errors) {
  errors.truncated = false;
  errors.message[0] = '\0';
  jpeg_error_mgr* base = jpeg_std_error(&errors.base);
  base->error_exit = on_jpeg_error;
  base->emit_message = on_jpeg_message;
  return base;
}

struct JpegReader {
  JpegErrors errors;
  jpeg_decompress_struct info{};

  JpegReader() { info.err = install(errors); }
  ~JpegReader() { jpeg_destroy_decompress(&info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool open(std::span<const std::byte> bytes) {
    if (setjmp(errors.jump) != 0) return false;
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<unsigned long>(bytes.size()));
    jpeg_read_header(&info, TRUE);
    info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;  // libjpeg has no CMYK -> RGB
    info.dct_method = JDCT_ISLOW;
    info.do_fancy_upsampling = TRUE;
    return true;
  }

  // `row`: the picture's width * components; each row is handed on as width * 3.
  bool decode(uint8_t* rgb, uint8_t* row) {
    if (setjmp(errors.jump) != 0) return false;
    jpeg_start_decompress(&info);
    const size_t stride = static_cast<size_t>(info.output_width) * 3;
    const bool cmyk = info.out_color_space == JCS_CMYK;
    while (info.output_scanline < info.output_height && !errors.truncated) {
      uint8_t* out = rgb + info.output_scanline * stride;
      uint8_t* target = cmyk ? row : out;
      jpeg_read_scanlines(&info, &target, 1);
      if (!cmyk) continue;
      for (unsigned x = 0; x < info.output_width; ++x) {
        // Ink stored inverted, as practically all CMYK JPEGs are (Adobe's habit), and as OpenCV reads them.
        const int k = row[4 * x + 3];
        for (int c = 0; c < 3; ++c) out[3 * x + c] = static_cast<uint8_t>(k - ((255 - row[4 * x + c]) * k >> 8));
      }
    }
    return true;
  }
};

Image decode_jpeg(std::span<const std::byte> bytes, std::string_view name) {
  JpegReader reader;
  Image image;
  bool good = reader.open(bytes);
  if (good) {
    check_size(reader.info.image_width, reader.info.image_height, name);
    image = Image(static_cast<int>(reader.info.image_width), static_cast<int>(reader.info.image_height));
    std::vector<uint8_t> row(static_cast<size_t>(image.width) * 4);
    good = reader.decode(image.rgb.data(), row.data());
  }
  check(!reader.errors.truncated, "{}: truncated JPEG ({} bytes, and the picture goes on); copy the file again", name,
        bytes.size());
  check(good, "{}: not a readable JPEG: {}", name, reader.errors.message);
  return image;
}

// ---- everything else
// --------------------------------------------------------------------------------------------------

// stb reads zeros past the end of some formats, which would make half a picture; this source notices.
struct StbSource {
  std::span<const std::byte> bytes;
  size_t at = 0;
  bool ran_out = false;

  static int read(void* user, char* data, int size) {
    auto* self = static_cast<StbSource*>(user);
    const size_t n = std::min(static_cast<size_t>(std::max(size, 0)), self->bytes.size() - self->at);
    // stb fills its buffer 128 bytes at a time, where a short answer only means that the end is near.
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

Image decode_with_stb(std::span<const std::byte> bytes, std::string_view name) {
  const stbi_io_callbacks calls{StbSource::read, StbSource::skip, StbSource::eof};
  const auto refuse = [&](bool ran_out) {
    if (ran_out) fail("{}: truncated picture ({} bytes); copy the file again", name, bytes.size());
    fail("{}: not a picture that can be read ({}); JPEG, PNG, BMP, GIF and PNM are", name, stbi_failure_reason());
  };
  int width = 0, height = 0, channels = 0;
  StbSource header{bytes};
  if (stbi_info_from_callbacks(&calls, &header, &width, &height, &channels) == 0) refuse(false);
  check_size(width, height, name);
  StbSource source{bytes};
  struct Free {
    stbi_uc* data;
    ~Free() { stbi_image_free(data); }
  } const pixels{stbi_load_from_callbacks(&calls, &source, &width, &height, &channels, 3)};
  if (pixels.data == nullptr || source.ran_out) refuse(source.ran_out);
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
    std::free(data);  // NOLINT: libjpeg's malloc
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
      auto* row = const_cast<uint8_t*>(image.at(0, static_cast<int>(info.next_scanline)));  // libjpeg only reads it
      jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    return true;
  }
};

}  // namespace

Image decode_image(std::span<const std::byte> bytes, std::string_view name) {
  check(!bytes.empty(), "{}: empty file (0 bytes), expected a picture", name);
  const bool jpeg = bytes.size() >= 2 && bytes[0] == std::byte{0xFF} && bytes[1] == std::byte{0xD8};
  return jpeg ? decode_jpeg(bytes, name) : decode_with_stb(bytes, name);
}

Image read_image(const fs::path& path) {
  const MappedFile file(path);
  return decode_image(file.bytes(), path.string());
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

void normalize(const Image& image, std::span<float> out, bool bgr) {
  check(out.size() == image.rgb.size(), "normalize: a picture of {} x {} pixels needs {} floats, got {}", image.width,
        image.height, image.rgb.size(), out.size());
  static const auto table = [] {
    constexpr double mean[3] = {0.485, 0.456, 0.406}, deviation[3] = {0.229, 0.224, 0.225};
    std::array<std::array<float, 256>, 3> values;
    for (int c = 0; c < 3; ++c) {
      for (int v = 0; v < 256; ++v) {
        // In float32 steps, as the reference's tensors compute it.
        const float unit = static_cast<float>(v) / 255.0F;
        values[c][v] = (unit - static_cast<float>(mean[c])) / static_cast<float>(deviation[c]);
      }
    }
    return values;
  }();
  const uint8_t* from = image.rgb.data();
  float* to = out.data();
  const int first = bgr ? 2 : 0, last = bgr ? 0 : 2;
  for (size_t i = 0; i < out.size(); i += 3) {
    to[i] = table[0][from[i + first]];
    to[i + 1] = table[1][from[i + 1]];
    to[i + 2] = table[2][from[i + last]];
  }
}

}  // namespace hr
