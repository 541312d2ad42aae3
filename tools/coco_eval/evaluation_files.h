// What coco_eval evaluates with, and the files that it writes.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "eval/coco_eval.h"
#include "tools/programs/coco_eval.h"

namespace hr {

// Everything an evaluation is made of.
struct Evaluation {
  CocoAnnotations gt;
  std::vector<CocoDetection> dt;
  Skeleton skeleton;  // its sigmas are those in use
  bool crowdpose = false;
  CocoEvalOptions options;
  CocoEvalResult result;
  std::array<double, 9> crowdpose_stats{};
  double load_seconds = 0;
};

// The joints: as the flags say, else those that the annotation file names, else COCO's.
Skeleton joints_of(const CocoEvalArguments& arguments, const CocoAnnotations& gt, bool crowdpose);

// The numbers in full precision, counts and seconds, as JSON.
std::string report(const CocoEvalArguments& arguments, const Evaluation& evaluation);

// precision [10, 101, C, 3, 1], recall [10, C, 3, 1], scores [10, 101, C, 3, 1] as pycocotools lays them out, and the
// category ids [C].
void write_arrays(const std::string& path, const CocoEvalResult& result);

}  // namespace hr
