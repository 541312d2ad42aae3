#include "eval/heatmap_accuracy.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace hr {

double heatmap_accuracy(const Heatmaps& predicted, const Heatmaps& target) {
  check(predicted.n == target.n && predicted.h == target.h && predicted.w == target.w &&
            predicted.joints == target.joints,
        "heatmap accuracy: {} x {} x {} x {} heatmaps cannot be compared with {} x {} x {} x {}", predicted.n,
        predicted.h, predicted.w, predicted.joints, target.n, target.h, target.w, target.joints);
  const std::vector<float> found = decode(predicted, {.codec = Codec::argmax});
  const std::vector<float> wanted = decode(target, {.codec = Codec::argmax});
  const double unit_x = target.h / 10.0, unit_y = target.w / 10.0;  // The official code exchanges h and w here.
  double sum = 0;
  int counted = 0;
  for (int k = 0; k < target.joints; ++k) {
    int samples = 0, near = 0;
    for (int i = 0; i < target.n; ++i) {
      const size_t at = (static_cast<size_t>(i) * static_cast<size_t>(target.joints) + static_cast<size_t>(k)) * 3;
      if (wanted[at] <= 1 || wanted[at + 1] <= 1) continue;
      ++samples;
      const double dx = (found[at] - wanted[at]) / unit_x, dy = (found[at + 1] - wanted[at + 1]) / unit_y;
      if (std::hypot(dx, dy) < 0.5) ++near;
    }
    if (samples == 0) continue;
    sum += static_cast<double>(near) / samples;
    ++counted;
  }
  return counted > 0 ? sum / counted : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace hr
