#include "hrnet/infer/tracker.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "core/error.h"
#include "hrnet/infer/one_euro.h"

namespace hr {
namespace {

Pose person(double x, double y, double score = 0.9) { return {{x, y, 40, 100}, score, {}}; }

// A pose of 17 joints in a box; `lean` shifts the joints to one side.
std::vector<Joint> pose(const Box& b, double lean) {
  std::vector<Joint> joints;
  for (int k = 0; k < 17; ++k) {
    joints.push_back({static_cast<float>(b.x + b.w * (0.2 + lean + 0.1 * (k % 3))),
                      static_cast<float>(b.y + b.h * (k + 0.5) / 17), 0.9f});
  }
  return joints;
}

std::set<int64_t> ids(const std::vector<TrackedPerson>& people) {
  std::set<int64_t> set;
  for (const TrackedPerson& p : people) set.insert(p.track);
  return set;
}

TEST(Tracker, KeepsTheIdsOfPeopleWhoPassEachOther) {
  Tracker tracker;
  for (int f = 0; f < 60; ++f) {
    const std::vector<Pose> d{person(5.0 * f, 100), person(300 - 5.0 * f, 130)};
    const auto people = tracker.update(f / 30.0, d);
    ASSERT_EQ(people.size(), 2u) << f;
    EXPECT_EQ(people[0].track, 1);
    EXPECT_EQ(people[0].detection, 0) << f;
    EXPECT_EQ(people[1].detection, 1) << f;
    EXPECT_NEAR(people[0].seconds, f / 30.0, 1e-12);
  }
}

// The same walk behind a pillar, where nothing is seen for 0.5 s, at several frame rates and at uneven times.
TEST(Tracker, AgesAreSecondsAtAnyFrameRate) {
  for (const double fps : {12.0, 25.0, 60.0, 240.0, 0.0}) {
    std::mt19937 random(3);
    Tracker tracker;
    std::set<int64_t> seen;
    for (double t = 0; t < 3;) {
      std::vector<Pose> d;
      if (t < 1 || t > 1.5) d.push_back(person(80 * t, 50));
      for (const int64_t id : ids(tracker.update(t, d))) seen.insert(id);
      t += fps > 0 ? 1 / fps : std::ldexp(random(), -32) * 0.08;
    }
    EXPECT_EQ(seen, std::set<int64_t>{1}) << fps;
  }
}

TEST(Tracker, APersonWhoIsUnseenTooLongComesBackAsSomebodyElse) {
  for (const double fps : {10.0, 30.0, 100.0}) {
    for (const double gap : {0.85, 1.15}) {
      Tracker tracker({.max_lost_seconds = 1});
      std::vector<TrackedPerson> last;
      for (double t = 0; t < 4; t += 1 / fps) {
        const bool hidden = t > 1 && t < 1 + gap;
        const std::vector<Pose> d(hidden ? 0 : 1, person(10, 10));
        const auto people = tracker.update(t, d);
        if (!people.empty()) last = people;
      }
      ASSERT_EQ(last.size(), 1u);
      EXPECT_EQ(last[0].track, gap < 1 ? 1 : 2) << fps << " frames/s, unseen for " << gap;
    }
  }
}

TEST(Tracker, AGapInTheTimeStampsEndsAllTracks) {
  Tracker tracker;
  tracker.update(0, std::vector{person(10, 10)});
  EXPECT_EQ(tracker.alive(), 1);
  EXPECT_TRUE(tracker.update(100, {}).empty());
  EXPECT_EQ(tracker.alive(), 0);
  tracker.update(100.1, std::vector{person(10, 10)});
  EXPECT_EQ(ids(tracker.update(100.2, std::vector{person(10, 10)})), std::set<int64_t>{2});
}

TEST(Tracker, IdsAreNeverUsedTwiceNorAfterARestart) {
  Tracker tracker;
  std::set<int64_t> all;
  for (int round = 0; round < 5; ++round) {
    const auto people = tracker.update(0, std::vector{person(10, 10), person(200, 10)});
    for (const int64_t id : ids(people)) EXPECT_TRUE(all.insert(id).second) << id;
    tracker.restart();
  }
  EXPECT_EQ(all, (std::set<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST(Tracker, AFlickerGetsNoId) {
  Tracker tracker;
  tracker.update(0, {});
  EXPECT_TRUE(tracker.update(0.03, std::vector{person(10, 10)}).empty());
  EXPECT_TRUE(tracker.update(0.06, {}).empty());
  EXPECT_EQ(tracker.alive(), 0);
  EXPECT_TRUE(tracker.update(0.09, std::vector{person(10, 10)}).empty());
  EXPECT_EQ(ids(tracker.update(0.12, std::vector{person(10, 10)})), std::set<int64_t>{1});
}

TEST(Tracker, WeakDetectionsProlongATrackAndStartNone) {
  Tracker tracker;
  tracker.update(0, std::vector{person(10, 10), person(300, 10, 0.3)});
  for (int f = 1; f < 90; ++f) {
    const auto people = tracker.update(f / 30.0, std::vector{person(10, 10, 0.3), person(300, 10, 0.3)});
    ASSERT_EQ(ids(people), std::set<int64_t>{1}) << f;
    EXPECT_EQ(people[0].score, 0.3);
  }
  EXPECT_TRUE(tracker.update(3, std::vector{person(10, 10, 0.05)}).empty());  // too weak to be considered
  for (int f = 91; f < 95; ++f) {  // strong enough to be associated, but not to start a track
    EXPECT_TRUE(tracker.update(f / 30.0, std::vector{person(600, 10, 0.65)}).empty());
  }
}

// Two people in the same place exchange the order of their boxes. Only their poses distinguish them.
TEST(Tracker, PosesTellApartWhomBoxesDoNot) {
  for (const bool with_poses : {true, false}) {
    Tracker tracker;
    int kept = 0;
    for (int f = 0; f < 20; ++f) {
      const Box a{100, 100, 60, 150}, b{104, 100, 60, 150};
      // From the tenth frame on each is detected where the other was.
      Pose first{f < 10 ? a : b, 0.9, {}}, second{f < 10 ? b : a, 0.9, {}};
      if (with_poses) {
        first.joints = pose(first.box, 0);
        second.joints = pose(second.box, 0.4);
      }
      for (const TrackedPerson& p : tracker.update(f / 30.0, std::vector{first, second})) {
        kept += p.detection == p.track - 1;
      }
    }
    if (with_poses) {
      EXPECT_EQ(kept, 40);
    } else {
      EXPECT_LT(kept, 40);
    }
  }
}

TEST(Tracker, PredictsWithoutChangingAnything) {
  Tracker tracker, plain;
  for (int f = 0; f < 30; ++f) {
    Pose d = person(90.0 * f / 30, 50);
    d.joints = pose(d.box, 0);
    const auto a = tracker.update(f / 30.0, std::vector{d}), b = plain.update(f / 30.0, std::vector{d});
    ASSERT_EQ(a.size(), 1u);
    EXPECT_EQ(a[0].box.x, b[0].box.x) << f;
    const auto ahead = tracker.predict(f / 30.0 + 0.1);
    ASSERT_EQ(ahead.size(), 1u);
    EXPECT_EQ(ahead[0].detection, -1);
    if (f == 29) {
      EXPECT_NEAR(ahead[0].box.x - a[0].box.x, 9, 1);  // 90 pixels/s
      EXPECT_NEAR(ahead[0].joints[3].x - a[0].joints[3].x, 9, 1);
    }
  }
  EXPECT_TRUE(tracker.predict(10).empty());
}

TEST(Tracker, RefusesWhatIsNoNumberAndTimeThatGoesBack) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Tracker tracker;
  tracker.update(1, std::vector{person(10, 10)});
  EXPECT_THROW(tracker.update(0.5, {}), Error);
  EXPECT_THROW(tracker.update(nan, {}), Error);
  EXPECT_THROW(tracker.predict(0.5), Error);
  EXPECT_THROW(tracker.update(1.1, std::vector{person(nan, 10)}), Error);
  EXPECT_THROW(tracker.update(1.1, std::vector{person(10, 10, nan)}), Error);
  EXPECT_THROW(tracker.update(1.1, std::vector{Pose{{0, 0, 0, 10}, 1, {}}}), Error);
  EXPECT_THROW(tracker.update(1.1, std::vector{Pose{{0, 0, 9, 9}, 1, {{1, 1, 1}}}}), Error);
  Pose d = person(10, 10);
  d.joints = pose(d.box, 0);
  d.joints[4].y = static_cast<float>(nan);
  EXPECT_THROW(tracker.update(1.1, std::vector{d}), Error);
  // The refused calls have changed nothing: the person keeps the id, and a repeated time is allowed.
  EXPECT_EQ(ids(tracker.update(1, std::vector{person(10, 10)})), std::set<int64_t>{1});
  EXPECT_THROW(Tracker({.low_score = 0.9}), Error);
  EXPECT_THROW(Tracker({.max_lost_seconds = -1}), Error);
  EXPECT_THROW(Tracker({.sigmas = {0.1, 0}}), Error);
  EXPECT_THROW(Tracker({.min_cutoff = 0}), Error);
}

TEST(Tracker, AHundredPeopleGiveTheSameBitsTwice) {
  const auto run = [] {
    std::mt19937 random(11);
    Tracker tracker;
    std::vector<double> numbers;
    for (int f = 0; f < 40; ++f) {
      std::vector<Pose> d;
      for (int k = 0; k < 100; ++k) {
        if (random() % 10 == 0) continue;
        d.push_back(person(70 * (k % 10) + 2 * f + std::ldexp(random(), -30), 150 * (k / 10), 0.95));
        d.back().joints = pose(d.back().box, 0.1);
      }
      for (const TrackedPerson& p : tracker.update(f / 25.0, d)) {
        numbers.push_back(static_cast<double>(p.track));
        numbers.push_back(p.box.x);
        numbers.push_back(p.joints[5].x);
      }
    }
    return numbers;
  };
  const std::vector<double> a = run();
  EXPECT_EQ(a, run());
  double largest = 0;
  for (size_t i = 0; i < a.size(); i += 3) largest = std::max(largest, a[i]);
  EXPECT_EQ(largest, 100);  // a tenth is unseen in every frame, and nobody changes the id
}

// ---- smoothing ------------------------------------------------------------------------------------------------------

// Returns how much a joint at rest shakes, as a share of how much the detections shake.
double shake(double scale, double fps) {
  std::mt19937 random(5);
  std::normal_distribution<double> noise(0, 1);
  Tracker tracker;
  double in = 0, out = 0;
  int count = 0;
  for (int f = 0; f < 200; ++f) {
    Pose d{{100 * scale, 100 * scale, 40 * scale, 100 * scale}, 0.9, {}};
    d.joints = pose(d.box, 0);
    const std::vector<Joint> rest = d.joints;
    for (Joint& j : d.joints) j.x += static_cast<float>(noise(random) * scale);
    const auto people = tracker.update(f / fps, std::vector{d});
    if (f < 20) continue;
    for (size_t k = 0; k < rest.size(); ++k, ++count) {
      in += std::pow(d.joints[k].x - rest[k].x, 2);
      out += std::pow(people.at(0).joints[k].x - rest[k].x, 2);
    }
  }
  return std::sqrt(out / in);
}

TEST(Smoothing, CalmsJointsAtRestInAnyResolution) {
  EXPECT_LT(shake(1, 30), 0.75);
  EXPECT_NEAR(shake(8, 30), shake(1, 30), 1e-3);
  EXPECT_LT(shake(1, 60), shake(1, 30));
}

TEST(Smoothing, FollowsAFastJointWithoutMuchLag) {
  // The joint moves by one size of the person per second for two seconds. The lag must stay below a twentieth of the
  // size.
  OneEuro filter;
  const double unit = 80;
  for (int f = 0; f <= 60; ++f) {
    filter.step(unit * f / 30.0, 0, f == 0 ? 0 : 1 / 30.0, unit, 1.5, 10, 1);
  }
  EXPECT_LT(unit * 2 - filter.x, unit / 20);
  EXPECT_GT(filter.vx, 0.5 * unit);
  // By the formula, alpha of 1.5 Hz at 0.1 s is 0.485.
  OneEuro plain;
  plain.step(0, 0, 0, 1, 1.5, 0, 1);
  plain.step(1, 0, 0.1, 1, 1.5, 0, 1);
  EXPECT_NEAR(plain.x, 0.48519, 1e-5);
  plain.step(5, 5, 0, 1, 1.5, 0, 1);  // no time has passed
  EXPECT_NEAR(plain.x, 0.48519, 1e-5);
}

TEST(Smoothing, StartsAnewWithTheTrackAndSkipsUnseenJoints) {
  Tracker tracker;
  Pose d = person(10, 10);
  const auto frame = [&](double t, double lean, float score) {
    d.joints = pose(d.box, lean);
    d.joints[2].score = score;
    return tracker.update(t, std::vector{d}).at(0);
  };
  frame(0, 0, 0.9f);
  const TrackedPerson smoothed = frame(0.033, 0.1, 0.1f);
  EXPECT_LT(smoothed.joints[0].x, d.joints[0].x - 0.5f);  // lags behind
  EXPECT_EQ(smoothed.joints[2].x, d.joints[2].x);         // unseen: unchanged
  const TrackedPerson seen_again = frame(0.066, 0.2, 0.9f);
  EXPECT_EQ(seen_again.joints[2].x, d.joints[2].x);  // starts again
  tracker.update(0.1, {});
  const TrackedPerson again = frame(0.133, 0.4, 0.9f);
  EXPECT_EQ(again.track, 1);
  EXPECT_EQ(again.joints[0].x, d.joints[0].x);  // found again: starts again
}

// A person at rest whose joints shake: it makes no difference to the joints whether the detector saw a frame, or the
// pose was found where the tracker expected the person.
TEST(Smoothing, PosesBetweenDetectionsPassTheSameFilter) {
  Tracker seen, carried;
  std::mt19937 random(11);
  std::normal_distribution<double> noise(0, 2);
  for (int f = 0; f < 40; ++f) {
    Pose d = person(100, 60);
    d.joints = pose(d.box, 0);
    for (Joint& j : d.joints) j.x += static_cast<float>(noise(random));
    const double t = f / 25.0;
    const auto want = seen.update(t, std::vector{d}).at(0);
    std::vector<Joint> got;
    if (f % 3 == 0) {
      got = carried.update(t, std::vector{d}).at(0).joints;
    } else {
      const auto expected = carried.predict(t).at(0);
      EXPECT_NEAR(expected.box.x, 100, 1e-6);
      std::vector<Pose> found{{expected.box, 0.9, d.joints, expected.track}, {{500, 60, 40, 100}, 0.9, d.joints, 77}};
      carried.carry(t, found);
      EXPECT_EQ(found[0].track, 1);
      EXPECT_EQ(found[1].joints[0].x, d.joints[0].x) << "nobody has the number 77";
      got = found[0].joints;
    }
    ASSERT_EQ(got.size(), 17u);
    for (size_t k = 0; k < 17; ++k) EXPECT_NEAR(got[k].x, want.joints[k].x, 1e-3) << "frame " << f << ", joint " << k;
    if (f > 0) {
      EXPECT_NE(got[0].x, d.joints[0].x);
    }
  }
  std::vector<Pose> early{{{100, 60, 40, 100}, 0.9, {}, 1}};
  EXPECT_THROW(carried.carry(0, early), Error);
}

// A walking person is predicted from the last pose, also if that one was found between two detections.
TEST(Tracker, TheNextBoxIsPredictedWithTheJointsOfACarriedPose) {
  Tracker tracker({.smooth = false});
  for (int f = 0; f < 30; ++f) {
    Pose d = person(5.0 * f, 60);
    d.joints = pose(d.box, 0);
    if (f < 20 || f % 3 == 0) {
      tracker.update(f / 25.0, std::vector{d});
      continue;
    }
    const auto expected = tracker.predict(f / 25.0).at(0);
    std::vector<Pose> found{{expected.box, 0.9, pose(expected.box, 0.3), expected.track}};
    tracker.carry(f / 25.0, found);
    const auto next = tracker.predict((f + 0.5) / 25.0).at(0);
    const std::vector<Joint> want = pose(next.box, 0.3);
    for (size_t k = 0; k < 17; ++k) EXPECT_NEAR(next.joints[k].x, want[k].x, 0.5) << f;
  }
}

}  // namespace
}  // namespace hr
