// Writes pictures (declared in data/formats/image.h).
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "data/formats/encode_jpeg.h"
#include "data/formats/jpeg.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

namespace hr {
namespace {

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

std::string encode_jpeg(const Image& image, int quality) {
  check(image.width > 0 && image.height > 0 && image.rgb.size() == static_cast<size_t>(image.width) * image.height * 3,
        "encode_jpeg: cannot encode a picture of {} x {} pixels with {} bytes", image.width, image.height,
        image.rgb.size());
  JpegWriter writer;
  check(writer.encode(image, quality), "encode_jpeg: {} x {} pixels: {}", image.width, image.height,
        writer.errors.message);
  return {reinterpret_cast<const char*>(writer.data), writer.size};
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

}  // namespace hr
