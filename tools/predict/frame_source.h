// The first stage of predict reads pictures and the frames of videos, one input after the other.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/stopwatch.h"
#include "data/video/video_reader.h"
#include "hrnet/train/stop.h"
#include "tools/predict/frame.h"
#include "tools/predict/output_names.h"
#include "tools/predict/picture_reader.h"

namespace hr {

class FrameSource {
 public:
  // All arguments that are references must outlive the source. The source ends when `stop` is requested. Not
  // thread-safe.
  FrameSource(const std::vector<Input>& inputs, const std::vector<fs::path>& pictures, const Boxes& boxes, int workers,
              const StopRequest& stop);

  // Reads the next picture, frame or end of a video. Returns false if there are no more. An input that cannot be read
  // gives a frame with an error message instead of an exception.
  bool next(Frame& frame);

 private:
  bool next_of_video(Frame& frame);

  const std::vector<Input>& inputs_;
  const Boxes& boxes_;
  const StopRequest& stop_;
  PictureReader reader_;
  std::unique_ptr<VideoReader> video_;
  size_t input_ = 0, pictures_read_ = 0;
};

// Returns the number of pictures plus the numbers of frames that the videos' headers state, or 0 if at least one of
// them is unknown.
int64_t count_frames(const std::vector<Input>& inputs);

}  // namespace hr
