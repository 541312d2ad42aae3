// CrowdPose evaluation, equal to xtcocotools with iouType 'keypoints_crowd' and use_area=False, with which the
// published numbers were measured. It uses the rules of CocoRules::xtcocotools_crowd and adds three averages over
// pictures by how crowded they are.
#pragma once
#include <array>
#include <string>

#include "eval/coco_eval.h"

namespace hr {

struct CrowdPoseResult {
  // AP, AP.5, AP.75, AR, AR.5, AR.75, AP(E), AP(M), AP(H). The last three are evaluations of the pictures with
  // crowdIndex < 0.2, < 0.8 and the rest (the paper has 0.1 and 0.8; the tool that is used for publications has these
  // values). Each is the plain mean of all precisions at area range `all`, with absent ones counted as -1, rounded to
  // four decimals.
  std::array<double, 9> stats{};
  std::array<int64_t, 3> images{};  // Easy, medium, hard.
  CocoEvalResult all;
};

// Empty sigmas mean CrowdPose's 14; rules and images are set here. Throws the errors of evaluate_coco, and Error for an
// image without crowdIndex.
CrowdPoseResult evaluate_crowdpose(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                                   CocoEvalOptions options = {});

// Returns the nine lines that the reference prints, without a newline at the end.
std::string crowdpose_summary(const CrowdPoseResult& result);

}  // namespace hr
