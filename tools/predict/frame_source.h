// The first stage: pictures and frames, one input after the other.
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
  // All of these must outlive the source. When `stop` is asked for there are no more frames.
  FrameSource(const std::vector<Input>& inputs, const std::vector<fs::path>& pictures, const Boxes& boxes, int workers,
              const StopRequest& stop);

  // The next picture, frame or end of a video; false: there are no more. An input that cannot be read is a frame with
  // an error.
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

// Pictures and the frames that the videos' headers tell; 0: at least one of them does not tell.
int64_t count_frames(const std::vector<Input>& inputs);

}  // namespace hr
