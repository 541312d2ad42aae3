// CrowdPose evaluation, equal to xtcocotools with iouType 'keypoints_crowd' and use_area=False (what the published
// numbers were measured with): the rules of CocoRules::xtcocotools_crowd, and three more averages over pictures by how
// crowded they are.
#pragma once
#include <array>
#include <string>

#include "eval/coco_eval.h"

namespace hr {

struct CrowdPoseResult {
  // AP, AP.5, AP.75, AR, AR.5, AR.75, AP(E), AP(M), AP(H). The last three are evaluations of the pictures with
  // crowdIndex < 0.2, < 0.8 and the rest (the paper has 0.1 and 0.8; the tool that people publish with has these): the
  // plain mean of all precisions at area range `all`, absent ones (-1) included, rounded to four decimals.
  std::array<double, 9> stats{};
  std::array<int64_t, 3> images{};  // easy, medium, hard
  CocoEvalResult all;
};

// options: sigmas empty means CrowdPose's 14; rules and images are set here. Error as evaluate_coco, and for an image
// without crowdIndex.
CrowdPoseResult evaluate_crowdpose(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                                   CocoEvalOptions options = {});

// The nine lines that the reference prints, without a newline at the end.
std::string crowdpose_summary(const CrowdPoseResult& result);

}  // namespace hr
