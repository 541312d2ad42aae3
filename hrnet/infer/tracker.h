// Tracks people through a video: boxes, with poses if there are any, become people with ids that stay the same.
//
//   Tracker tracker;
//   for (each frame) {
//     const std::vector<TrackedPerson> people = tracker.update(seconds, pose(picture, detector(picture)));
//     for (const TrackedPerson& p : people) draw_person(picture, p);
//   }
//
// The association is that of ByteTrack (Zhang et al. 2022, "Multi-Object Tracking by Associating Every Detection Box"),
// written from the description in the paper. A Kalman filter with constant velocity predicts the boxes. All ages,
// noises and cutoffs are in seconds, so that videos of 10 or 60 frames/s, or with uneven times, are tracked alike.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/pose.h"

namespace hr {

struct TrackerOptions {
  // Detections with at least `high_score` are associated first, with all tracks. Detections between `low_score` and
  // `high_score` then only continue tracks that were seen in the previous frame. Other detections are ignored.
  double high_score = 0.6, low_score = 0.1;
  double new_score = 0.7;  // A detection that matches no track starts a new one if it has at least this score.
  // Pairs with a lower likeness are not associated: in the first association (where the likeness is multiplied by the
  // score), in the second one, and for tracks that were seen only once.
  double first_likeness = 0.1, second_likeness = 0.5, tentative_likeness = 0.3;
  double pose_weight = 0.5;       // likeness = (1 - w) IoU + w OKS if both poses are known, else IoU.
  double max_lost_seconds = 1.0;  // A person who is not seen for longer than this gets a new id.
  // Number of consecutive frames with a detection before a track gets an id (1 in the first frame).
  int confirm_after = 2;
  std::vector<double> sigmas;  // OKS sigma per joint; empty: COCO's 17
  float joint_score = 0.2f;    // Joints with a lower score are neither compared nor smoothed.

  // The one-euro filter (Casiez et al. 2012) of every joint. Distances are relative to the size of the person,
  // sqrt(width x height).
  bool smooth = true;
  double min_cutoff = 1.5;    // Hz, for a joint at rest: lower values smooth more
  double beta = 10;           // Hz per size/s: higher values follow fast joints with less lag
  double speed_cutoff = 1.0;  // Hz, for the speeds of the joints
};

// The pose of a detection with the box as the filter estimates it and with smoothed joints. `track` is the id of the
// person: ids start at 1, are given in the order in which people are confirmed, and are never reused.
struct TrackedPerson : Pose {
  int detection = -1;  // Index of the detection in the frame; -1: the person was predicted.
  double seconds = 0;  // Time since the track's first detection.
};

// Deterministic: the same calls give the same bits. Not thread-safe: use one tracker per video; trackers do not share
// anything. If a call throws, the tracker is unchanged.
class Tracker {
 public:
  // Throws Error if an option is impossible (not finite, low_score above high_score, a negative time, ...).
  explicit Tracker(TrackerOptions options = {});
  ~Tracker();
  Tracker(Tracker&&) noexcept;
  Tracker& operator=(Tracker&&) noexcept;

  // Processes the next frame. `seconds` is its time stamp; an empty list means that nobody was detected. A detection is
  // a box with width and height above 0, with or without joints. A score outside of 0 to 1 is clamped when it weighs a
  // likeness, and `track` is ignored. Returns the people that were seen in this frame, in the order of their ids.
  // Throws Error if the time is not finite or before the previous one, if a number of a detection is not finite, if a
  // box has no area, or if a pose has another number of joints than there are sigmas.
  std::vector<TrackedPerson> update(double seconds, std::span<const Pose> detections);

  // Predicts where the people of the last frame are at a later time, for frames on which no detector ran. The joints
  // move with the box. The tracker does not change. Throws Error if the time is not finite or before the last frame.
  std::vector<TrackedPerson> predict(double seconds) const;

  // Smooths the joints that were found in boxes of predict(), on a frame on which no detector ran. Each pose names its
  // person by `track`; a pose of anyone who is not among the people of the last frame stays as it is. The joints pass
  // the same filters as those of update() and are what the next detections are compared with, but boxes, ids and ages
  // do not change. Throws Error if the time is not finite or before the previous frame, if a number of a pose is not
  // finite, if a box has no area, or if a pose has another number of joints than there are sigmas.
  void carry(double seconds, std::span<Pose> poses);

  // Ends all tracks, for example at a cut. The next frame may have any time; ids are still not reused.
  void restart();

  // Number of tracks that a detection could continue: people in the picture, lost ones and those seen only once.
  int alive() const;

 private:
  struct Track;
  struct Frame;
  void check_time(double seconds) const;
  void check_poses(std::span<const Pose> poses) const;
  Frame begin_frame(double seconds, std::span<const Pose> detections);
  double likeness(const Frame& frame, int track, int detection) const;
  void associate(const Frame& frame, bool (*takes_part)(const Track&), std::vector<int>& open, double least,
                 bool weigh_by_score);
  void start_tracks(const Frame& frame, const std::vector<int>& open);
  void update_states(bool first_frame);
  void end_duplicates(double seconds);

  TrackerOptions options_;
  std::vector<Track> tracks_;
  double now_ = 0;
  bool started_ = false;  // A frame has been seen.
  int64_t next_id_ = 1;
};

}  // namespace hr
