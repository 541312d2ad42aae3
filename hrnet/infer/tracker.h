// Who is who from frame to frame: boxes (and poses, where they are known) of a video become people with ids.
//
//   Tracker tracker;
//   for (each frame) {
//     const std::vector<TrackedPerson> people = tracker.update(seconds, pose(picture, detector(picture)));
//     for (const TrackedPerson& p : people) draw_person(picture, p);
//   }
//
// The association is that of ByteTrack (Zhang et al. 2022, "Multi-Object Tracking by Associating Every Detection Box"),
// written from the paper's description; boxes are predicted by a Kalman filter of constant velocity. All ages, noises
// and cutoffs are in seconds, so that 10 and 60 frames/s, or frames at uneven times, are followed alike.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/pose.h"

namespace hr {

struct TrackerOptions {
  // Detections at or above `high_score` are associated first, with all people; those between `low_score` and
  // `high_score` then only prolong people that were seen in the previous frame. The rest is not looked at.
  double high_score = 0.6, low_score = 0.1;
  double new_score = 0.7;  // a detection that belongs to nobody starts a track from this score on
  // The least likeness for a pair: of the first association (likeness times score), of the second, and of tracks that
  // were seen only once.
  double first_likeness = 0.1, second_likeness = 0.5, tentative_likeness = 0.3;
  double pose_weight = 0.5;       // likeness = (1 - w) IoU + w OKS where both poses are known, else IoU
  double max_lost_seconds = 1.0;  // a person who is not seen for longer comes back as somebody else
  int confirm_after = 2;          // detections in consecutive frames before a track gets an id (1 in the first frame)
  std::vector<double> sigmas;     // OKS sigma per joint; empty: COCO's 17
  float joint_score = 0.2f;       // joints below are neither compared nor smoothed

  // One-euro filter (Casiez et al. 2012) of every joint. Distances are in sizes of the person, sqrt(width x height).
  bool smooth = true;
  double min_cutoff = 1.5;    // Hz, of a joint at rest: lower is calmer
  double beta = 10;           // Hz per size/s: higher follows fast joints with less lag
  double speed_cutoff = 1.0;  // Hz, of the joints' speeds
};

// The detection's pose with the filter's estimate of the box, smoothed joints, and in `track` the person's id: from 1,
// in the order in which people were confirmed, never used twice.
struct TrackedPerson : Pose {
  int detection = -1;  // index into the frame's detections; -1: predicted
  double seconds = 0;  // since the track's first detection
};

// Deterministic: the same calls give the same bits. Not thread-safe; one tracker per video, and any number of trackers
// side by side. A call that throws changes nothing.
class Tracker {
 public:
  // Throws Error if an option cannot mean anything (not finite, low_score above high_score, a negative time, ...).
  explicit Tracker(TrackerOptions options = {});
  ~Tracker();
  Tracker(Tracker&&) noexcept;
  Tracker& operator=(Tracker&&) noexcept;

  // The next frame. `seconds` is its time stamp; an empty list says that nobody is in the picture. A detection is a box
  // with or without joints, whose width and height are above 0; a score outside of 0 to 1 counts as the nearer end when
  // it weighs an overlap, and `track` is not read. Returns the people that were seen in this frame, in the order of
  // their ids.
  // Throws Error if the time is not finite or before the last one; if a number of a detection is not finite or a box
  // has no area; if a pose has another number of joints than there are sigmas.
  std::vector<TrackedPerson> update(double seconds, std::span<const Pose> detections);

  // Where the people of the last frame are expected at a later time, for frames on which no detector ran. Changes
  // nothing. Joints move with the box. Throws Error as update does.
  std::vector<TrackedPerson> predict(double seconds) const;

  // Ends all tracks, for instance at a cut; ids go on. Time may start anew.
  void restart();

  // Tracks that the next detection could prolong: people in the picture, lost ones and those seen only once.
  int alive() const;

 private:
  struct Track;
  TrackerOptions options_;
  std::vector<Track> tracks_;
  double now_ = 0;
  bool started_ = false;  // a frame has been seen
  int64_t next_id_ = 1;
};

}  // namespace hr
