// Reasons why the numbers of an evaluation mean less than they seem to, or nothing at all: one complete sentence each,
// which every program prints beside the numbers (CocoEvalResult::doubts).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/formats/coco.h"
#include "data/formats/skeleton.h"
#include "eval/coco_eval.h"

namespace hr {

// Facts that an evaluation has found about its people and detections, one number per entry of the files. -1 in *_image
// means that the entry is not evaluated.
struct EvaluationFacts {
  const CocoAnnotations& gt;
  const std::vector<CocoDetection>& dt;
  const CocoEvalOptions& options;
  std::span<const int64_t> categories;  // The evaluated ones.
  std::span<const int> person_image, detection_image;
  std::span<const double> person_area;
  std::span<const uint8_t> person_ignored;
  const CocoEvalResult::Counts& counts;
};
std::vector<std::string> find_doubts(const EvaluationFacts& facts);

// A box with its joints (x, y, v or score; there may be none) and the size of its picture (0: not known).
struct PlacedBox {
  Box box;
  std::span<const double> joints;
  int width = 0, height = 0;
};
// Returns "look like x1, y1, x2, y2 (two corners) ..." if the boxes are probably not x, y, width, height in pixels;
// otherwise "". They look like corners if no box has its second pair of numbers left of or above the first one, and if,
// read as x, y, width, height, they lie beside their joints or reach out of their pictures. They look like fractions if
// all four numbers of all boxes are 0 to 1.
std::string boxes_look_like(std::span<const PlacedBox> boxes);

// Returns the sentence for the boxes of a detector; "" if they look right.
std::string detector_doubt(const std::vector<CocoDetection>& detections, const CocoAnnotations& pictures,
                           const std::string& name);

// Returns the sentence for CocoEvalOptions::sigmas_remark; "" if the skeleton's sigmas were given.
std::string sigmas_doubt(const Skeleton& skeleton);

}  // namespace hr
