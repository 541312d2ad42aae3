// Where the errors of a set of poses come from, in the terms of Ronchi & Perona 2017, "Benchmarking and Error Diagnosis
// in Multi-Instance Pose Estimation", by joint and by the person's size.
//
// A detection belongs to the person that the evaluator's greedy matching gives it at OKS >= 0.1 (area range `all`). Of
// such a pair every joint i that is labelled on the person falls into one kind. Its keypoint similarity with joint j of
// person q, at its own joint's sigma, is
//   ks(q, j) = exp(-d^2 / (2 area_q (2 sigma_i)^2)),   d: from the detected joint to joint j of q,   labelled j only;
// the largest over all people q of the picture and j in {i, the joint that i becomes in a mirror} decides:
//   good       it is the person's own joint i, ks >= 0.85 (the error of a human annotator)
//   jitter     it is the person's own joint i, 0.5 <= ks < 0.85
//   inversion  it is the person's own mirrored joint, ks >= 0.5: left and right confused
//   swap       it is a joint of another person, ks >= 0.5
//   miss       ks < 0.5: near nothing
// Of equals the own joint wins, then another person's same joint, then the own mirrored one.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/formats/skeleton.h"
#include "eval/coco_eval.h"

namespace hr {

enum class PoseError { good, jitter, inversion, swap, miss };
inline constexpr int kPoseErrors = 5;
std::string pose_error_name(PoseError kind);

struct ErrorRow {
  std::string name;  // of the joint, or the range of sizes
  std::array<int64_t, kPoseErrors> count{};
  double similarity = 0;  // mean ks with the own joint
  double error = 0;       // median of d / sqrt(area)
  int64_t joints() const;
  double share(PoseError kind) const;  // 0 to 1; 0 if there is nothing
};

struct PoseAnalysis {
  std::vector<ErrorRow> joints;  // one per joint of the skeleton
  std::vector<ErrorRow> sizes;   // by sqrt(area) of the person in pixels
  ErrorRow all;
  int64_t people = 0;                                      // that count: neither crowd nor without labelled joints
  int64_t people_found = 0;                                // that a detection belongs to
  int64_t detections = 0;                                  // compared: at most 20 of a picture
  int64_t detections_matched = 0, detections_ignored = 0;  // belong to a person that counts; to one that does not
  int64_t duplicates = 0;                                  // OKS >= 0.1 only with people that others belong to
  int64_t background = 0;                                  // OKS < 0.1 with everybody
  // The ten numbers as they are, and if one kind of error (jitter, inversion, swap, miss in this order) were corrected:
  // the joint is moved to where its ks with the own joint is 0.85 (jitter), 0.5 (miss), or what it was with the joint
  // it was mistaken for (inversion, swap).
  std::array<double, 10> stats{};
  std::array<std::array<double, 10>, kPoseErrors - 1> corrected{};
  std::array<double, 10> corrected_all{};
};

// options as for evaluate_coco (sigmas empty: the skeleton's). Error as there, and for a skeleton of another number of
// joints.
PoseAnalysis analyse_poses(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const Skeleton& skeleton,
                           CocoEvalOptions options = {});

// By joint, by size, and what each kind costs; without a newline at the end.
std::string analysis_table(const PoseAnalysis& analysis);
// One JSON object with the same.
std::string analysis_json(const PoseAnalysis& analysis);

}  // namespace hr
