#include "tools/predict/find_people.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "hrnet/infer/pose_network.h"
#include "tools/cli/flag_names.h"
#include "tools/programs/predict.h"

namespace hr {
namespace {

// A tracker also uses boxes with scores down to this one, to continue the tracks that it already has.
constexpr double kFaint = 0.1;

bool usable(const Box& b) { return b.w > 0 && b.h > 0 && std::isfinite(b.x + b.w) && std::isfinite(b.y + b.h); }

const Frame::Person* find(const Frame& frame, const Box& box) {
  const auto same = [&](const Frame::Person& p) {
    const Box& b = p.person.box;
    return b.x == box.x && b.y == box.y && b.w == box.w && b.h == box.h;
  };
  const auto found = std::find_if(frame.people.begin(), frame.people.end(), same);
  return found == frame.people.end() ? nullptr : &*found;
}

}  // namespace

PersonDetector make_detector(const PredictOptions& o) {
  // The precision is that of the pose network. A detector of 8 bits computes with them beside any other.
  ContextOptions context = context_options(o);
  if (is_int8(WeightFile(o.detector))) context.amp = false;
  return {make_context(context), o.detector, {.confidence = o.track ? std::min(kFaint, o.box_score) : o.box_score}};
}

PoseEstimator make_estimator(const PredictOptions& o) {
  LoadedModel loaded = load_model(o);
  if (!loaded.note.empty()) fmt::print(stderr, "predict: note: {}\n", with_flags(loaded.note));
  PoseNetwork network{.weights = o.weights,
                      .cx = std::move(loaded.cx),
                      .model = std::move(loaded.model),
                      .skeleton = std::make_shared<const Skeleton>(std::move(loaded.skeleton)),
                      .decoding = choose_decoding(o.decoding, loaded.info.codec, o.weights, loaded.input_h),
                      .input_h = loaded.input_h,
                      .input_w = loaded.input_w};
  return {std::move(network), o.batch_size, 0.9};
}

bool DetectStage::wants(const Frame& frame) {
  if (frame.end) seen_ = 0;
  if (frame.end || !frame.error.empty() || !frame.whole) return false;
  return !frame.video || seen_++ % every_ == 0;
}

void DetectStage::run(std::span<Frame> frames) {
  const std::vector<ImageView> views = [&] {
    std::vector<ImageView> all;
    for (const Frame& frame : frames) all.emplace_back(frame.image);
    return all;
  }();
  const auto found = detector_(views);
  for (size_t i = 0; i < frames.size(); ++i) {
    frames[i].detected = true;
    frames[i].whole = false;
    for (const DetectedBox& box : found[i]) {
      if (!usable(box.box) || (box.score < box_score_ && !(track_ && frames[i].video))) continue;
      frames[i].people.push_back({{box.box, box.score, box.category}});
    }
  }
}

PoseStage::PoseStage(PoseEstimator& estimator, const PredictOptions& o)
    : estimator_(estimator), track_(o.track), every_(o.every) {
  tracker_options_.high_score = o.box_score;
  tracker_options_.low_score = std::min(kFaint, o.box_score);
  tracker_options_.new_score = std::min(1.0, o.box_score + 0.1);  // ByteTrack uses the same margin.
  tracker_options_.sigmas = estimator.skeleton().sigmas;
  tracker_options_.smooth = o.smooth;
}

bool PoseStage::ends_group(const Frame& frame) const { return track_ && every_ > 1 && frame.detected; }

void PoseStage::carry_on(Frame& frame) const {
  frame.whole = false;
  if (!tracker_) return;
  for (const TrackedPerson& p : tracker_->predict(frame.seconds)) {
    if (usable(p.box)) frame.people.push_back({{p.box, p.score, p.category}, p.track});
  }
}

// Gives the poses their track numbers and smooths their joints. A frame that the detector has seen keeps only the poses
// of people whom the tracker knows.
void PoseStage::follow(Frame& frame) {
  if (!frame.detected) {
    for (Pose& pose : frame.poses) {
      const Frame::Person* person = find(frame, pose.box);
      pose.track = person != nullptr ? person->track : 0;
    }
    if (tracker_) tracker_->carry(frame.seconds, frame.poses);
    return;
  }
  if (!tracker_) tracker_.emplace(tracker_options_);
  // The tracker's thresholds refer to the scores of the detector, so the detections carry those scores.
  std::vector<Pose> detections = frame.poses;
  for (Pose& pose : detections) {
    if (const Frame::Person* person = find(frame, pose.box)) pose.score = person->person.score;
  }
  std::vector<Pose> known;
  for (TrackedPerson& p : tracker_->update(frame.seconds, detections)) {
    const double score = p.detection >= 0 ? frame.poses[static_cast<size_t>(p.detection)].score : p.score;
    Pose& pose = known.emplace_back(std::move(p));
    pose.score = score;
  }
  frame.poses = std::move(known);
}

void PoseStage::run(std::span<Frame> frames) {
  std::vector<PoseRequest> requests;
  std::vector<Frame*> asked;
  for (Frame& frame : frames) {
    if (frame.end || !frame.error.empty()) continue;
    if (track_ && frame.video && !frame.detected) carry_on(frame);
    asked.push_back(&frame);
    std::vector<People::Person> people;
    for (const Frame::Person& p : frame.people) people.push_back(p.person);
    requests.push_back({frame.image, frame.whole ? People() : People(std::move(people))});
  }
  std::vector<std::vector<Pose>> found = estimator_(requests);
  for (size_t i = 0; i < asked.size(); ++i) asked[i]->poses = std::move(found[i]);
  for (Frame& frame : frames) {
    if (frame.end) tracker_.reset();
    if (track_ && frame.video && !frame.end) follow(frame);
  }
}

}  // namespace hr
