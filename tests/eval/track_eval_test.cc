#include "eval/track_eval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "tests/support/child.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

MotBox at(int frame, int64_t id, double x, double y = 0) { return {.frame = frame, .id = id, .box = {x, y, 10, 10}}; }

struct Expected {
  std::array<double, 12> motmetrics, trackeval;  // MOTA, MOTP, recall, precision, TP, FP, FN, IDs, Frag, MT, PT, ML
  std::array<double, 6> identity;                // IDF1, IDP, IDR, IDTP, IDFP, IDFN
  std::array<double, 8> hota;                    // HOTA, DetA, AssA, DetRe, DetPr, AssRe, AssPr, LocA
};

std::array<double, 12> numbers(const TrackEvalResult::Clear& c) {
  const auto d = [](int64_t v) { return static_cast<double>(v); };
  return {c.mota,
          c.motp,
          c.recall,
          c.precision,
          d(c.matches),
          d(c.fp),
          d(c.fn),
          d(c.id_switches),
          d(c.fragmentations),
          d(c.mostly_tracked),
          d(c.partially_tracked),
          d(c.mostly_lost)};
}

template <size_t N>
void expect_near(const std::array<double, N>& got, const std::array<double, N>& want, const char* what) {
  for (size_t i = 0; i < N; ++i) EXPECT_NEAR(got[i], want[i], 1e-12) << what << " " << i;
}

// Generated tracks in tests/eval/data. The expected numbers are those of py-motmetrics 1.4.0 and TrackEval 1.3.0. The
// second file has classes, so boxes on distractors are dropped first; in the third people stand close together.
TEST(TrackEval, EqualsMotmetricsAndTrackEval) {
  const std::pair<const char*, Expected> cases[] = {
      {"tracks",
       {{0.15254237288135597, 0.6384950957197131, 0.6101694915254238, 0.631578947368421, 36, 21, 23, 6, 15, 1, 4, 0},
        {0.11864406779661017, 0.6424452956433785, 0.6101694915254238, 0.631578947368421, 36, 21, 23, 8, 16, 0, 5, 0},
        {0.43103448275862066, 0.43859649122807015, 0.423728813559322, 25, 32, 34},
        {0.31382901765844684, 0.38449552548191174, 0.25730681741776823, 0.47725245316681536, 0.4939981532779317,
         0.3132258747620149, 0.5241808279669001, 0.7061018025554772}}},
      {"tracks_classes",
       {{-1, 0.6380766513261846, 0.8181818181818182, 0.3103448275862069, 9, 20, 2, 0, 2, 1, 0, 0},
        {-1, 0.6380766513261846, 0.8181818181818182, 0.3103448275862069, 9, 20, 2, 0, 1, 1, 0, 0},
        {0.45, 0.3103448275862069, 0.8181818181818182, 9, 20, 2},
        {0.3117747150053362, 0.1950423513759598, 0.4999354446722868, 0.5502392344497608, 0.20871143375680581,
         0.5157894736842106, 0.6491228070175438, 0.7336162355049382}}},
      {"tracks_crowd",
       {{0.296875, 0.643650300654398, 0.703125, 0.7627118644067796, 45, 14, 19, 12, 11, 2, 4, 0},
        {0.265625, 0.6443795980045199, 0.703125, 0.7627118644067796, 45, 14, 19, 14, 16, 2, 4, 0},
        {0.42276422764227645, 0.4406779661016949, 0.40625, 26, 33, 38},
        {0.3154677620720512, 0.4602910972908018, 0.22217614711517714, 0.524671052631579, 0.5691347011596789,
         0.2563832032876117, 0.6064495932858354, 0.7142118280524452}}},
  };
  for (const auto& [name, want] : cases) {
    const fs::path data = test::source_folder() / "tests/eval/data";
    const auto truth = read_mot(data / (std::string(name) + ".gt.txt"), MotKind::truth);
    const auto result = read_mot(data / (std::string(name) + ".dt.txt"), MotKind::result);
    for (const TrackRules rules : {TrackRules::motmetrics, TrackRules::trackeval}) {
      const TrackEvalResult r = evaluate_tracks(truth, result, {.rules = rules});
      const std::string what = fmt::format("{} {}", name, track_rules_name(rules));
      expect_near(numbers(r.clear), rules == TrackRules::motmetrics ? want.motmetrics : want.trackeval, what.c_str());
      const TrackEvalResult::Identity& i = r.identity;
      expect_near(
          {i.idf1, i.idp, i.idr, static_cast<double>(i.idtp), static_cast<double>(i.idfp), static_cast<double>(i.idfn)},
          want.identity, what.c_str());
      const TrackEvalResult::Hota& h = r.hota;
      expect_near({h.hota, h.det_a, h.ass_a, h.det_re, h.det_pr, h.ass_re, h.ass_pr, h.loc_a}, want.hota, what.c_str());
    }
  }
}

TEST(TrackEval, EqualsTheBenchmarksOwnToolOnTudCampus) {
  HR_NEEDS_ORACLE("../real/tracks/TUD-Campus.gt.txt");
  const auto truth = read_mot(test::oracle("../real/tracks/TUD-Campus.gt.txt"), MotKind::truth);
  const auto result = read_mot(test::oracle("../real/tracks/TUD-Campus.cem.txt"), MotKind::result);
  const TrackEvalResult r = evaluate_tracks(truth, result);
  EXPECT_NEAR(r.identity.idf1, 0.558, 5e-4);
  EXPECT_NEAR(r.clear.mota, 0.526, 5e-4);
  EXPECT_NEAR(r.clear.motp, 0.723, 5e-4);
  EXPECT_EQ(r.clear.fp, 13);
  EXPECT_EQ(r.clear.fn, 150);
  EXPECT_EQ(r.clear.id_switches, 7);
  EXPECT_EQ(r.clear.fragmentations, 7);
  EXPECT_EQ(r.counts.people_tracks, 8);
  EXPECT_EQ(track_remarks(r), "");
}

// One person in six frames: tracked by track 1, missed, then tracked by track 2; there is one false alarm. The numbers
// are computed by hand.
TEST(TrackEval, CountsByHand) {
  std::vector<MotBox> truth, result{at(1, 1, 0), at(2, 1, 0), at(4, 2, 0), at(5, 2, 0), at(6, 2, 0), at(6, 3, 100)};
  for (int f = 1; f <= 6; ++f) truth.push_back(at(f, 9, 0));
  const TrackEvalResult r = evaluate_tracks(truth, result);
  EXPECT_EQ(r.clear.matches, 5);
  EXPECT_EQ(r.clear.fn, 1);
  EXPECT_EQ(r.clear.fp, 1);
  EXPECT_EQ(r.clear.id_switches, 1);
  EXPECT_EQ(r.clear.fragmentations, 1);
  EXPECT_EQ(r.clear.mostly_tracked, 1);
  EXPECT_DOUBLE_EQ(r.clear.mota, 0.5);
  EXPECT_DOUBLE_EQ(r.clear.motp, 1);
  EXPECT_EQ(r.identity.idtp, 3);
  EXPECT_EQ(r.identity.idfp, 3);
  EXPECT_EQ(r.identity.idfn, 3);
  EXPECT_DOUBLE_EQ(r.identity.idf1, 0.5);
  EXPECT_DOUBLE_EQ(r.hota.det_a, 5.0 / 7);
  // Track 1: 2 matches, 2 / 6 in common; track 2: 3 matches, 3 / 6.
  EXPECT_DOUBLE_EQ(r.hota.ass_a, (2 * (2.0 / 6) + 3 * (3.0 / 6)) / 5);
  EXPECT_DOUBLE_EQ(r.hota.hota, std::sqrt(r.hota.det_a * r.hota.ass_a));
}

TEST(TrackEval, APerfectResultIsOneAndOrderOfFramesInTheFileIsNothing) {
  std::vector<MotBox> truth;
  for (int f = 1; f <= 5; ++f) {
    for (int k = 0; k < 4; ++k) truth.push_back(at(f, k, 20 * k + f));
  }
  const TrackEvalResult r = evaluate_tracks(truth, truth);
  EXPECT_EQ(r.clear.mota, 1);
  EXPECT_EQ(r.identity.idf1, 1);
  EXPECT_DOUBLE_EQ(r.hota.hota, 1);
  EXPECT_EQ(r.clear.mostly_tracked, 4);
}

TEST(TrackEval, BoxesNotToConsiderAndDistractorsAreLeftOut) {
  std::vector<MotBox> truth{at(1, 1, 0), at(1, 2, 50), at(1, 3, 100)};
  truth[1].score = 0;
  const std::vector<MotBox> result{at(1, 1, 0), at(1, 2, 50), at(1, 3, 100)};
  TrackEvalResult r = evaluate_tracks(truth, result);
  EXPECT_EQ(r.counts.people, 2);
  EXPECT_EQ(r.clear.fp, 1);  // without classes a box on a person that is not considered is a false alarm
  EXPECT_EQ(r.counts.people_ignored, 1);
  truth[0].category = 1;
  truth[1].category = 8;  // distractor
  truth[2].category = 3;  // a car is not a person, but it is not a distractor either
  r = evaluate_tracks(truth, result);
  EXPECT_EQ(r.clear.matches, 1);
  EXPECT_EQ(r.clear.fp, 1);
  EXPECT_EQ(r.counts.boxes_on_distractors, 1);
  EXPECT_NE(track_remarks(r).find("1 boxes of the tracks lie on distractors"), std::string::npos) << track_remarks(r);
}

TEST(TrackEval, WhatMeansNothingIsNanWithARemark) {
  const std::vector<MotBox> some{at(1, 1, 0), at(2, 1, 0)}, later{at(8, 1, 0)};
  const TrackEvalResult nobody = evaluate_tracks({}, some);
  EXPECT_TRUE(std::isnan(nobody.clear.mota));
  EXPECT_EQ(nobody.clear.fp, 2);
  EXPECT_NE(track_remarks(nobody).find("no people"), std::string::npos);
  EXPECT_NE(track_summary(nobody).find("-"), std::string::npos);
  const TrackEvalResult nothing = evaluate_tracks(some, {});
  EXPECT_EQ(nothing.clear.mota, 0);
  EXPECT_EQ(nothing.clear.mostly_lost, 1);
  EXPECT_TRUE(std::isnan(nothing.clear.precision));
  EXPECT_EQ(nothing.hota.hota, 0);
  EXPECT_NE(track_remarks(nothing).find("no boxes"), std::string::npos);
  EXPECT_NE(track_remarks(evaluate_tracks(some, later)).find("same video"), std::string::npos);
  EXPECT_NE(track_remarks(evaluate_tracks({}, {})).find("no people"), std::string::npos);
}

TEST(TrackEval, RefusesListsThatAreNone) {
  const std::vector<MotBox> good{at(1, 1, 0)}, unsorted{at(2, 1, 0), at(1, 1, 0)}, twice{at(1, 1, 0), at(1, 1, 5)};
  EXPECT_THROW(evaluate_tracks(unsorted, good), Error);
  EXPECT_THROW(evaluate_tracks(good, twice), Error);
  EXPECT_THROW(evaluate_tracks(good, std::vector{at(1, 1, std::numeric_limits<double>::quiet_NaN())}), Error);
  EXPECT_THROW(evaluate_tracks(good, good, {.min_iou = 0}), Error);
  EXPECT_THROW(parse_track_rules("devkit"), Error);
}

// Two boxes that are 3.2 of 10 pixels apart still match (IoU 0.515). Tracks 1 and 2 lie on people 2 and 3.
TEST(TrackEval, MotmetricsPrefersMorePairsAndTrackEvalBetterOnes) {
  const std::vector<MotBox> truth{at(1, 1, 0), at(1, 2, 3.2), at(1, 3, 6.4)};
  const std::vector<MotBox> result{at(1, 1, 3.2), at(1, 2, 6.4), at(1, 3, 9.6)};
  EXPECT_EQ(evaluate_tracks(truth, result).clear.matches, 3);
  EXPECT_EQ(evaluate_tracks(truth, result, {.rules = TrackRules::trackeval}).clear.matches, 2);
}

// For TrackEval, a frame without people or tracks does not count as the previous frame.
TEST(TrackEval, AFrameWithoutTracksIsNoPreviousFrame) {
  // Person 1 is matched with track 1. After an empty frame track 2 overlaps more, but track 1 still matches.
  const std::vector<MotBox> truth{at(1, 1, 0), at(2, 1, 0), at(3, 1, 0)};
  const std::vector<MotBox> result{at(1, 1, 2), at(3, 1, 2), at(3, 2, 0)};
  for (const TrackRules rules : {TrackRules::motmetrics, TrackRules::trackeval}) {
    EXPECT_EQ(evaluate_tracks(truth, result, {.rules = rules}).clear.id_switches, 0) << track_rules_name(rules);
  }
}

// A tracker gives a new id in every frame. Pairing the tracks must not need memory for all pairs of ids.
TEST(TrackEval, ManyIdsAreNotManyBytes) {
  const test::ChildResult r = test::in_child(200 << 20, [] {
    std::vector<MotBox> truth, result;
    for (int f = 1; f <= 20000; ++f) {
      truth.push_back(at(f, f / 4, 0));
      result.push_back(at(f, f, 1));
    }
    return std::to_string(evaluate_tracks(truth, result).identity.idtp);
  });
  EXPECT_TRUE(r.exited);
  EXPECT_EQ(r.said, "5001");
}

}  // namespace
}  // namespace hr
