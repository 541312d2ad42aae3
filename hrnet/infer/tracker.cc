#include "hrnet/infer/tracker.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "data/formats/skeleton.h"
#include "eval/assignment.h"
#include "eval/track_eval.h"
#include "hrnet/infer/one_euro.h"

namespace hr {
namespace {

// The noises of the Kalman filter are proportional to the height of the box, as in the paper, but are rates per second,
// while the paper's are per frame. Compared with the paper, boxes are trusted less and the motion is steadier. On
// public detections, jittered and thinned out at random, this keeps identities better.
constexpr double kRate = 30;            // frames/s that belong to the noises of the paper.
constexpr double kMeasured = 0.075;     // Standard deviation of a detected box, in heights.
constexpr double kPlace = 0.015;        // Standard deviation of the position after 1/30 s, in heights.
constexpr double kSpeed = kRate / 320;  // Standard deviation of the speed after 1/30 s, in heights per second.
constexpr double kAspect = 1e-2, kAspectSpeed = 1e-5 * kRate, kAspectMeasured = 1e-1;
constexpr double kDuplicate = 0.85;  // A lost and a seen track whose boxes have at least this IoU are the same person.
constexpr double kBodyArea = 0.53;   // The share of a box that a body fills, as for COCO's areas.

// One quantity and its velocity. The four quantities of a box (centre x and y, aspect, height) do not influence each
// other, so the paper's filter with eight numbers splits into four with two. The noise is white in velocity and
// position:
//   P(dt) = F P F' + [p dt + v dt^3 / 3,  v dt^2 / 2;  v dt^2 / 2,  v dt],   F = [1 dt; 0 1]
// so that two steps of dt / 2 equal one of dt.
struct Motion {
  double value = 0, velocity = 0;
  double p00 = 0, p01 = 0, p11 = 0;  // Covariance matrix.

  void start(double measured, double deviation, double velocity_deviation) {
    *this = {measured, 0, deviation * deviation, 0, velocity_deviation * velocity_deviation};
  }
  void predict(double dt, double place_rate, double velocity_rate) {
    value += velocity * dt;
    p00 += dt * (2 * p01 + dt * p11) + place_rate * dt + velocity_rate * dt * dt * dt / 3;
    p01 += dt * p11 + velocity_rate * dt * dt / 2;
    p11 += velocity_rate * dt;
  }
  void correct(double measured, double variance) {
    const double s = p00 + variance, gain = p00 / s, velocity_gain = p01 / s, error = measured - value;
    value += gain * error;
    velocity += velocity_gain * error;
    p11 -= velocity_gain * p01;
    p01 -= gain * p01;
    p00 -= gain * p00;
  }
};

double square(double v) { return v * v; }

struct BoxMotion {
  Motion x, y, aspect, height;

  void start(const Box& b) {
    x.start(b.x + b.w / 2, 2 * kPlace * b.h, 10 * kSpeed * b.h);
    y.start(b.y + b.h / 2, 2 * kPlace * b.h, 10 * kSpeed * b.h);
    aspect.start(b.w / b.h, kAspect, kAspectSpeed);
    height.start(b.h, 2 * kPlace * b.h, 10 * kSpeed * b.h);
  }
  // The height of a person who was not seen stays the same, since a trend of the size does not continue while the
  // person is hidden.
  void predict(double dt, bool lost) {
    if (lost) height.velocity = 0;
    const double place = square(kPlace * height.value) * kRate, speed = square(kSpeed * height.value) * kRate;
    x.predict(dt, place, speed);
    y.predict(dt, place, speed);
    aspect.predict(dt, square(kAspect) * kRate, square(kAspectSpeed) * kRate);
    const double smallest = height.value * 0.1;
    height.predict(dt, place, speed);
    height.value = std::max(height.value, smallest);
  }
  void correct(const Box& b) {
    const double variance = square(kMeasured * height.value);
    x.correct(b.x + b.w / 2, variance);
    y.correct(b.y + b.h / 2, variance);
    aspect.correct(b.w / b.h, square(kAspectMeasured));
    height.correct(b.h, variance);
  }
  Box box() const {
    const double h = height.value, w = std::max(aspect.value, 1e-3) * h;
    return {x.value - w / 2, y.value - h / 2, w, h};
  }
};

void check_option(bool condition, const char* name, double value, const char* expected) {
  check(condition, "TrackerOptions: {} is {}; expected {}", name, value, expected);
}

bool finite(const Box& b) {
  return std::isfinite(b.x) && std::isfinite(b.y) && std::isfinite(b.w) && std::isfinite(b.h);
}

}  // namespace

struct Tracker::Track {
  enum class State { tentative, seen, lost };
  State state = State::tentative;
  int64_t id = 0;  // 0 until the track is confirmed
  int hits = 1;
  double first_time = 0, last_time = 0;
  BoxMotion motion;
  Box last_box;      // The box to which last_joints belong: that of the last detection, or the carried one.
  Box smoothed_box;  // The box to which the smoothed joints belong.
  double smoothed_time = 0;
  double score = 0;
  int64_t category = 1;
  std::shared_ptr<const Skeleton> skeleton;
  int detection = -1;
  std::vector<Joint> last_joints, smoothed;
  std::vector<OneEuro> filters;

  bool matched = false;  // In this frame.

  // Moves and scales joints as the box has moved from `from` to `to`.
  std::vector<Joint> moved(std::vector<Joint> joints, const Box& from, const Box& to) const {
    const double scale = to.h / from.h;
    for (Joint& j : joints) {
      j.x = static_cast<float>(to.x + to.w / 2 + scale * (j.x - from.x - from.w / 2));
      j.y = static_cast<float>(to.y + to.h / 2 + scale * (j.y - from.y - from.h / 2));
    }
    return joints;
  }

  void smooth(const TrackerOptions& o, double seconds) {
    const double dt = seconds - smoothed_time;
    smoothed = last_joints;
    smoothed_time = seconds;
    if (!o.smooth || last_joints.empty()) return;
    filters.resize(last_joints.size());
    const Box b = motion.box();
    const double size = std::sqrt(b.w * b.h);
    for (size_t k = 0; k < filters.size(); ++k) {
      if (last_joints[k].score < o.joint_score) {
        filters[k] = {};
        continue;
      }
      filters[k].step(last_joints[k].x, last_joints[k].y, dt, size, o.min_cutoff, o.beta, o.speed_cutoff);
      smoothed[k].x = static_cast<float>(filters[k].x);
      smoothed[k].y = static_cast<float>(filters[k].y);
    }
  }

  void take(const Pose& d, int index) {
    score = d.score;
    category = d.category;
    skeleton = d.skeleton;
    detection = index;
  }

  TrackedPerson person(const Box& box, std::vector<Joint> joints, double now) const {
    return {{box, score, std::move(joints), id, category, skeleton}, detection, now - first_time};
  }

  void see(const Pose& d, int index, double seconds, const TrackerOptions& o) {
    const bool new_pose = state == State::lost || d.joints.empty() || last_joints.empty();
    if (new_pose) filters.clear();
    motion.correct(d.box);
    last_box = d.box;
    last_joints = d.joints;
    smooth(o, seconds);
    smoothed_box = motion.box();
    take(d, index);
    last_time = seconds;
    matched = true;
    ++hits;
  }

  void carry(Pose& pose, double seconds, const TrackerOptions& o) {
    if (pose.joints.empty()) return;
    last_box = smoothed_box = pose.box;
    last_joints = pose.joints;
    smooth(o, seconds);
    pose.joints = smoothed;
  }
};

namespace {

// OKS of two poses over the joints that both know. Returns -1 if there are none, so that the boxes alone decide.
double pose_likeness(std::span<const Joint> a, std::span<const Joint> b, double area, const TrackerOptions& o) {
  double sum = 0;
  int count = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    if (a[k].score < o.joint_score || b[k].score < o.joint_score) continue;
    const double d2 = square(a[k].x - b[k].x) + square(a[k].y - b[k].y);
    sum += std::exp(-d2 / (2 * square(2 * o.sigmas[k]) * area));
    ++count;
  }
  return count == 0 ? -1 : sum / count;
}

}  // namespace

Tracker::Tracker(TrackerOptions options) : options_(std::move(options)) {
  TrackerOptions& o = options_;
  if (o.sigmas.empty()) o.sigmas = coco_skeleton().sigmas;
  for (const double s : o.sigmas) check_option(std::isfinite(s) && s > 0, "sigmas", s, "finite numbers above 0");
  check_option(std::isfinite(o.high_score), "high_score", o.high_score, "a finite number");
  check_option(o.low_score <= o.high_score, "low_score", o.low_score, "at most high_score");
  check_option(o.new_score >= o.high_score, "new_score", o.new_score, "at least high_score");
  const auto share = [](double v) { return v >= 0 && v <= 1; };
  check_option(share(o.first_likeness), "first_likeness", o.first_likeness, "a number from 0 to 1");
  check_option(share(o.second_likeness), "second_likeness", o.second_likeness, "a number from 0 to 1");
  check_option(share(o.tentative_likeness), "tentative_likeness", o.tentative_likeness, "a number from 0 to 1");
  check_option(share(o.pose_weight), "pose_weight", o.pose_weight, "a number from 0 to 1");
  check_option(o.max_lost_seconds >= 0, "max_lost_seconds", o.max_lost_seconds, "0 or more");
  check_option(o.confirm_after >= 1, "confirm_after", o.confirm_after, "at least 1");
  check_option(std::isfinite(o.joint_score), "joint_score", o.joint_score, "a finite number");
  check_option(std::isfinite(o.min_cutoff) && o.min_cutoff > 0, "min_cutoff", o.min_cutoff, "a finite number above 0");
  check_option(std::isfinite(o.beta) && o.beta >= 0, "beta", o.beta, "a finite number, 0 or more");
  check_option(std::isfinite(o.speed_cutoff) && o.speed_cutoff > 0, "speed_cutoff", o.speed_cutoff,
               "a finite number above 0");
}

Tracker::~Tracker() = default;
Tracker::Tracker(Tracker&&) noexcept = default;
Tracker& Tracker::operator=(Tracker&&) noexcept = default;

// A frame that is being processed.
struct Tracker::Frame {
  double seconds = 0;
  std::span<const Pose> detections;
  std::vector<Box> boxes = {};                    // The place at which each track is expected.
  std::vector<std::vector<Joint>> expected = {};  // Joints of each track, moved to that box.
};

void Tracker::check_time(double seconds) const {
  check(std::isfinite(seconds), "Tracker: the time of a frame is {}; expected a finite number of seconds", seconds);
  check(!started_ || seconds >= now_,
        "Tracker: the time goes back from {} s to {} s; call restart() before another video", now_, seconds);
}

void Tracker::check_poses(std::span<const Pose> detections) const {
  for (size_t i = 0; i < detections.size(); ++i) {
    const Pose& d = detections[i];
    check(finite(d.box) && std::isfinite(d.score), "Tracker: detection {} has a box or a score that is not finite", i);
    check(d.box.w > 0 && d.box.h > 0, "Tracker: detection {} is a box of {} x {} pixels, which has no area", i, d.box.w,
          d.box.h);
    check(d.joints.empty() || d.joints.size() == options_.sigmas.size(),
          "Tracker: detection {} has {} joints, but there are {} sigmas; use one skeleton for both", i, d.joints.size(),
          options_.sigmas.size());
    for (const Joint& j : d.joints) {
      check(std::isfinite(j.x) && std::isfinite(j.y) && std::isfinite(j.score),
            "Tracker: detection {} has a joint that is not finite", i);
    }
  }
}

// Ends the tracks that were lost for too long and predicts the others.
Tracker::Frame Tracker::begin_frame(double seconds, std::span<const Pose> detections) {
  const double dt = started_ ? seconds - now_ : 0;
  started_ = true;
  now_ = seconds;
  std::erase_if(tracks_, [&](const Track& t) { return seconds - t.last_time > options_.max_lost_seconds; });
  Frame frame{.seconds = seconds, .detections = detections};
  for (Track& t : tracks_) {
    t.matched = false;
    t.motion.predict(dt, t.state == Track::State::lost);
    const Box box = t.motion.box();
    frame.expected.push_back(t.last_joints.empty() ? std::vector<Joint>{} : t.moved(t.last_joints, t.last_box, box));
    frame.boxes.push_back(box);
  }
  return frame;
}

double Tracker::likeness(const Frame& frame, int track, int detection) const {
  const Pose& d = frame.detections[detection];
  const std::vector<Joint>& expected = frame.expected[track];
  const double iou = box_iou(frame.boxes[track], d.box);
  if (iou <= 0 || options_.pose_weight <= 0 || d.joints.empty() || expected.empty()) return iou;
  const double oks = pose_likeness(expected, d.joints, kBodyArea * d.box.w * d.box.h, options_);
  return oks >= 0 ? iou + options_.pose_weight * (oks - iou) : iou;
}

// Associates the tracks for which takes_part() holds with the open detections, and removes the matched ones from
// `open`.
void Tracker::associate(const Frame& frame, bool (*takes_part)(const Track&), std::vector<int>& open, double least,
                        bool weigh_by_score) {
  std::vector<int> rows;
  for (size_t i = 0; i < tracks_.size(); ++i) {
    if (!tracks_[i].matched && takes_part(tracks_[i])) rows.push_back(static_cast<int>(i));
  }
  if (rows.empty() || open.empty()) return;
  std::vector<double> cost;
  cost.reserve(rows.size() * open.size());
  for (const int i : rows) {
    for (const int j : open) {
      const double weight = weigh_by_score ? std::clamp(frame.detections[j].score, 0.0, 1.0) : 1.0;
      cost.push_back(1 - likeness(frame, i, j) * weight);
    }
  }
  const std::vector<int> match =
      assign_below(cost, static_cast<int>(rows.size()), static_cast<int>(open.size()), 1 - least);
  std::vector<int> rest;
  std::vector<uint8_t> used(open.size(), 0);
  for (size_t r = 0; r < rows.size(); ++r) {
    if (match[r] < 0) continue;
    used[match[r]] = 1;
    tracks_[rows[r]].see(frame.detections[open[match[r]]], open[match[r]], frame.seconds, options_);
  }
  for (size_t k = 0; k < open.size(); ++k) {
    if (used[k] == 0) rest.push_back(open[k]);
  }
  open = std::move(rest);
}

void Tracker::start_tracks(const Frame& frame, const std::vector<int>& open) {
  for (const int j : open) {
    const Pose& d = frame.detections[j];
    if (d.score < options_.new_score) continue;
    Track t;
    t.motion.start(d.box);
    t.first_time = t.last_time = t.smoothed_time = frame.seconds;
    t.last_box = t.smoothed_box = d.box;
    t.last_joints = d.joints;
    t.smooth(options_, frame.seconds);
    t.take(d, j);
    t.matched = true;
    tracks_.push_back(std::move(t));
  }
}

void Tracker::update_states(bool first_frame) {
  using State = Track::State;
  for (Track& t : tracks_) {
    if (!t.matched) {
      t.state = State::lost;
      t.detection = -1;
    } else if (t.id != 0) {
      t.state = State::seen;
    } else if (t.hits >= options_.confirm_after || first_frame) {
      t.state = State::seen;
      t.id = next_id_++;
    }
  }
}

// If a seen and a lost track are in the same place, the younger one ends.
void Tracker::end_duplicates(double seconds) {
  using State = Track::State;
  std::vector<uint8_t> ends(tracks_.size(), 0);
  for (size_t i = 0; i < tracks_.size(); ++i) {
    if (tracks_[i].state != State::seen) continue;
    for (size_t j = 0; j < tracks_.size(); ++j) {
      if (tracks_[j].state != State::lost) continue;
      if (box_iou(tracks_[i].motion.box(), tracks_[j].motion.box()) <= kDuplicate) continue;
      const double age_i = seconds - tracks_[i].first_time, age_j = tracks_[j].last_time - tracks_[j].first_time;
      ends[age_i > age_j ? j : i] = 1;
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < tracks_.size(); ++i) {
    if (ends[i] != 0) continue;
    if (kept != i) tracks_[kept] = std::move(tracks_[i]);
    ++kept;
  }
  tracks_.resize(kept);
}

std::vector<TrackedPerson> Tracker::update(double seconds, std::span<const Pose> detections) {
  check_time(seconds);
  check_poses(detections);
  const bool first_frame = !started_;
  const Frame frame = begin_frame(seconds, detections);
  std::vector<int> high, low;
  for (size_t i = 0; i < detections.size(); ++i) {
    if (detections[i].score >= options_.high_score) {
      high.push_back(static_cast<int>(i));
    } else if (detections[i].score > options_.low_score) {
      low.push_back(static_cast<int>(i));
    }
  }
  using State = Track::State;
  const auto confirmed = [](const Track& t) { return t.state != State::tentative; };
  const auto seen = [](const Track& t) { return t.state == State::seen; };
  const auto tentative = [](const Track& t) { return t.state == State::tentative; };
  associate(frame, confirmed, high, options_.first_likeness, true);
  associate(frame, seen, low, options_.second_likeness, false);
  associate(frame, tentative, high, options_.tentative_likeness, true);
  std::erase_if(tracks_, [](const Track& t) { return t.state == State::tentative && !t.matched; });
  start_tracks(frame, high);
  update_states(first_frame);
  end_duplicates(seconds);

  std::vector<TrackedPerson> people;
  for (const Track& t : tracks_) {
    if (t.state == State::seen) people.push_back(t.person(t.motion.box(), t.smoothed, seconds));
  }
  std::sort(people.begin(), people.end(),
            [](const TrackedPerson& a, const TrackedPerson& b) { return a.track < b.track; });
  return people;
}

std::vector<TrackedPerson> Tracker::predict(double seconds) const {
  check(std::isfinite(seconds), "Tracker: the time of a frame is {}; expected a finite number of seconds", seconds);
  check(!started_ || seconds >= now_,
        "Tracker: the last frame is at {} s, so {} s cannot be predicted; ask for a later time", now_, seconds);
  std::vector<TrackedPerson> people;
  for (const Track& t : tracks_) {
    if (t.state != Track::State::seen || seconds - t.last_time > options_.max_lost_seconds) continue;
    BoxMotion motion = t.motion;
    motion.predict(seconds - now_, false);
    people.push_back(t.person(motion.box(), t.moved(t.smoothed, t.smoothed_box, motion.box()), seconds));
    people.back().detection = -1;
  }
  std::sort(people.begin(), people.end(),
            [](const TrackedPerson& a, const TrackedPerson& b) { return a.track < b.track; });
  return people;
}

void Tracker::carry(double seconds, std::span<Pose> poses) {
  check_time(seconds);
  check_poses(poses);
  for (Pose& pose : poses) {
    const auto same = [&](const Track& t) { return t.state == Track::State::seen && t.id == pose.track; };
    const auto track = std::find_if(tracks_.begin(), tracks_.end(), same);
    if (track != tracks_.end()) track->carry(pose, seconds, options_);
  }
}

void Tracker::restart() {
  tracks_.clear();
  started_ = false;
}

int Tracker::alive() const { return static_cast<int>(tracks_.size()); }

}  // namespace hr
