// Measures how well a tracker followed people on one sequence: CLEAR (MOTA and its counts), IDF1 and HOTA.
//   const auto truth = read_mot("gt.txt", MotKind::truth), result = read_mot("tracks.txt", MotKind::result);
//   fmt::print("{}\n", track_summary(evaluate_tracks(truth, result)));
// All functions are thread-safe.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/mot.h"

namespace hr {

inline constexpr int kHotaThresholds = 19;              // 0.05, 0.10, ..., 0.95.
std::array<double, kHotaThresholds> hota_thresholds();  // Has the bits of numpy.arange(0.05, 0.99, 0.05).

// The tool whose CLEAR numbers are reproduced. IDF1 and HOTA are the same in both. py-motmetrics equals the MATLAB
// devkit, with which published figures were measured.
//                           motmetrics                             trackeval
//   a person keeps the      that it was matched with last, ever    that it was matched with in the previous frame
//   track                                                          (frames with no people or no tracks do not count)
//   remaining pairs         as many as possible, then the          the largest total IoU
//                           smallest total 1 - IoU
//   fragmentation           matched to missed, if matched later    an unmatched or absent person is matched again
//   mostly tracked          80 % of its frames or more             more than 80 %
enum class TrackRules { motmetrics, trackeval };
std::string_view track_rules_name(TrackRules rules);
TrackRules parse_track_rules(std::string_view name);  // Throws Error that lists the known names.

struct TrackEvalOptions {
  TrackRules rules = TrackRules::motmetrics;
  double min_iou = 0.5;  // A pair must overlap at least this much, for CLEAR and IDF1.
  // In ground truth with classes people are class 1, and a result box that matches one of these classes is dropped
  // (MOT16 and MOT17: person on vehicle, static person, distractor, reflection; MOT20 also has 6).
  std::vector<int> distractors{2, 7, 8, 12};
};

struct TrackEvalResult {
  // A ratio whose denominator is 0 is NaN.
  struct Clear {
    double mota = 0;  // 1 - (fp + fn + id_switches) / people.
    double motp = 0;  // The mean IoU of the matches.
    double recall = 0, precision = 0;
    int64_t matches = 0, fp = 0, fn = 0;
    int64_t id_switches = 0, fragmentations = 0;
    int64_t mostly_tracked = 0, partially_tracked = 0, mostly_lost = 0;  // Of the people's tracks.
  } clear;
  // Each true track is paired with at most one track of the result so that the number of common boxes is the largest.
  struct Identity {
    double idf1 = 0, idp = 0, idr = 0;
    int64_t idtp = 0, idfp = 0, idfn = 0;
  } identity;
  // HOTA = sqrt(DetA AssA) as TrackEval computes it, also in the empty cases (localisation is 1 if nothing was
  // matched).
  struct Hota {
    using Curve = std::array<double, kHotaThresholds>;  // The values at every threshold.
    // The means of the curves.
    double hota = 0, det_a = 0, ass_a = 0, det_re = 0, det_pr = 0, ass_re = 0, ass_pr = 0, loc_a = 0;
    Curve hota_at{}, det_a_at{}, ass_a_at{}, det_re_at{}, det_pr_at{}, ass_re_at{}, ass_pr_at{}, loc_a_at{};
  } hota;
  struct Counts {
    int64_t frames = 0;         // Frames with a box of either list.
    int64_t common_frames = 0;  // Frames with boxes of both, before anything is dropped.
    // The evaluated people and their tracks; boxes and tracks of the result.
    int64_t people = 0, people_tracks = 0, boxes = 0, tracks = 0;
    int64_t people_ignored = 0;        // Not evaluated: not to be considered (score 0), or of another class than 1.
    int64_t boxes_on_distractors = 0;  // Dropped.
  } counts;
};

// Both lists are sorted by frame; the order within a frame decides ties. The result is deterministic. Throws Error if a
// list is not sorted by frame, an id occurs twice in a frame, a number is not finite, or min_iou is not in (0, 1].
TrackEvalResult evaluate_tracks(std::span<const MotBox> truth, std::span<const MotBox> result,
                                const TrackEvalOptions& options = {});

// Returns two lines of names and percentages for each family, without a newline at the end; "-" stands for NaN.
std::string track_summary(const TrackEvalResult& result);

// Returns what a reader must know beside the numbers (no people, no boxes, no frame in common, boxes left out); "" if
// there is nothing to report.
std::string track_remarks(const TrackEvalResult& result);

// Returns the IoU of two boxes given as corners, without the +1; 0 if either has no area.
double box_iou(const Box& a, const Box& b);

}  // namespace hr
