// Videos that the tests make themselves.
#pragma once
#include <string>
#include <vector>

#include "data/video/video_reader.h"
#include "data/video/video_writer.h"

namespace hr::test {

// A quiet picture whose corners have different colours; `n` makes it lighter.
inline Image picture(int w, int h, int n = 0) {
  Image image(w, h);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      image.at(x, y)[0] = static_cast<uint8_t>(x * 2 >= w ? 200 : 40);
      image.at(x, y)[1] = static_cast<uint8_t>(y * 2 >= h ? 190 : 50);
      image.at(x, y)[2] = static_cast<uint8_t>(30 + n * 5);
    }
  }
  return image;
}

inline void write_video(const fs::path& path, int w, int h, const std::vector<double>& times,
                        const VideoWriterOptions& options = {}) {
  VideoWriter video(path, w, h, options);
  for (size_t i = 0; i < times.size(); ++i) video.write(picture(w, h, static_cast<int>(i)), times[i]);
  video.finish();
}

inline std::vector<VideoFrame> read_video(VideoReader& video) {
  std::vector<VideoFrame> frames;
  for (VideoFrame frame; video.next(frame);) frames.push_back(frame);
  return frames;
}

inline std::vector<double> steady(int n, double fps = 25) {
  std::vector<double> times;
  for (int i = 0; i < n; ++i) times.push_back(i / fps);
  return times;
}

inline uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t v = 0;
  for (int k = 0; k < 4; ++k) v = v << 8 | static_cast<uint8_t>(bytes[at + k]);
  return v;
}

// The index (moov) in front of the data, as the web wants it.
inline std::string index_first(const std::string& bytes) {
  const size_t data = bytes.find("mdat") - 4, index = data + big_endian(bytes, data);
  std::string moov = bytes.substr(index);
  for (size_t table = moov.find("stco"); table != std::string::npos; table = moov.find("stco", table + 4)) {
    for (uint32_t i = 0; i < big_endian(moov, table + 8); ++i) {
      const size_t at = table + 12 + i * 4;
      const auto moved = static_cast<uint32_t>(big_endian(moov, at) + moov.size());
      for (int k = 0; k < 4; ++k) moov[at + k] = static_cast<char>(moved >> (24 - 8 * k));
    }
  }
  const size_t head = bytes.find("ftyp") - 4, head_end = head + big_endian(bytes, head);
  return bytes.substr(0, head_end) + moov + bytes.substr(head_end, index - head_end);
}

}  // namespace hr::test
