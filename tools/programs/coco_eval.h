// The program coco_eval computes COCO's keypoint AP and AR for a result file.
#pragma once
#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/coco.h"
#include "data/formats/skeleton.h"

namespace hr {

struct CocoEvalArguments {
  std::string gt, dt;          // ground truth and detections, JSON
  std::string keypoints_path;  // name or file of a skeleton; empty: the annotation file's own joints, else COCO's 17
  std::vector<double> sigmas;  // one per joint; replaces the skeleton's
  std::string type = "keypoints";   // or bbox
  bool use_categories = true;       // for bbox
  std::string rules = "auto";       // pycocotools, xtcocotools or crowdpose; auto: crowdpose for files with crowdIndex
  std::vector<int64_t> categories;  // empty: all of the ground truth
  std::string json;                 // file for the numbers; empty: none
  std::string arrays;               // file for precision, recall and scores; empty: none
  std::string analysis;             // picture for the error analysis; empty: none
  std::string on_bad_sample = "fail";  // or skip
  bool refuse_other_categories = false, fill_in = false;
  int threads = 1;
};

void add_coco_eval_options(CLI::App& app, CocoEvalArguments& arguments);

// Prints the ten lines of pycocotools (CrowdPose: nine, bbox: twelve) to stdout, and what was dropped or ignored to
// stderr.
void run_coco_eval(const CocoEvalArguments& arguments);

// Does the same for --type bbox.
void run_box_eval(const CocoEvalArguments& arguments);

}  // namespace hr
