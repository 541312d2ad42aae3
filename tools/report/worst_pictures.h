// The pictures on which a model is worst, annotated and predicted side by side.
#pragma once
#include <span>
#include <vector>

#include "data/dataset.h"
#include "eval/coco_eval.h"
#include "eval/results.h"
#include "tools/report/report.h"

namespace hr {

// How badly a picture was predicted.
struct PictureScore {
  int64_t image_id = 0;
  double badness = 0;  // The larger, the worse.
  std::string said;    // "mean OKS 0.12 of 3 people"
};

// By OKS: 1 minus the mean over the people that count of the best OKS of any pose with the person. Pictures without
// such people are left out. `detections` are what was evaluated. Throws the errors of evaluate_coco.
std::vector<PictureScore> oks_scores(const CocoAnnotations& truth, const std::vector<CocoDetection>& detections,
                                     CocoEvalOptions options);
// For results with one pose per person of the data set (MPII): the mean distance of the labelled joints in relation to
// the person's size.
std::vector<PictureScore> distance_scores(const PoseDataset& data, std::span<const PersonResult> results);

// The worst `count` pictures, the worst one first, each as a JPEG of at most 40,000 bytes. A picture that cannot be
// read is left out.
std::vector<ReportPicture> worst_pictures(const PoseDataset& data, std::span<const PersonResult> results,
                                          std::vector<PictureScore> scores, size_t count = 20);

}  // namespace hr
