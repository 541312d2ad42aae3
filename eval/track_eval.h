// How well people were followed: CLEAR (MOTA and its counts), IDF1 and HOTA of a tracker's result on one sequence.
//   const auto truth = read_mot("gt.txt", MotKind::truth), result = read_mot("tracks.txt", MotKind::result);
//   fmt::print("{}\n", track_summary(evaluate_tracks(truth, result)));
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/mot.h"

namespace hr {

inline constexpr int kHotaThresholds = 19;              // 0.05, 0.10, ..., 0.95
std::array<double, kHotaThresholds> hota_thresholds();  // the bits of numpy.arange(0.05, 0.99, 0.05)

// Whose CLEAR numbers to equal. IDF1 and HOTA are the same everywhere. py-motmetrics equals the MATLAB devkit that
// published figures come from.
//                           motmetrics                             trackeval
//   a person keeps the      that it was matched with last, ever    that it was matched with in the previous frame
//   track                                                          (frames with no people or no tracks do not count)
//   remaining pairs         as many as possible, then the          the largest total IoU
//                           smallest total 1 - IoU
//   fragmentation           matched to missed, if matched later    an unmatched or absent person is matched again
//   mostly tracked          80 % of its frames or more             more than 80 %
enum class TrackRules { motmetrics, trackeval };
std::string_view track_rules_name(TrackRules rules);
TrackRules parse_track_rules(std::string_view name);  // Error lists the names there are

struct TrackEvalOptions {
  TrackRules rules = TrackRules::motmetrics;
  double min_iou = 0.5;  // a pair overlaps at least this much, for CLEAR and IDF1
  // In ground truth with classes, people are class 1 and a result box that matches one of these classes is dropped
  // (MOT16 and MOT17: person on vehicle, static person, distractor, reflection; MOT20 has 6 too).
  std::vector<int> distractors{2, 7, 8, 12};
};

struct TrackEvalResult {
  // A ratio whose denominator is 0 is NaN.
  struct Clear {
    double mota = 0;  // 1 - (fp + fn + id_switches) / people
    double motp = 0;  // mean IoU of the matches
    double recall = 0, precision = 0;
    int64_t matches = 0, fp = 0, fn = 0;
    int64_t id_switches = 0, fragmentations = 0;
    int64_t mostly_tracked = 0, partially_tracked = 0, mostly_lost = 0;  // of the people's tracks
  } clear;
  // Each true track is paired with at most one track of the result, so that the boxes in common are the most.
  struct Identity {
    double idf1 = 0, idp = 0, idr = 0;
    int64_t idtp = 0, idfp = 0, idfn = 0;
  } identity;
  // HOTA = sqrt(DetA AssA), as TrackEval computes it, which also settles the empty cases (localisation is 1 where
  // nothing was matched).
  struct Hota {
    using Curve = std::array<double, kHotaThresholds>;  // at every threshold
    double hota = 0, det_a = 0, ass_a = 0, det_re = 0, det_pr = 0, ass_re = 0, ass_pr = 0, loc_a = 0;  // curves' means
    Curve hota_at{}, det_a_at{}, ass_a_at{}, det_re_at{}, det_pr_at{}, ass_re_at{}, ass_pr_at{}, loc_a_at{};
  } hota;
  struct Counts {
    int64_t frames = 0;                                            // with a box of either
    int64_t common_frames = 0;                                     // with boxes of both, before anything is dropped
    int64_t people = 0, people_tracks = 0, boxes = 0, tracks = 0;  // evaluated; boxes and tracks of the result
    int64_t people_ignored = 0;        // not evaluated: not to be considered (score 0), or of another class than 1
    int64_t boxes_on_distractors = 0;  // dropped
  } counts;
};

// Both lists in the order of frames; order within a frame settles ties. Deterministic.
// Throws Error if a list is not sorted by frame, an id is twice in a frame, a number is not finite or min_iou is not
// in (0, 1].
TrackEvalResult evaluate_tracks(std::span<const MotBox> truth, std::span<const MotBox> result,
                                const TrackEvalOptions& options = {});

// Two lines of names and percentages for each family, no newline at the end; "-" stands for NaN.
std::string track_summary(const TrackEvalResult& result);

// What a reader must know beside the numbers (no people, no boxes, no frame in common, boxes left out); "" if nothing.
std::string track_remarks(const TrackEvalResult& result);

// IoU of two boxes as corners, no +1; 0 if either has no area.
double box_iou(const Box& a, const Box& b);

}  // namespace hr
