// The frames of a video: of a file, a camera or a stream, read with FFmpeg's libraries.
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

struct VideoInfo {
  int width = 0, height = 0;  // of the frames as they are seen, after the rotation that the file asks for
  double fps = 0;             // on average; 0: unknown
  int64_t frames = 0;         // as the file's header tells, which need not be right; 0: unknown
  int orientation = 1;        // 1 to 8 as in EXIF, already applied to the frames
  bool live = false;          // a camera or a stream that does not wait for us
  std::string codec;          // "h264"
};

struct VideoFrame {
  Image image;         // as it is seen
  double seconds = 0;  // since the beginning of the file, or since the first frame of a live source; always increasing
  int64_t index = 0;   // from 0; frames that a live source has lost are counted
};

struct VideoReaderOptions {
  int64_t max_pixels = default_max_pixels;  // a larger video is refused before memory is taken for a frame
  std::optional<bool> live;                 // whether frames that nobody takes in time are dropped; nullopt: found out
  // Asked while a source lets us wait and before each frame; true ends the video there. Called from other threads, too.
  std::function<bool()> interrupted;
  double patience_seconds = 20;  // a stream that sends nothing for so long has ended
};

// Whether the name is that of a camera (camera:N, /dev/videoN) or has the form of an address (rtsp://, http://).
bool is_stream_name(const std::string& source);

// Whether this build reads and writes videos.
bool has_video();

// Files are read from beginning to end, and every frame is given. Of a live source, which a thread reads all the time,
// the newest frames are given and older ones are dropped. Damaged packets are passed over and counted. Not thread-safe;
// readers do not know of each other. The first reader or writer takes over FFmpeg's log, so that nothing is printed.
class VideoReader {
 public:
  // Throws Error if the source cannot be opened, has no video (sound or a cover picture is none), has a codec that
  // FFmpeg does not know, or more pixels than allowed; or if this build has no FFmpeg.
  explicit VideoReader(const std::string& source, const VideoReaderOptions& options = {});
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;
  VideoReader& operator=(VideoReader&&) noexcept;

  // The next frame; false at the end. Memory of `frame` is used again. A frame may have another size than the first
  // one. Throws Error if a frame has more pixels than allowed.
  bool next(VideoFrame& frame);

  const VideoInfo& info() const;
  // What was wrong with the data so far: how often, and FFmpeg's words about the first time.
  int64_t damaged() const;
  std::string damage() const;
  // Frames of a live source that came while nobody took them.
  int64_t dropped() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr
