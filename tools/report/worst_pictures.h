// Finds the pictures with the worst predictions, and draws the annotated and the predicted people side by side.
#pragma once
#include <span>
#include <vector>

#include "data/dataset.h"
#include "eval/coco_eval.h"
#include "eval/results.h"
#include "tools/report/report.h"

namespace hr {

// A measure of how bad the predictions in a picture are.
struct PictureScore {
  int64_t image_id = 0;
  double badness = 0;  // The larger, the worse.
  std::string said;    // "mean OKS 0.12 of 3 people"
};

// Rates pictures by OKS. For each person that the evaluation counts, the best OKS of any pose with this person is
// taken; the badness of a picture is 1 minus the mean of these. Pictures without such people are left out. `detections`
// are the detections that were evaluated. Throws the errors of evaluate_coco().
std::vector<PictureScore> oks_scores(const CocoAnnotations& truth, const std::vector<CocoDetection>& detections,
                                     CocoEvalOptions options);
// Rates pictures by distance, for results with one pose per person of the data set (MPII): the mean distance between
// predicted and labelled joints, divided by the size of the person.
std::vector<PictureScore> distance_scores(const PoseDataset& data, std::span<const PersonResult> results);

// Draws the `count` worst pictures, the worst one first, each as a JPEG of at most 40,000 bytes. Pictures that cannot
// be read are left out.
std::vector<ReportPicture> worst_pictures(const PoseDataset& data, std::span<const PersonResult> results,
                                          std::vector<PictureScore> scores, size_t count = 20);

}  // namespace hr
