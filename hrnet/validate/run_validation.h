// From a data set and a model to the numbers, as training asks for them after an epoch: COCO's ten or MPII's PCKh
// table. hrnet/validate/validation.h is the complete validation of a weight file.
#pragma once
#include <optional>
#include <vector>

#include "core/file.h"
#include "eval/coco_eval.h"
#include "eval/pckh.h"
#include "hrnet/validate/predict_people.h"

namespace hr {

struct ValidationRun {
  std::vector<PersonResult> results;  // after the recipe's post-processing
  CocoEvalResult coco;
  std::optional<PckhResult> pckh;  // MPII: this instead
};

// predict_people, post-processing as the dataset's recipe does it, evaluation against the dataset's annotations with
// the skeleton's sigmas; with a `truth`, MPII's PCKh of the poses as they are. Of several ranks the first one
// evaluates; the others return nothing.
ValidationRun run_validation(HeatmapRunner& runner, const PoseDataset& dataset, const PredictPeopleOptions& options,
                             const MpiiTruth* truth = nullptr);

// PCKh of results with one entry per person of the truth, in order.
PckhResult evaluate_people(const MpiiTruth& truth, const std::vector<PersonResult>& people);

// The categories that an evaluation of this dataset compares: those the dataset was made for, as far as the truth has
// them; empty, all of the truth.
std::vector<int64_t> evaluated_categories(const PoseDataset& dataset);

// MPII's gt_valid.mat: the named file, else the one beside the annotations. Throws Error if it is not there, or has
// other people than the dataset.
MpiiTruth open_mpii_truth(const fs::path& named, const PoseDataset& dataset);

}  // namespace hr
