// FFmpeg's objects with owners, and its errors as text. The only files that know FFmpeg are those of this folder.
#pragma once
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "data/formats/image.h"

namespace hr::ffmpeg {

struct Close {
  void operator()(AVFormatContext* p) const { avformat_close_input(&p); }
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
  void operator()(AVFrame* p) const { av_frame_free(&p); }
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(SwsContext* p) const { sws_freeContext(p); }
};
using Input = std::unique_ptr<AVFormatContext, Close>;
using Codec = std::unique_ptr<AVCodecContext, Close>;
using Frame = std::unique_ptr<AVFrame, Close>;
using Packet = std::unique_ptr<AVPacket, Close>;

// Takes over FFmpeg's log, once: nothing is printed, and the last complaint of each thread is kept for why().
void be_quiet();
// Forgets the complaints of this thread.
void forget_complaints();
// The words for an error code, with what FFmpeg complained about on this thread since forget_complaints().
std::string why(int code);

// The pictures of decoded frames and the way back. Keeps what it has set up for the last format.
class Converter {
 public:
  // Pixels of a decoded frame, turned by an EXIF orientation.
  void to_image(const AVFrame& frame, int orientation, Image& image);
  // Into a frame with buffers, YUV 4:2:0 of HD's colours. The picture fills it but for at most one column and row.
  void to_frame(const ImageView& picture, int width, int height, AVFrame& frame);

 private:
  SwsContext* scaler(int w, int h, int format, int to_w, int to_h, int to_format, bool exact);
  std::unique_ptr<SwsContext, Close> scaler_;
  std::array<int, 6> kind_{};  // sizes and formats of both sides
  int colours_ = -1, range_ = -1;
  bool fresh_ = true;
  std::vector<uint8_t> padded_;  // rows of RGB that FFmpeg's vector code may read and write past their ends
};

}  // namespace hr::ffmpeg
