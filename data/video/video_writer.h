// Writes pictures as an MP4 file with FFmpeg's libraries.
//   hr::VideoWriter video("out.mp4", width, height);
//   video.write(picture, seconds);  // Once for each picture.
//   video.finish();
#pragma once
#include <memory>
#include <string>

#include "data/video/video_reader.h"

namespace hr {

struct VideoWriterOptions {
  // The codec is h264 (libx264) or mpeg4. An empty name chooses h264 if FFmpeg has it and mpeg4 otherwise.
  std::string codec;
  // The encoder plans with about this many frames per second. The file gets the frames' own times.
  double fps = 25;
  // The quality runs from 0 (best) to 51. It is the constant rate factor of H.264; MPEG-4 gets a corresponding
  // quantiser.
  int quality = 21;
  std::string preset = "veryfast";  // The preset of libx264 trades speed for size.
  int threads = 0;                  // The encoder uses this many threads; with 0 it chooses the number.
  PixelShape pixel;                 // Players show the pixels in this shape.
  // If this is not empty, the sound of this file is copied, as far as the pictures reach. Both must count their times
  // from the beginning of that file, as VideoReader does.
  fs::path sound_of;
};

// Not thread-safe. The file is written as NAME.part and gets its own name when it is finished.
class VideoWriter {
 public:
  // Throws Error if the file cannot be created, if the encoder does not exist, if a side is not in 1 to 16384 pixels,
  // or if a side of the pixels' shape is not above 0.
  VideoWriter(const fs::path& path, int width, int height, const VideoWriterOptions& options = {});
  // Finishes the file if finish() was not called. Errors are ignored in that case.
  ~VideoWriter();
  VideoWriter(VideoWriter&&) noexcept;
  VideoWriter& operator=(VideoWriter&&) noexcept;

  // Writes one picture at a time in seconds. The view must cover a whole picture; a picture of another size is scaled
  // to the video's. The encoders need even sides, so the last column or row of an odd size is repeated. A time that
  // does not increase is moved to one tick (1/90000 s for H.264, 1/60000 s for MPEG-4) after the last one. Throws Error
  // if the time is negative or not finite, if the view does not cover a whole picture, or if the disk is full.
  void write(const ImageView& picture, double seconds);
  // Completes the file. If no frame was written, no file is left. Later calls do nothing. Throws Error as write() does.
  void finish();

  int64_t frames() const;
  const std::string& codec() const;  // Returns the codec in use, h264 or mpeg4.
  // Says why the sound of `sound_of` is not, or not completely, in the video: "is coded as pcm_s16le, which does not
  // fit into MP4". Empty if it is there, or if the file has no sound.
  std::string sound_problem() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr
