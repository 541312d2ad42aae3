// From a dataset and a model to the numbers: COCO's ten, CrowdPose's nine or MPII's PCKh table.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/comm/comm.h"
#include "eval/coco_eval.h"
#include "eval/pckh.h"
#include "eval/results.h"
#include "hrnet/infer/decoding.h"
#include "hrnet/infer/heatmap_runner.h"
#include "tools/programs/datasets.h"
#include "tools/programs/infer.h"

namespace hr {

// Runs the network over every person of `dataset` (not augmented) and decodes: one result per person, in order, score =
// the box's. Shows progress. The dataset's encoding must be the codec's. Several ranks share the people; each gets all
// results.
std::vector<PersonResult> predict_people(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                                         const std::string& title, const DecodeOptions& decoding = {},
                                         Comm* ranks = nullptr);

struct ValidationRun {
  std::vector<PersonResult> results;  // after the recipe's post-processing
  CocoEvalResult coco;
  std::optional<PckhResult> pckh;  // MPII: this instead
};

// The categories that an evaluation of this dataset compares: those the dataset was made for, as far as the truth has
// them; empty, all of the truth.
std::vector<int64_t> evaluated_categories(const PoseDataset& dataset);

// predict_people, post-processing as the dataset's recipe does it, evaluation against the dataset's annotations with
// the skeleton's sigmas; with a `truth`, MPII's PCKh of the poses as they are. Of several ranks the first one
// evaluates; the others return nothing.
ValidationRun run_validation(HeatmapRunner& runner, const PoseDataset& dataset, int batch_size, int workers,
                             const std::string& title, const DecodeOptions& decoding = {}, Comm* ranks = nullptr,
                             const MpiiTruth* truth = nullptr);

// MPII's gt_valid.mat: the named file, else the one beside the annotations. Error: it is not there, or has other people
// than the dataset.
MpiiTruth open_mpii_truth(const fs::path& named, const PoseDataset& dataset);

// Heatmap sigma: what the flag says, else the official 2 for 256-high inputs and 3 from 384 on.
double heatmap_sigma(double flag, int input_h);

struct ValidateOptions : ModelOptions, DataOptions {
  std::string truth, person_det, output_dir = ".";
  DecodingOptions decoding;
  int batch_size = 32, workers = 2;
  bool soft_nms = false, no_nms = false, analysis = false;
  std::optional<double> in_vis_thre, oks_thre;  // 0.2 and 0.9
  double image_thre = 0;
};
void add_validate_options(CLI::App& app, ValidateOptions& options);
// Prints what is measured and how, then the numbers. Writes into --output-dir
//   validation.json    the same header, the numbers in full precision, counts, seconds
//   validation.md      the official markdown table
//   key_results.json, record_mAP.txt                   the seed's files (not for MPII)
//   results/keypoints_<set>_results_0.json             the official file (not for MPII)
//   pred.mat                                           the official file (MPII)
//   analysis.png                                       with --analysis
void validate(const ValidateOptions& options);

}  // namespace hr
