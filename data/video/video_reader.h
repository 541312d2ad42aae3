// Reads the frames of a video file, a camera or a stream with FFmpeg's libraries.
//   hr::VideoReader video("holiday.mp4");
//   for (hr::VideoFrame frame; video.next(frame);) use(frame.image, frame.seconds);
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "data/formats/image.h"

namespace hr {

// The shape of a pixel as it is to be shown. Old television and some cameras have pixels that are not square: 16:11 is
// wider than high.
struct PixelShape {
  int width = 1, height = 1;
  bool operator==(const PixelShape&) const = default;
};

struct VideoInfo {
  // The frames have this size in pixels after the rotation that the file asks for has been applied.
  int width = 0, height = 0;
  double fps = 0;  // This is the average number of frames per second, or 0 if it is unknown.
  // This is the number of frames that the file's header states, which may be wrong, or 0 if it is unknown.
  int64_t frames = 0;
  PixelShape pixel;     // Of the upright frames. The frames themselves are not stretched.
  int orientation = 1;  // The frames have already been turned by this EXIF orientation (1 to 8).
  // This is true for a camera or a stream that goes on whether or not its frames are taken.
  bool live = false;
  std::string codec;  // FFmpeg calls the codec by this name, such as "h264".
};

struct VideoFrame {
  Image image;  // The picture is upright: the rotation of the file has been applied.
  // The time counts from the beginning of the file or from the first frame of a live source. It always increases.
  double seconds = 0;
  int64_t index = 0;  // The index counts from 0 and includes the frames that a live source has dropped.
};

struct VideoReaderOptions {
  // A video with more pixels per frame is refused before memory for a frame is allocated.
  int64_t max_pixels = default_max_pixels;
  // If true, frames that are not taken in time are dropped. Without a value the reader decides by the kind of source.
  std::optional<bool> live;
  // This function is called before each frame and while the reader waits for the source, also from other threads. If it
  // returns true, the reader behaves as at the end of the video.
  std::function<bool()> interrupted;
  double patience_seconds = 20;  // A stream that sends nothing for this many seconds has ended.
};

// Returns whether the name is that of a camera (camera:N, /dev/videoN) or has the form of an address (rtsp://,
// http://).
bool is_stream_name(const std::string& source);

// Returns whether this build can read and write videos.
bool has_video();

// A reader returns every frame of a file, from the beginning to the end. A live source is read by a background thread,
// so that the newest frames are returned and older ones are dropped. Damaged packets are skipped and counted. A reader
// is not thread-safe, but several readers may be used in different threads. The first reader or writer redirects
// FFmpeg's log for the whole process, so that nothing is printed.
class VideoReader {
 public:
  // Throws Error if the source cannot be opened, if it has no video (sound and a cover picture do not count), if FFmpeg
  // does not know its codec, if it has more pixels than allowed, or if this build has no FFmpeg.
  explicit VideoReader(const std::string& source, const VideoReaderOptions& options = {});
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;
  VideoReader& operator=(VideoReader&&) noexcept;

  // Reads the next frame and returns true, or returns false at the end of the video. The memory of `frame` is reused. A
  // frame may have another size than the first one. Throws Error if a frame has more pixels than allowed.
  bool next(VideoFrame& frame);

  const VideoInfo& info() const;
  // damaged() is the number of errors in the data so far, and damage() is FFmpeg's description of the first one, or the
  // reason for which the source has ended too early.
  int64_t damaged() const;
  std::string damage() const;
  // Returns how many frames of a live source were dropped because they were not taken in time.
  int64_t dropped() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr
