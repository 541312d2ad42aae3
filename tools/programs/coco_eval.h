// The program coco_eval: COCO keypoint AP and AR of a result file.
#pragma once
#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/coco.h"
#include "data/formats/skeleton.h"

namespace hr {

struct CocoEvalArguments {
  std::string gt, dt;              // ground truth and detections, JSON
  std::string keypoints_path;      // a skeleton's name or file; empty: the annotation file's own joints, else COCO's 17
  std::vector<double> sigmas;      // one per joint, instead of the skeleton's
  std::string type = "keypoints";  // or bbox
  bool use_categories = true;      // of bbox
  std::string rules = "auto";      // pycocotools, xtcocotools or crowdpose; auto: crowdpose for files with crowdIndex
  std::vector<int64_t> categories;     // empty: all of the ground truth
  std::string json;                    // where to write the numbers; empty: nowhere
  std::string arrays;                  // where to write precision, recall and scores; empty: nowhere
  std::string analysis;                // where to draw the error analysis; empty: none
  std::string on_bad_sample = "fail";  // or skip
  bool refuse_other_categories = false, fill_in = false;
  int threads = 1;
};

void add_coco_eval_options(CLI::App& app, CocoEvalArguments& arguments);

// Prints the reference's ten lines (CrowdPose: nine, bbox: twelve) to stdout, and what was dropped or ignored to
// stderr.
void run_coco_eval(const CocoEvalArguments& arguments);

// The same for --type bbox.
void run_box_eval(const CocoEvalArguments& arguments);

}  // namespace hr
