#include "data/video/ffmpeg.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

#include "core/error.h"
#include "data/formats/picture_bytes.h"

namespace hr::ffmpeg {
namespace {

thread_local std::string complaint;

void keep_complaint(void* about, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_ERROR) return;
  std::array<char, 512> line{};
  int prefix = 0;
  av_log_format_line(about, level, format, arguments, line.data(), static_cast<int>(line.size()), &prefix);
  complaint = line.data();
  while (!complaint.empty() && (complaint.back() == '\n' || complaint.back() == ' ')) complaint.pop_back();
  // The prefix of a message such as "[mov,mp4 @ 0x55d0c8] moov atom not found" holds a memory address, which tells a
  // user nothing.
  if (complaint.starts_with('[')) {
    if (const size_t end = complaint.find("] "); end != std::string::npos) complaint.erase(0, end + 2);
  }
}

size_t padded_stride(int width) { return (static_cast<size_t>(width) * 3 + 127) / 64 * 64; }

}  // namespace

void be_quiet() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(keep_complaint); });
}

void forget_complaints() { complaint.clear(); }

std::string why(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> words{};
  av_strerror(code, words.data(), words.size());
  return complaint.empty() ? std::string(words.data()) : fmt::format("{}: {}", words.data(), complaint);
}

SwsContext* Converter::scaler(int w, int h, int format, int to_w, int to_h, int to_format, bool exact) {
  const int flags = SWS_BICUBIC | (exact ? SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP : 0);
  const std::array<int, 6> kind = {w, h, format, to_w, to_h, to_format};
  fresh_ = kind != kind_ || scaler_ == nullptr;
  if (!fresh_) return scaler_.get();
  kind_ = kind;
  scaler_.reset(sws_getContext(w, h, static_cast<AVPixelFormat>(format), to_w, to_h,
                               static_cast<AVPixelFormat>(to_format), flags, nullptr, nullptr, nullptr));
  check(scaler_ != nullptr, "pixels of the kind {} of {} x {} cannot be converted", format, w, h);
  return scaler_.get();
}

void Converter::to_image(const AVFrame& frame, int orientation, Image& image) {
  const int w = frame.width, h = frame.height;
  SwsContext* sws = scaler(w, h, frame.format, w, h, AV_PIX_FMT_RGB24, true);
  const int colours = frame.colorspace == AVCOL_SPC_UNSPECIFIED || frame.colorspace == AVCOL_SPC_RGB
                          ? SWS_CS_DEFAULT
                          : static_cast<int>(frame.colorspace);
  const bool old_jpeg = frame.format == AV_PIX_FMT_YUVJ420P || frame.format == AV_PIX_FMT_YUVJ422P ||
                        frame.format == AV_PIX_FMT_YUVJ444P || frame.format == AV_PIX_FMT_YUVJ440P;
  const int range = frame.color_range == AVCOL_RANGE_JPEG || old_jpeg ? 1 : 0;
  if (fresh_ || colours != colours_ || range != range_) {
    const int* table = sws_getCoefficients(colours);
    // The call fails for pixel formats without such a setting (RGB, palettes), which do not need one either.
    sws_setColorspaceDetails(sws, table, range, table, 1, 0, 1 << 16, 1 << 16);
    colours_ = colours;
    range_ = range;
  }
  const size_t stride = padded_stride(w);
  padded_.resize(stride * static_cast<size_t>(h) + 64);
  uint8_t* const to[4] = {padded_.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {static_cast<int>(stride), 0, 0, 0};
  const int rows = sws_scale(sws, frame.data, frame.linesize, 0, h, to, strides);
  check(rows == h, "a frame of {} x {} pixels cannot be converted: {}", w, h, why(rows < 0 ? rows : AVERROR_UNKNOWN));
  ImageView view;
  view.width = w;
  view.height = h;
  view.region = {0, 0, w, h};
  view.pixels = padded_.data();
  view.stride = stride;
  view.readable = padded_.size();
  if (orientation != 1) {
    image = turned(view, orientation);
    return;
  }
  image.width = w;
  image.height = h;
  const size_t row = static_cast<size_t>(w) * 3;
  image.rgb.resize(row * static_cast<size_t>(h));
  for (int y = 0; y < h; ++y) std::memcpy(image.at(0, y), view.at(0, y), row);
}

void Converter::to_frame(const ImageView& picture, int width, int height, AVFrame& frame) {
  // A picture of the requested size may need one more column and row, which repeat its last ones. A picture of any
  // other size is scaled to the whole frame.
  const bool same = picture.width == width && picture.height == height;
  const int w = same ? frame.width : picture.width, h = same ? frame.height : picture.height;
  const size_t stride = padded_stride(w), row = static_cast<size_t>(picture.width) * 3;
  padded_.resize(stride * static_cast<size_t>(h) + 64);
  for (int y = 0; y < h; ++y) {
    uint8_t* to = padded_.data() + stride * static_cast<size_t>(y);
    std::memcpy(to, picture.at(0, std::min(y, picture.height - 1)), row);
    for (int x = picture.width; x < w; ++x) std::memcpy(to + static_cast<size_t>(x) * 3, to + row - 3, 3);
  }
  SwsContext* sws = scaler(w, h, AV_PIX_FMT_RGB24, frame.width, frame.height, frame.format, false);
  if (fresh_) {
    const int* table = sws_getCoefficients(SWS_CS_ITU709);
    sws_setColorspaceDetails(sws, table, 1, table, 0, 0, 1 << 16, 1 << 16);
  }
  const uint8_t* const from[4] = {padded_.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {static_cast<int>(stride), 0, 0, 0};
  const int rows = sws_scale(sws, from, strides, 0, h, frame.data, frame.linesize);
  check(rows == frame.height, "a picture of {} x {} pixels cannot be converted", picture.width, picture.height);
}

}  // namespace hr::ffmpeg
