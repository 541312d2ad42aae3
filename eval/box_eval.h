// COCO box evaluation (IoU AP and AR), equal to pycocotools' COCOeval(iouType='bbox') in every array.
//   const BoxEvalResult result = evaluate_boxes(read_coco("instances_val2017.json"), read_coco_detections("det.json"));
//   fmt::print("{}\n", box_summary(result));
// Ten IoU thresholds 0.50:0.05:0.95, 101 recall points, areas all / small / medium / large, at most 1, 10 and 100
// detections per picture and category.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/coco.h"

namespace hr {

inline constexpr int kBoxAreaRanges = 4, kBoxLimits = 3;
inline constexpr std::array<int, kBoxLimits> kBoxMaxDetections = {1, 10, 100};
std::array<std::array<double, 2>, kBoxAreaRanges> box_area_ranges();  // In square pixels, both ends included.

struct BoxEvalOptions {
  std::vector<int64_t> categories;  // Empty: all categories of the ground truth.
  std::vector<int64_t> images;      // Empty: all images.
  // False: a box of any category may match one of any other category (pycocotools' useCats = 0).
  bool use_categories = true;
  int threads = 1;                             // Any number gives the same bytes.
  std::string detections_name = "detections";  // For messages.
};

struct BoxEvalResult {
  // AP, AP.5, AP.75, AP(S), AP(M), AP(L), AR at 1, 10 and 100 detections, AR(S), AR(M), AR(L). -1 means that there was
  // nothing to find.
  std::array<double, 12> stats{};
  // The K evaluated categories, ascending; if categories are not used, the single entry -1.
  std::vector<int64_t> categories;
  std::vector<double> precision;  // [10, 101, K, 4, 3].
  std::vector<double> recall;     // [10, K, 4, 3].
  std::vector<double> scores;     // [10, 101, K, 4, 3]: the score at which the recall is reached.
  struct Counts {
    int64_t images = 0, objects = 0, detections = 0;  // Of the evaluated categories and images.
    int64_t objects_crowd = 0;                        // Ignored.
    int64_t detections_other_category = 0;            // Dropped.
    int64_t detections_over_limit = 0;                // Dropped: beyond 100 of a picture and category.
  } counts;
  double match_seconds = 0, accumulate_seconds = 0;
};

// Throws Error (which names the file, the index of the entry and what was expected) for an unknown image id, an entry
// without a bbox, a number that is not finite, no detections at all or none of an evaluated category, and a category or
// image in `options` that the ground truth does not have.
BoxEvalResult evaluate_boxes(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                             const BoxEvalOptions& options = {});

// Returns the twelve lines that the reference prints, without a newline at the end.
std::string box_summary(const BoxEvalResult& result);

// Returns what was dropped or ignored, one line each; empty if nothing was.
std::string box_remarks(const BoxEvalResult& result);

}  // namespace hr
