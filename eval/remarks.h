// What makes the numbers of an evaluation mean less than they seem to, or nothing at all: one complete sentence each,
// printed beside the numbers by every program that has some (CocoEvalResult::doubts).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/formats/coco.h"
#include "data/formats/skeleton.h"
#include "eval/coco_eval.h"

namespace hr {

// What an evaluation has found out about its people and detections, one number per entry of the files; -1 in *_image:
// not evaluated.
struct EvaluationFacts {
  const CocoAnnotations& gt;
  const std::vector<CocoDetection>& dt;
  const CocoEvalOptions& options;
  std::span<const int64_t> categories;  // evaluated
  std::span<const int> person_image, detection_image;
  std::span<const double> person_area;
  std::span<const uint8_t> person_ignored;
  const CocoEvalResult::Counts& counts;
};
std::vector<std::string> find_doubts(const EvaluationFacts& facts);

// A box with the joints that belong to it (x, y, v or score; none is fine) and the size of its picture (0: not known).
struct PlacedBox {
  Box box;
  std::span<const double> joints;
  int width = 0, height = 0;
};
// "look like x1, y1, x2, y2 (two corners) ..." when the boxes are hardly x, y, width, height in pixels; else "".
// Corners: no box has its second pair of numbers left of or above the first one, and as x, y, width, height they lie
// beside their joints or reach out of their pictures. Shares: all four numbers of all boxes are 0 to 1.
std::string boxes_look_like(std::span<const PlacedBox> boxes);

// The sentence for the boxes of a detector (--person-det); "" when they look right.
std::string detector_doubt(const std::vector<CocoDetection>& detections, const CocoAnnotations& pictures,
                           const std::string& name);

// The sentence for CocoEvalOptions::sigmas_remark; "" when somebody gave the skeleton's sigmas.
std::string sigmas_doubt(const Skeleton& skeleton);

}  // namespace hr
