#include "eval/pckh.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "eval/results.h"

namespace hr {
namespace {

constexpr double kHeadShare = 0.6;  // The reference's SC_BIAS.
constexpr double kThreshold = 0.5;
constexpr int kFine = 11;                           // The threshold of "Mean@0.1" in hundredths, as in the reference.
constexpr std::array<size_t, 2> kLeftOut = {6, 7};  // The joints pelvis and thorax do not count in the means.
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Returns the percentage of visible joints with a distance of at most `threshold`, by joint; NaN if none is visible.
std::vector<double> share_within(const std::vector<double>& distance, const MpiiTruth& truth,
                                 const std::vector<double>& counts, double threshold) {
  const auto N = static_cast<size_t>(truth.people);
  std::vector<double> share;
  for (size_t j = 0; j < counts.size(); ++j) {
    double hits = 0;
    for (size_t n = 0; n < N; ++n) {
      hits += truth.missing[j * N + n] == 0 && distance[j * N + n] <= threshold ? 1 : 0;
    }
    share.push_back(counts[j] > 0 ? 100.0 * hits / counts[j] : kNaN);
  }
  return share;
}

double weighted_mean(const std::vector<double>& share, const std::vector<double>& counts) {
  const auto counted = [&](size_t j) { return std::ranges::find(kLeftOut, j) == kLeftOut.end() && counts[j] > 0; };
  double total = 0, mean = 0;
  for (size_t j = 0; j < counts.size(); ++j) total += counted(j) ? counts[j] : 0;
  for (size_t j = 0; j < counts.size(); ++j) mean += counted(j) ? share[j] * (counts[j] / total) : 0;
  return total > 0 ? mean : kNaN;
}

}  // namespace

std::array<const char*, kPckhColumns> pckh_columns() {
  return {"Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean", "Mean@0.1"};
}

PckhResult evaluate_pckh(const MpiiTruth& truth, std::span<const float> poses) {
  const size_t J = truth.joint_names.size();
  const auto N = static_cast<size_t>(truth.people);
  check(J > 0 && poses.size() == N * J * 2, "{}: {} people with {} joints, but {} predicted coordinates; expected {}",
        truth.path, N, J, poses.size(), N * J * 2);
  std::vector<double> distance(J * N), counts(J);
  for (size_t n = 0; n < N; ++n) {
    const auto head = [&](size_t corner, size_t c) { return truth.heads[(corner * 2 + c) * N + n]; };
    const double hx = head(1, 0) - head(0, 0), hy = head(1, 1) - head(0, 1);
    const double size = std::sqrt(hx * hx + hy * hy) * kHeadShare;
    for (size_t j = 0; j < J; ++j) {
      const float x = poses[(n * J + j) * 2] + 1.0F, y = poses[(n * J + j) * 2 + 1] + 1.0F;
      check(std::isfinite(x) && std::isfinite(y), "PCKh: joint {} of person {} is not a finite number", j, n);
      const double dx = x - truth.joints[(j * 2) * N + n], dy = y - truth.joints[(j * 2 + 1) * N + n];
      distance[j * N + n] = std::sqrt(dx * dx + dy * dy) / size;
      counts[j] += truth.missing[j * N + n] == 0 ? 1 : 0;
    }
  }

  PckhResult result;
  result.counts = counts;
  result.joints = share_within(distance, truth, counts, kThreshold);
  for (size_t i = 0; i < result.curve.size(); ++i) {
    const auto share = share_within(distance, truth, counts, 0.01 * static_cast<double>(i));
    result.curve.at(i) = weighted_mean(share, counts);
  }
  const auto joint = [&](const char* name) {
    const auto at = std::ranges::find(truth.joint_names, name);
    check(at != truth.joint_names.end(), "{}: dataset_joints has no '{}'; it has {}", truth.path, name,
          fmt::join(truth.joint_names, ", "));
    return result.joints[at - truth.joint_names.begin()];
  };
  const auto both = [&](const char* left, const char* right) { return 0.5 * (joint(left) + joint(right)); };
  result.table = {
      joint("head"),         both("lsho", "rsho"), both("lelb", "relb"), both("lwri", "rwri"),
      both("lhip", "rhip"),  both("lkne", "rkne"), both("lank", "rank"), weighted_mean(result.joints, counts),
      result.curve.at(kFine)};
  return result;
}

std::string pckh_markdown(const std::string& architecture, const PckhResult& result) {
  return markdown_table(architecture, pckh_columns(), result.table);
}

}  // namespace hr
