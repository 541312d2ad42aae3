#include "data/targets.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace hr {

void draw_targets(Recipe recipe, std::span<const double> joints, std::span<const float> joint_weights, double sigma,
                  int w, int h, std::span<float> heatmap, std::span<float> weight) {
  const size_t count = weight.size();
  check(joints.size() == 3 * count && heatmap.size() == count * w * h,
        "draw_targets: {} weights, {} joint numbers, {} map values; expected K, 3 K and {} x {} K", count,
        joints.size(), heatmap.size(), w, h);
  check(sigma > 0 && sigma < 1000, "draw_targets: sigma {}", sigma);
  check(recipe == Recipe::official || joint_weights.size() == count, "draw_targets: {} joint weights for {} joints",
        joint_weights.size(), count);
  std::fill(heatmap.begin(), heatmap.end(), 0.0F);

  const int radius = static_cast<int>(3 * sigma);
  // exp(-(dx^2 + dy^2) / (2 s^2)) as a product of two factors.
  std::vector<double> factor(radius + 1);
  for (int d = 0; d <= radius; ++d) factor[d] = std::exp(-d * d / (2 * sigma * sigma));

  // Toward zero as an int cast, but defined for any number; what is no number lies off the map.
  const auto to_map = [](double v) {
    return std::isnan(v) ? -1000000 : static_cast<int>(std::clamp(v / 4 + 0.5, -1e6, 1e6));
  };
  for (size_t k = 0; k < count; ++k) {
    const double v = joints[3 * k + 2];
    const bool official = recipe == Recipe::official;
    const int x = to_map(joints[3 * k]), y = to_map(joints[3 * k + 1]);
    // The windows end differently by one pixel: the official one is a half-open range compared with <.
    const int slack = official ? 1 : 0;
    const bool off_map = x - radius >= w || y - radius >= h || x + radius + slack < 0 || y + radius + slack < 0;
    weight[k] = official ? static_cast<float>(std::min(v, 1.0)) : static_cast<float>(v);
    const bool drawn = weight[k] > 0.5F && !off_map;
    if (off_map) weight[k] = 0;
    if (!official) weight[k] *= joint_weights[k];
    if (!drawn) continue;
    const int x0 = std::max(0, x - radius), x1 = std::min(w - 1, x + radius);
    const int y0 = std::max(0, y - radius), y1 = std::min(h - 1, y + radius);
    for (int row = y0; row <= y1; ++row) {
      const double row_factor = factor[std::abs(row - y)];
      float* at = heatmap.data() + (static_cast<size_t>(row) * w) * count + k;
      for (int column = x0; column <= x1; ++column) {
        at[column * count] = static_cast<float>(row_factor * factor[std::abs(column - x)]);
      }
    }
  }
}

}  // namespace hr
