// Writes pictures as an MP4 file with FFmpeg's libraries.
//   hr::VideoWriter video("out.mp4", width, height);
//   video.write(picture, seconds);  // for each picture
//   video.finish();
#pragma once
#include <memory>
#include <string>

#include "data/formats/image.h"

namespace hr {

struct VideoWriterOptions {
  std::string codec;                // h264 (libx264) or mpeg4; empty: h264 where FFmpeg has it
  double fps = 25;                  // roughly, for the encoder; the frames' own times are what is written
  int quality = 21;                 // 0 (best) to 51: the constant rate factor of H.264, an equal one of MPEG-4
  std::string preset = "veryfast";  // of libx264: how long it may take
  int threads = 0;                  // to encode with; 0: as the encoder likes
};

// Not thread-safe. The file appears when it is finished; until then it is called NAME.part.
class VideoWriter {
 public:
  // Throws Error if the file cannot be created, there is no such encoder, the size is none, or above 16384 a side.
  VideoWriter(const fs::path& path, int width, int height, const VideoWriterOptions& options = {});
  // Finishes the file if finish() was not called; errors are lost then.
  ~VideoWriter();
  VideoWriter(VideoWriter&&) noexcept;
  VideoWriter& operator=(VideoWriter&&) noexcept;

  // A whole picture; one of another size is scaled. The encoders want even sides, so the last column or row of an odd
  // one is doubled. A time that does not increase is set a tick (1/90000 s or less) after the last one. Throws Error if
  // the time is not finite or negative, the view is not whole, or the disk is full.
  void write(const ImageView& picture, double seconds);
  // Completes the file; without a frame there is none. Later calls do nothing. Throws Error as write() does.
  void finish();

  int64_t frames() const;
  const std::string& codec() const;  // that is used

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr
