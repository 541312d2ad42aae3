#include "eval/accuracy.h"

#include <cmath>

#include "core/error.h"

namespace hr {

HeatmapAccuracy heatmap_accuracy(const Heatmaps& output, const Heatmaps& target, double threshold) {
  check(output.n == target.n && output.h == target.h && output.w == target.w && output.joints == target.joints,
        "heatmap_accuracy: output [{}, {}, {}, {}] and target [{}, {}, {}, {}] differ", output.n, output.h, output.w,
        output.joints, target.n, target.h, target.w, target.joints);
  const std::vector<float> found = decode(output, {.codec = Codec::argmax});
  const std::vector<float> wanted = decode(target, {.codec = Codec::argmax});
  const double unit_x = output.h / 10.0, unit_y = output.w / 10.0;  // Exchanged; see the header.

  HeatmapAccuracy accuracy;
  double sum = 0;
  for (int k = 0; k < output.joints; ++k) {
    int hits = 0, counted = 0;
    for (int i = 0; i < output.n; ++i) {
      const size_t at = (static_cast<size_t>(i) * output.joints + k) * 3;
      if (!(wanted[at] > 1 && wanted[at + 1] > 1)) continue;
      const double dx = found[at] / unit_x - wanted[at] / unit_x;
      const double dy = found[at + 1] / unit_y - wanted[at + 1] / unit_y;
      ++counted;
      hits += std::sqrt(dx * dx + dy * dy) < threshold;
    }
    accuracy.joints.push_back(counted > 0 ? static_cast<double>(hits) / counted : -1.0);
    if (counted > 0) {
      sum += accuracy.joints.back();
      ++accuracy.counted;
    }
  }
  if (accuracy.counted > 0) accuracy.mean = sum / accuracy.counted;
  return accuracy;
}

}  // namespace hr
