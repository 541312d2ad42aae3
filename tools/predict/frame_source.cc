#include "tools/predict/frame_source.h"

#include "core/counted.h"
#include "core/cuda.h"
#include "core/error.h"
#include "tools/cli/flag_names.h"

namespace hr {

FrameSource::FrameSource(const std::vector<Input>& inputs, const std::vector<fs::path>& pictures, const Boxes& boxes,
                         int workers, const StopRequest& stop)
    : inputs_(inputs), boxes_(boxes), stop_(stop), reader_(pictures, boxes, workers) {}

bool FrameSource::next(Frame& frame) {
  frame = {};
  if (stop_.reason() != 0 && video_ == nullptr) return false;
  if (input_ >= inputs_.size()) return false;
  frame.input = input_;
  if (inputs_[input_].video) return next_of_video(frame);
  ReadPicture picture;
  if (!reader_.next(picture)) return false;
  ++input_;
  frame.image = std::move(picture.image);
  frame.error = std::move(picture.error);
  frame.damage = std::move(picture.damage);
  const auto& people = boxes_.pictures[pictures_read_++].people;
  frame.whole = !people;
  if (people) {
    for (const People::Person& person : *people) frame.people.push_back({person});
  }
  return true;
}

bool FrameSource::next_of_video(Frame& frame) {
  const std::string& source = inputs_[input_].source;
  frame.video = true;
  frame.whole = true;
  try {
    if (video_ == nullptr) {
      video_ = std::make_unique<VideoReader>(source,
                                             VideoReaderOptions{.interrupted = [this] { return stop_.reason() != 0; }});
    }
    VideoFrame next;
    if (video_->next(next)) {
      frame.image = std::move(next.image);
      frame.index = next.index;
      frame.seconds = next.seconds;
      frame.fps = video_->info().fps;
      frame.live = video_->info().live;
      frame.pixel = video_->info().pixel;
      return true;
    }
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    frame.error = with_flags(error.what());
  }
  frame.end = true;
  if (video_ != nullptr) {
    frame.dropped = video_->dropped();
    if (video_->damaged() > 0)
      frame.damage = fmt::format("{} ({})", video_->damage(), counted(video_->damaged(), "time"));
  }
  video_.reset();
  ++input_;
  return true;
}

int64_t count_frames(const std::vector<Input>& inputs) {
  int64_t frames = 0;
  for (const Input& input : inputs) {
    if (!input.video) {
      ++frames;
      continue;
    }
    if (is_stream_name(input.source)) return 0;
    try {
      const int64_t own = VideoReader(input.source).info().frames;
      if (own == 0) return 0;
      frames += own;
      // The error is reported when the input is read.
    } catch (const Error&) {
    }
  }
  return frames;
}

}  // namespace hr
