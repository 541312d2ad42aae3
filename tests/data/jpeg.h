// JPEGs of every kind, written for tests: sampling factors, progressive, restart markers, grey, CMYK.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <string>

#include <jpeglib.h>  // needs stdio's FILE first

#include "data/formats/image.h"

namespace hr::test {

struct JpegKind {
  int h = 2, v = 2;  // luma samples per chroma sample
  bool progressive = false;
  int restart = 0;                  // MCUs
  J_COLOR_SPACE space = JCS_YCbCr;  // or JCS_GRAYSCALE (red is taken), JCS_CMYK (black: the mean)
  int quality = 85;
  bool arithmetic = false;
};

inline std::string made_jpeg(const Image& image, const JpegKind& kind) {
  jpeg_error_mgr errors;
  jpeg_compress_struct info{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  const bool grey = kind.space == JCS_GRAYSCALE, cmyk = kind.space == JCS_CMYK;
  info.input_components = grey ? 1 : cmyk ? 4 : 3;
  info.in_color_space = grey ? JCS_GRAYSCALE : cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_colorspace(&info, cmyk ? JCS_YCCK : kind.space);
  jpeg_set_quality(&info, kind.quality, TRUE);
  if (!grey) {
    info.comp_info[0].h_samp_factor = kind.h;
    info.comp_info[0].v_samp_factor = kind.v;
    if (cmyk) {
      info.comp_info[3].h_samp_factor = kind.h;
      info.comp_info[3].v_samp_factor = kind.v;
    }
  }
  info.restart_interval = static_cast<unsigned>(kind.restart);
  info.arith_code = kind.arithmetic ? TRUE : FALSE;
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::string row(static_cast<size_t>(image.width) * info.input_components, '\0');
  while (info.next_scanline < info.image_height) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = image.at(x, static_cast<int>(info.next_scanline));
      for (int c = 0; c < info.input_components; ++c) {
        row[static_cast<size_t>(x) * info.input_components + c] =
            static_cast<char>(c < 3 ? p[c] : (p[0] + p[1] + p[2]) / 3);
      }
    }
    auto* at = reinterpret_cast<JSAMPLE*>(row.data());
    jpeg_write_scanlines(&info, &at, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  std::free(data);  // NOLINT: libjpeg's malloc
  return bytes;
}

// Returns the JPEG with an EXIF segment for this orientation (1 to 8), in either byte order.
inline std::string with_orientation(const std::string& jpeg, int orientation, bool big_endian) {
  const auto number = [&](unsigned value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * (big_endian ? bytes - 1 - i : i));
    return out;
  };
  std::string tiff = (big_endian ? "MM" : "II") + number(42, 2) + number(8, 4) + number(2, 2);
  tiff += number(0x0100, 2) + number(3, 2) + number(1, 4) + number(77, 2) + number(0, 2);  // a width is ignored
  tiff +=
      number(0x0112, 2) + number(3, 2) + number(1, 4) + number(static_cast<unsigned>(orientation), 2) + number(0, 2);
  tiff += number(0, 4);
  const std::string segment = std::string("Exif\0\0", 6) + tiff;
  std::string out = jpeg.substr(0, 2) + "\xff\xe1";
  out += static_cast<char>((segment.size() + 2) >> 8);
  out += static_cast<char>((segment.size() + 2) & 255);
  return out + segment + jpeg.substr(2);
}

}  // namespace hr::test
