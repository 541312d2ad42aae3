#include "eval/nms.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "data/formats/skeleton.h"
#include "eval/pairwise.h"

namespace hr {
namespace {

constexpr int kSoftLimit = 20;  // The reference keeps no more.

template <class T>
std::vector<double> checked_sigmas(const char* name, std::span<const ScoredPose<T>> poses, const OksNms& options) {
  std::vector<double> sigmas = options.sigmas.empty() ? coco_skeleton().sigmas : options.sigmas;
  for (size_t i = 0; i < poses.size(); ++i) {
    check(poses[i].keypoints.size() == 3 * sigmas.size(),
          "{}: pose {} has {} numbers; expected 3 x {} joints, one joint per sigma", name, i, poses[i].keypoints.size(),
          sigmas.size());
  }
  return sigmas;
}

// Best score first: an ascending stable sort (with NaN at the end, as in numpy) that is read backwards, so that among
// equal scores the later one comes first.
std::vector<int> best_first(std::span<const double> scores) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return scores[a] < scores[b] || (std::isnan(scores[b]) && !std::isnan(scores[a]));
  });
  std::reverse(order.begin(), order.end());
  return order;
}

template <class T>
std::vector<double> scores_of(std::span<const ScoredPose<T>> poses) {
  std::vector<double> scores;
  for (const ScoredPose<T>& pose : poses) scores.push_back(pose.score);
  return scores;
}

}  // namespace

template <class T>
double pose_oks(const ScoredPose<T>& pose, const ScoredPose<T>& other, std::span<const double> sigmas,
                std::optional<double> in_vis_thre) {
  const double area = (pose.area + other.area) / 2 + std::numeric_limits<double>::epsilon();
  thread_local std::vector<double> similarity;
  similarity.clear();
  for (size_t k = 0; k < sigmas.size(); ++k) {
    if (in_vis_thre && !(other.keypoints[3 * k + 2] > *in_vis_thre)) continue;
    const T dx = other.keypoints[3 * k] - pose.keypoints[3 * k];
    const T dy = other.keypoints[3 * k + 1] - pose.keypoints[3 * k + 1];
    const T square = dx * dx + dy * dy;
    const double spread = sigmas[k] * 2;
    similarity.push_back(std::exp(-(square / (spread * spread) / area / 2)));
  }
  if (similarity.empty()) return 0;
  return pairwise_sum(similarity.data(), similarity.size()) / static_cast<double>(similarity.size());
}

template <class T>
std::vector<int> oks_nms(std::span<const ScoredPose<T>> poses, const OksNms& options) {
  const std::vector<double> sigmas = checked_sigmas("oks_nms", poses, options);
  std::vector<int> order = best_first(scores_of(poses));
  std::vector<int> keep;
  while (!order.empty()) {
    const int best = order.front();
    keep.push_back(best);
    order.erase(order.begin());
    std::erase_if(order, [&](int i) {
      return !(pose_oks<T>(poses[best], poses[i], sigmas, options.in_vis_thre) <= options.threshold);
    });
  }
  return keep;
}

template <class T>
std::vector<int> soft_oks_nms(std::span<const ScoredPose<T>> poses, const OksNms& options) {
  const std::vector<double> sigmas = checked_sigmas("soft_oks_nms", poses, options);
  std::vector<int> order = best_first(scores_of(poses));
  std::vector<double> scores;
  scores.reserve(order.size());
  for (const int i : order) scores.push_back(poses[i].score);
  std::vector<int> keep;
  while (!order.empty() && keep.size() < kSoftLimit) {
    const int best = order.front();
    keep.push_back(best);
    std::vector<double> left;
    for (size_t j = 1; j < order.size(); ++j) {
      const double oks = pose_oks<T>(poses[best], poses[order[j]], sigmas, options.in_vis_thre);
      left.push_back(scores[j] * std::exp(-(oks * oks) / options.threshold));
    }
    std::vector<int> next;
    scores.clear();
    for (const int j : best_first(left)) {
      next.push_back(order[j + 1]);
      scores.push_back(left[j]);
    }
    order = std::move(next);
  }
  return keep;
}

double rescore_official(std::span<const float> keypoints, double box_score, double threshold) {
  double sum = 0;
  int counted = 0;
  for (size_t i = 2; i < keypoints.size(); i += 3) {
    if (!(keypoints[i] > threshold)) continue;
    sum += keypoints[i];
    ++counted;
  }
  return counted == 0 ? 0.0 : sum / counted * box_score;
}

double rescore_seed(std::span<const float> keypoints, double box_score, double threshold) {
  std::vector<float> counted;
  for (size_t i = 2; i < keypoints.size(); i += 3) {
    if (keypoints[i] > static_cast<float>(threshold)) counted.push_back(keypoints[i]);
  }
  if (counted.empty()) return 0;
  const float sum = pairwise_sum(counted.data(), counted.size());
  return box_score * static_cast<float>(sum / static_cast<double>(counted.size()));
}

template double pose_oks<float>(const ScoredPose<float>&, const ScoredPose<float>&, std::span<const double>,
                                std::optional<double>);
template double pose_oks<double>(const ScoredPose<double>&, const ScoredPose<double>&, std::span<const double>,
                                 std::optional<double>);
template std::vector<int> oks_nms<float>(std::span<const ScoredPose<float>>, const OksNms&);
template std::vector<int> oks_nms<double>(std::span<const ScoredPose<double>>, const OksNms&);
template std::vector<int> soft_oks_nms<float>(std::span<const ScoredPose<float>>, const OksNms&);
template std::vector<int> soft_oks_nms<double>(std::span<const ScoredPose<double>>, const OksNms&);

}  // namespace hr
