// From a dataset and a model to the ten COCO numbers.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "eval/coco_eval.h"
#include "eval/results.h"
#include "tools/infer.h"

namespace hr {

// Runs the network over every person of `dataset` (not augmented) and decodes (quarter offset): one result per person,
// in order, score = the box's. Shows progress.
std::vector<PersonResult> predict_people(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                                         const std::string& title);

struct ValidationRun {
  std::vector<PersonResult> results;  // after the recipe's post-processing
  CocoEvalResult coco;
};

// predict_people, post-processing as the dataset's recipe does it, evaluation against the dataset's annotations with
// the skeleton's sigmas.
ValidationRun run_validation(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                             const std::string& title);

// Where a COCO-layout dataset lies: the seed's folders, unless files are named outright.
struct SplitPaths {
  fs::path annotations, images;
};
// {root}/annotations/person_keypoints_{split}2017.json and {root}/{split}2017; overridden by the named ones. Error says
// which flag and what it expected to find.
SplitPaths split_paths(const std::string& root, const std::string& split, const std::string& annotations,
                       const std::string& images);

// The skeleton file, or COCO's built in; Error when it does not have `joints` joints.
Skeleton load_skeleton(const std::string& path, int joints);

// Heatmap sigma: what the flag says, else the official 2 for 256-high inputs and 3 from 384 on.
double heatmap_sigma(double flag, int input_h);

struct ValidateOptions {
  std::string data_path = "/data/coco2017", annotations, images, weights, model, keypoints_path, person_det,
              output_dir = ".";
  std::string device = "cpu", recipe = "official";
  std::optional<std::array<int, 2>> fixed_size;
  int joints = 17, batch_size = 32, workers = 2, threads = 0;
  bool flip = true, amp = false;
};
void add_validate_options(CLI::App& app, ValidateOptions& options);
void validate(const ValidateOptions& options);

}  // namespace hr
