// The first part of the keypoint evaluation (eval/coco_eval.h): what is evaluated, and whether the files have what that
// needs.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "eval/coco_eval.h"

namespace hr {

struct CocoSetup {
  std::vector<double> sigmas, spread;  // spread = (2 sigma)^2.
  CocoRules rules = CocoRules::pycocotools;
  std::vector<int64_t> all_images, images, categories;
  std::array<double, kOksThresholds> thresholds = oks_thresholds();
  std::array<std::array<double, 2>, kAreaRanges> areas = area_ranges();
  int joints() const { return static_cast<int>(sigmas.size()); }
};

// Throws Error if the options ask for images, categories or sigmas that do not exist.
CocoSetup make_coco_setup(const CocoAnnotations& gt, const CocoEvalOptions& options);

// The cells of people and detections, and how the rules treat them. -1 in *_image means that the entry is not
// evaluated.
struct CocoEntries {
  std::vector<int> person_image, detection_image, detection_category;
  std::vector<double> person_area, dt_area;               // In square pixels.
  std::vector<uint8_t> person_ignored;                    // In every area range.
  std::vector<std::array<int64_t, kAreaRanges>> to_find;  // [C]: the people that count, per area range.
};

// Throws Error where the reference ends or, with options.strict, where a number is not finite.
CocoEntries gather_entries(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const CocoSetup& s,
                           const CocoEvalOptions& options, CocoEvalResult::Counts& counts);

}  // namespace hr
