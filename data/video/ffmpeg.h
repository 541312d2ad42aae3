// Wraps FFmpeg's objects in owning pointers and converts its error codes to text. Only the files of this folder include
// FFmpeg's headers.
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

// Redirects FFmpeg's log at the first call: nothing is printed any more, and the last error message of each thread is
// kept for why(). Thread-safe.
void be_quiet();
// Forgets the error message that was kept for the calling thread.
void forget_complaints();
// Returns the text of an FFmpeg error code, followed by the last error message that FFmpeg logged on this thread since
// forget_complaints().
std::string why(int code);

// Converts decoded frames to RGB pictures and RGB pictures to frames. It keeps the scaler of the last format. Not
// thread-safe.
class Converter {
 public:
  // Converts a decoded frame to RGB and turns it by an EXIF orientation (1 to 8). Throws Error if the pixels cannot be
  // converted.
  void to_image(const AVFrame& frame, int orientation, Image& image);
  // Converts a picture into a frame that already has its buffers, as YUV 4:2:0 with the colours of HD video (BT.709).
  // A picture of `width` x `height` pixels fills the frame except for at most one column and one row, which repeat its
  // last ones. A picture of another size is scaled to the whole frame. Throws Error if the pixels cannot be converted.
  void to_frame(const ImageView& picture, int width, int height, AVFrame& frame);

 private:
  SwsContext* scaler(int w, int h, int format, int to_w, int to_h, int to_format, bool exact);
  std::unique_ptr<SwsContext, Close> scaler_;
  std::array<int, 6> kind_{};  // These are the width, height and pixel format of both sides.
  int colours_ = -1, range_ = -1;
  bool fresh_ = true;
  // The rows of RGB are padded, because FFmpeg's vector code may read and write past their ends.
  std::vector<uint8_t> padded_;
};

}  // namespace hr::ffmpeg
