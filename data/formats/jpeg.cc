#include "data/formats/jpeg.h"

#include <algorithm>
#include <cstring>

#include <jerror.h>

#include "data/formats/picture_bytes.h"

namespace hr {
namespace {

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

// A progressive file may have any number of scans, each of which costs a pass over the whole picture.
constexpr int max_scans = 500;

void on_jpeg_progress(j_common_ptr info) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
  if (decompress->input_scan_number <= max_scans) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans, no camera writes such a file", max_scans);
  std::longjmp(errors->jump, 1);  // NOLINT: as above
}

}  // namespace

jpeg_error_mgr* install(JpegErrors& errors) {
  errors.clear();
  jpeg_error_mgr* base = jpeg_std_error(&errors.base);
  base->error_exit = on_jpeg_error;
  base->emit_message = on_jpeg_message;
  return base;
}

JpegReader::JpegReader() {
  info.err = install(errors);
  progress.progress_monitor = on_jpeg_progress;
}

bool JpegReader::open(std::span<const std::byte> bytes) {
  errors.clear();
  if (setjmp(errors.jump) != 0) {
    jpeg_destroy_decompress(&info);  // Allowed in every state.
    return false;
  }
  // A new object for each picture. The old one keeps the tables of its last picture, and a damaged file that lacks its
  // own would be decoded with those, so that its pixels would depend on what was decoded before.
  jpeg_destroy_decompress(&info);
  jpeg_create_decompress(&info);
  info.progress = &progress;
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&info, TRUE);
  info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;  // libjpeg cannot convert CMYK to RGB.
  info.dct_method = JDCT_ISLOW;
  info.do_fancy_upsampling = TRUE;
  return true;
}

bool JpegReader::decode(Region wanted, Region& region, const std::function<uint8_t*(const Region&)>& room) {
  finishing = false;
  if (setjmp(errors.jump) != 0) {
    jpeg_destroy_decompress(&info);
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

bool JpegReader::pixels_are_missing() const {
  if (info.arith_code != FALSE) return true;
  for (int c = 0; c < info.num_components; ++c) {
    if (info.comp_info[c].quant_table == nullptr) return true;
    for (int i = 0; info.coef_bits != nullptr && i < DCTSIZE2; ++i) {
      if (info.coef_bits[c][i] != 0) return true;
    }
  }
  return false;
}

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

}  // namespace hr
