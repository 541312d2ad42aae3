// Curves of precision over recall as pycocotools makes them: for keypoints (eval/coco_eval.h) and for boxes
// (eval/box_eval.h).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "eval/coco_eval.h"

namespace hr {

// The outcome of a detection: one bit per area range and threshold.
struct Outcome {
  uint64_t hit = 0, ignored = 0;
};
constexpr uint64_t outcome_bit(int area, int threshold) { return uint64_t{1} << (area * kOksThresholds + threshold); }

// precision [T, R, K, A, M], recall [T, K, A, M], scores [T, R, K, A, M]: T thresholds, R recall points, K categories,
// A area ranges, M limits of detections. Elements for which there is no ground truth stay -1.
struct PrecisionRecall {
  std::vector<double>& precision;
  std::vector<double>& recall;
  std::vector<double>& scores;
  size_t categories = 0;
  int areas = 0, limits = 1;

  void clear() const;  // Resizes the three lists and fills them with -1.

  // Computes the curves of category k and limit m from outcomes in the order of falling score over all pictures.
  // to_find [A] is how many people or objects count at each area range. Different (k, m) may be computed at the same
  // time.
  void accumulate(std::span<const Outcome> outcomes, std::span<const double> score, std::span<const int64_t> to_find,
                  size_t k, int m = 0) const;
};

// Returns the mean of the values above -1 in one of the lists (`rows` is R for precision, 1 for recall), over one
// threshold or all of them (-1), at one area range and limit; -1 if there is no such value.
double mean_of_curves(std::span<const double> list, size_t rows, const PrecisionRecall& layout, int threshold, int a,
                      int m = 0);

}  // namespace hr
