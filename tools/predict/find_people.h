// The stages with a network: where people are, their joints, and who is who.
#pragma once
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "hrnet/infer/person_detector.h"
#include "hrnet/infer/pose_estimator.h"
#include "hrnet/infer/tracker.h"
#include "tools/predict/frame.h"

namespace hr {

struct PredictOptions;

PersonDetector make_detector(const PredictOptions& options);
PoseEstimator make_estimator(const PredictOptions& options);

// Finds people in frames that nobody has looked at yet.
class DetectStage {
 public:
  // every: of a tracked video; 1: every frame is looked at.
  DetectStage(PersonDetector& detector, int every, double box_score, bool track)
      : detector_(detector), every_(every), box_score_(box_score), track_(track) {}
  // To be asked about each frame once, in order.
  bool wants(const Frame& frame);
  void run(std::span<Frame> frames);

 private:
  PersonDetector& detector_;
  int every_;
  double box_score_;
  bool track_;
  int64_t seen_ = 0;  // frames of the video that runs
};

// Finds the joints of the people of several frames at once, and follows them through a video.
class PoseStage {
 public:
  PoseStage(PoseEstimator& estimator, const PredictOptions& options);
  // Whether the frames that come after this one need its poses, so that it ends a group.
  bool ends_group(const Frame& frame) const;
  // Frames in order, with the ends of videos among them.
  void run(std::span<Frame> frames);

 private:
  void carry_on(Frame& frame) const;  // boxes of people where the tracker expects them
  void follow(Frame& frame);

  PoseEstimator& estimator_;
  bool track_;
  int every_;
  TrackerOptions tracker_options_;
  std::optional<Tracker> tracker_;  // of the video that runs
};

}  // namespace hr
