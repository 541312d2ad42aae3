// OKS non-maximum suppression of poses in one picture, and the score that a pose gets from its joints.
#pragma once
#include <optional>
#include <span>
#include <vector>

namespace hr {

// T is the type in which the reference would hold the coordinates: differences and squares are rounded to it.
template <class T>
struct ScoredPose {
  std::span<const T> keypoints;  // [joints, 3]: x, y, score.
  double score = 0;
  double area = 0;  // In square pixels; in the official code that of the padded box.
};

struct OksNms {
  double threshold = 0.9;             // A pose is kept if its OKS with every kept one is <= threshold.
  std::vector<double> sigmas;         // One per joint; empty: COCO's 17.
  std::optional<double> in_vis_thre;  // Only joints count whose score in the *other* pose is above this.
};

// Returns the OKS of two poses over all joints (or those above in_vis_thre; 0 if there are none): the mean of exp(-d^2
// / ((2 sigma)^2 ((area_a + area_b)/2 + 2^-52) 2)).
template <class T>
double pose_oks(const ScoredPose<T>& pose, const ScoredPose<T>& other, std::span<const double> sigmas,
                std::optional<double> in_vis_thre = {});

// Returns the indices of the poses that are kept, best score first. Among equal scores the later one comes first, as in
// the reference. Throws Error for a pose with another number of joints than sigmas.
template <class T>
std::vector<int> oks_nms(std::span<const ScoredPose<T>> poses, const OksNms& options);

// Soft-NMS (Bodla et al. 2017): poses are not dropped; their scores are multiplied by exp(-OKS^2 / threshold), which
// only changes their order. Returns at most 20 indices.
template <class T>
std::vector<int> soft_oks_nms(std::span<const ScoredPose<T>> poses, const OksNms& options);

// Returns the box score times the mean of the joint scores above `threshold`, 0 if there are none. keypoints: [joints,
// 3]. official: summed in double; seed: the mean in float32 in numpy's order, with the threshold compared in float32.
double rescore_official(std::span<const float> keypoints, double box_score, double threshold);
double rescore_seed(std::span<const float> keypoints, double box_score, double threshold);

}  // namespace hr
