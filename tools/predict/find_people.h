// The stages of predict that run the networks: they find people and their joints, and track people through a video.
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

// Finds people in the frames that have not been searched yet. Not thread-safe. The detector must outlive the stage.
class DetectStage {
 public:
  // The detector runs on every `every`-th frame of a video; 1 means that it runs on each of them.
  DetectStage(PersonDetector& detector, int every, double box_score, bool track)
      : detector_(detector), every_(every), box_score_(box_score), track_(track) {}
  // Returns whether the frame needs the detector. It counts frames, so it must be called once for each frame, in order.
  bool wants(const Frame& frame);
  void run(std::span<Frame> frames);

 private:
  PersonDetector& detector_;
  int every_;
  double box_score_;
  bool track_;
  int64_t seen_ = 0;  // This counts the frames of the current video.
};

// Finds the joints of the people of several frames at once, and tracks the people through a video. Not thread-safe. The
// estimator must outlive the stage.
class PoseStage {
 public:
  PoseStage(PoseEstimator& estimator, const PredictOptions& options);
  // Returns whether the following frames need this frame's poses. A group of frames that run together must end there.
  bool ends_group(const Frame& frame) const;
  // Finds the poses of consecutive frames. Frames that mark the ends of videos may be among them.
  void run(std::span<Frame> frames);

 private:
  // Adds boxes where the tracker expects people.
  void carry_on(Frame& frame) const;
  void follow(Frame& frame);

  PoseEstimator& estimator_;
  bool track_;
  int every_;
  TrackerOptions tracker_options_;
  std::optional<Tracker> tracker_;  // The tracker belongs to the current video.
};

}  // namespace hr
