// Analyses where the errors of a set of poses come from, in the terms of Ronchi & Perona 2017, "Benchmarking and Error
// Diagnosis in Multi-Instance Pose Estimation", by joint and by the person's size.
//
// A detection belongs to the person to whom the evaluator's greedy matching assigns it at OKS >= 0.1 (area range
// `all`). In such a pair every joint i that is labelled on the person gets one kind of result. Its keypoint similarity
// with joint j of person q, with the sigma of its own joint, is
//   ks(q, j) = exp(-d^2 / (2 area_q (2 sigma_i)^2)),   d: from the detected joint to joint j of q,   labelled j only;
// the largest over all people q of the picture and j in {i, the joint that i becomes in a mirror} decides:
//   good       it is the person's own joint i, ks >= 0.85 (the error of a human annotator)
//   jitter     it is the person's own joint i, 0.5 <= ks < 0.85
//   inversion  it is the person's own mirrored joint, ks >= 0.5: left and right confused
//   swap       it is a joint of another person, ks >= 0.5
//   miss       ks < 0.5: near no joint
// Among equal values the person's own joint wins, then the same joint of another person, then the person's own mirrored
// joint.
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
  std::string name;  // The name of the joint, or the range of sizes.
  std::array<int64_t, kPoseErrors> count{};
  double similarity = 0;  // The mean ks with the own joint.
  double error = 0;       // The median of d / sqrt(area).
  int64_t joints() const;
  double share(PoseError kind) const;  // A share from 0 to 1; 0 if there is nothing to count.
};

struct PoseAnalysis {
  std::vector<ErrorRow> joints;  // One per joint of the skeleton.
  std::vector<ErrorRow> sizes;   // By sqrt(area) of the person in pixels.
  ErrorRow all;
  int64_t people = 0;        // The people that count: not a crowd, and with labelled joints.
  int64_t people_found = 0;  // The people to whom a detection belongs.
  int64_t detections = 0;    // The detections that are compared, at most 20 per picture.
  // Those that belong to a person that counts, and those that belong to one that does not.
  int64_t detections_matched = 0, detections_ignored = 0;
  int64_t duplicates = 0;  // OKS >= 0.1 only with people to whom other detections belong.
  int64_t background = 0;  // OKS < 0.1 with every person.
  // The ten numbers as they are, and as they would be if one kind of error (jitter, inversion, swap, miss, in this
  // order) were corrected. The joint is then moved to where its ks with the own joint is 0.85 (jitter), 0.5 (miss), or
  // what it was with the joint for which it was mistaken (inversion, swap).
  std::array<double, 10> stats{};
  std::array<std::array<double, 10>, kPoseErrors - 1> corrected{};
  std::array<double, 10> corrected_all{};
};

// The options are those of evaluate_coco; if `sigmas` is empty, the skeleton's are used. Throws the errors of
// evaluate_coco, and Error for a skeleton with another number of joints.
PoseAnalysis analyse_poses(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const Skeleton& skeleton,
                           CocoEvalOptions options = {});

// Returns the table by joint, by size, and with the cost of each kind of error; without a newline at the end.
std::string analysis_table(const PoseAnalysis& analysis);
// Returns the same as one JSON object.
std::string analysis_json(const PoseAnalysis& analysis);

}  // namespace hr
