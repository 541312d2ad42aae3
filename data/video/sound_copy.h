// Copies the sound of a file into a video that is being written, packet by packet, without decoding it.
#pragma once
#include <string>

#include "core/file.h"
#include "data/video/ffmpeg.h"

namespace hr::ffmpeg {

// Not thread-safe. The output must outlive the copy. A problem with the sound never ends the video: nothing here throws
// because of the source, and problem() says what is wrong.
class SoundCopy {
 public:
  // Opens the file and adds a stream for its best sound to the output, whose header must not be written yet. If the
  // file has no sound, nothing is added and there is no problem.
  SoundCopy(const fs::path& source, AVFormatContext& output);
  // Returns whether a stream was added to the output.
  bool copies() const { return to_ != nullptr; }
  // Says why the sound is not, or not completely, in the output. Empty if there is no problem.
  const std::string& problem() const { return problem_; }
  // Writes the packets that begin before this time, which counts from the beginning of the source, as VideoFrame does.
  void write_until(double seconds);

 private:
  bool next();

  AVFormatContext& output_;
  Input input_;
  Packet packet_{av_packet_alloc()};
  AVStream *from_ = nullptr, *to_ = nullptr;
  bool pending_ = false, ended_ = false;
  int64_t start_ = 0;              // The time stamp of the source's beginning, in the time base of `from_`.
  int64_t last_ = AV_NOPTS_VALUE;  // The decoding time of the last packet that was written.
  std::string problem_;
};

}  // namespace hr::ffmpeg
