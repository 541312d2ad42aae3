// The input of coco_eval's evaluation, and the files that it writes.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "eval/coco_eval.h"
#include "tools/programs/coco_eval.h"

namespace hr {

// The input, the options and the result of one evaluation.
struct Evaluation {
  CocoAnnotations gt;
  std::vector<CocoDetection> dt;
  Skeleton skeleton;  // with the sigmas that are in use
  bool crowdpose = false;
  CocoEvalOptions options;
  CocoEvalResult result;
  std::array<double, 9> crowdpose_stats{};
  double load_seconds = 0;
};

// Returns the joints that the flags name, else those that the annotation file names, else COCO's.
Skeleton joints_of(const CocoEvalArguments& arguments, const CocoAnnotations& gt, bool crowdpose);

// Returns the numbers in full precision, counts and seconds, as JSON.
std::string report(const CocoEvalArguments& arguments, const Evaluation& evaluation);

// Writes precision [10, 101, C, 3, 1], recall [10, C, 3, 1] and scores [10, 101, C, 3, 1], laid out as pycocotools
// does, and the category ids [C].
void write_arrays(const std::string& path, const CocoEvalResult& result);

}  // namespace hr
