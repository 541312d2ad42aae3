#include "data/formats/other_pictures.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "data/formats/picture_bytes.h"

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

namespace hr {
namespace {

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

}  // namespace

PictureInfo probe_with_stb(std::span<const std::byte> bytes, std::string_view name, int64_t max_pixels) {
  PictureInfo info;
  int channels = 0;
  StbSource header{bytes};
  if (stbi_info_from_callbacks(&stb_calls, &header, &info.width, &info.height, &channels) == 0) {
    refuse(false, bytes.size(), name);
  }
  check_picture_size(info.width, info.height, name, max_pixels);
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

}  // namespace hr
