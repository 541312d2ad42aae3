#include "tools/programs/predict.h"

#include <algorithm>
#include <csignal>
#include <optional>

#include "core/counted.h"
#include "core/error.h"
#include "hrnet/train/precision.h"
#include "tools/cli/orderly_end.h"
#include "tools/predict/pipeline.h"

namespace hr {
namespace {

constexpr int kWindowEnded = -1;  // This is the reason of a stop that no signal has asked for.

void check_options(const PredictOptions& o, const std::vector<Input>& inputs) {
  const bool videos = std::any_of(inputs.begin(), inputs.end(), [](const Input& i) { return i.video; });
  check(o.boxes.empty() || o.detector.empty(), "--boxes and --detector both say where people are; choose one");
  check(o.boxes.empty() || !videos, "--boxes knows the people of pictures, not of videos; use --detector for these");
  check(!o.track || !o.detector.empty(), "--track (and --every) need --detector, which finds the people to follow");
}

std::vector<fs::path> pictures_of(const std::vector<Input>& inputs) {
  std::vector<fs::path> pictures;
  for (const Input& input : inputs) {
    if (!input.video) pictures.push_back(input.path());
  }
  return pictures;
}

// Finishes the files of a video that an error interrupted, so that the frames that are done can be used.
void keep_what_is_done(Outputs& outputs) noexcept {
  try {
    if (outputs.has_video_frames()) outputs.finish();
  } catch (const std::exception&) {  // Only the error that interrupted the video is reported.
  }
}

}  // namespace

int predict(const PredictOptions& options) {
  PredictOptions o = options;
  o.track |= o.every > 1;
  const auto [inputs, left_out] = find_inputs(o.inputs);
  if (!left_out.empty()) {
    fmt::print(stderr, "predict: note: {} left out, since JPEG, PNG, BMP, GIF, PNM and videos are read: {}\n",
               counted(left_out.size(), "file"), some_names(left_out));
  }
  check_options(o, inputs);
  settle_precision(o, {}, print_remark);
  std::optional<Window> window;
  if (o.show) window.emplace("predict", [] { OrderlyEnd::stop().request(kWindowEnded); });
  PoseEstimator estimator = make_estimator(o);
  std::optional<PersonDetector> detector;
  if (!o.detector.empty()) detector.emplace(make_detector(o));
  prepare_output_folder(o.output_dir, "output_dir");
  const std::vector<fs::path> pictures = pictures_of(inputs);
  const Boxes boxes = read_boxes(o.boxes, pictures);

  OrderlyEnd end;
  const StopRequest& stop = OrderlyEnd::stop();
  FrameSource source(inputs, pictures, boxes, o.workers, stop);
  Outputs outputs(o, inputs, boxes, estimator.skeleton());
  Progress progress("predict", count_frames(inputs));
  try {
    Pipeline(o,
             {source, detector ? &*detector : nullptr, estimator, outputs, progress, stop, window ? &*window : nullptr})
        .run();
  } catch (...) {
    keep_what_is_done(outputs);
    throw;
  }
  outputs.check_any();
  outputs.finish();
  const int status = outputs.report();
  if (stop.reason() == 0) {
    // Everything is written. A last picture stays, since it would hardly be seen otherwise.
    if (window && outputs.last_is_picture()) window->wait([&] { return stop.reason() != 0; });
    end.restore();
    return status;
  }
  if (stop.reason() == kWindowEnded) {
    end.restore();
    fmt::print(stderr, "predict: the window was closed after {}; what was done is written\n",
               counted(outputs.frames(), "frame"));
    return status;
  }
  fmt::print(stderr, "predict: stopped after {}; what was done is written\n", counted(outputs.frames(), "frame"));
  return 128 + (stop.reason() == SIGTERM ? SIGTERM : SIGINT);
}

}  // namespace hr
