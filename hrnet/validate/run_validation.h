// Evaluates a model on a dataset, as training does after an epoch: COCO's ten numbers or MPII's PCKh.
// hrnet/validate/validation.h is the complete validation of a weight file.
#pragma once
#include <optional>
#include <vector>

#include "core/file.h"
#include "eval/coco_eval.h"
#include "eval/pckh.h"
#include "hrnet/validate/predict_people.h"

namespace hr {

struct ValidationRun {
  std::vector<PersonResult> results;  // After the recipe's post-processing.
  CocoEvalResult coco;
  std::optional<PckhResult> pckh;  // For MPII, instead of `coco`.
};

// Predicts all people, post-processes as the dataset's recipe does, and evaluates against the dataset's annotations
// with the sigmas of its skeleton. If `truth` is given, computes MPII's PCKh of the poses without post-processing. With
// several ranks only rank 0 evaluates; the others return an empty result. Throws Error as predict_people does.
ValidationRun run_validation(HeatmapRunner& runner, const PoseDataset& dataset, const PredictPeopleOptions& options,
                             const MpiiTruth* truth = nullptr);

// Computes the PCKh of results that have one entry per person of `truth`, in the same order.
PckhResult evaluate_people(const MpiiTruth& truth, const std::vector<PersonResult>& people);

// The categories that are compared when this dataset is evaluated: those that the dataset was opened for and the
// annotations have. An empty list means all categories of the annotations.
std::vector<int64_t> evaluated_categories(const PoseDataset& dataset);

// Reads MPII's gt_valid.mat: the file `named`, or else the one beside the annotations. Throws Error if it does not
// exist or has another number of people than the dataset.
MpiiTruth open_mpii_truth(const fs::path& named, const PoseDataset& dataset);

}  // namespace hr
