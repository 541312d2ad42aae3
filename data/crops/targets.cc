#include "data/crops/targets.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace hr {

namespace {

// Moves NaN, and values that do not fit into an int, to a place off the map.
double tame(double v) { return std::isnan(v) ? -1e6 : std::clamp(v, -1e6, 1e6); }

// Rounds as in the reference: half is added and then the fraction is cut off, also for negative numbers.
int towards_zero(double v) { return static_cast<int>(v); }

}  // namespace

void draw_targets(Recipe recipe, std::span<const double> joints, std::span<const float> joint_weights, double sigma,
                  int w, int h, std::span<float> heatmap, std::span<float> weight, Encoding encoding,
                  std::span<double> profiles) {
  const size_t count = weight.size();
  check(joints.size() == 3 * count && (heatmap.empty() || heatmap.size() == count * w * h),
        "draw_targets: {} weights, {} joint numbers, {} map values; expected K, 3 K and {} x {} K", count,
        joints.size(), heatmap.size(), w, h);
  check(profiles.empty() || profiles.size() == count * (w + h), "draw_targets: {} profile numbers, expected {} x {}",
        profiles.size(), w + h, count);
  check(sigma > 0 && sigma < 1000, "draw_targets: sigma is {}, expected a number above 0 and below 1000", sigma);
  check(recipe == Recipe::official || joint_weights.size() == count, "draw_targets: got {} joint weights for {} joints",
        joint_weights.size(), count);
  std::fill(heatmap.begin(), heatmap.end(), 0.0F);
  std::fill(profiles.begin(), profiles.end(), 0.0);

  const bool official = recipe == Recipe::official;
  const int radius = static_cast<int>(3 * sigma);
  const double spread = 2 * sigma * sigma;
  const double step_x = encoding == Encoding::udp ? (w - 1) / (4.0 * w - 1) : 0.25;
  const double step_y = encoding == Encoding::udp ? (h - 1) / (4.0 * h - 1) : 0.25;
  // exp(-(dx^2 + dy^2) / (2 s^2)) is a product of two factors. They depend on the distance for whole pixels, otherwise
  // on the column and on the row.
  std::vector<double> factor(radius + 1), column_factor(w), row_factor(h);
  for (int d = 0; d <= radius; ++d) factor[d] = std::exp(-d * d / spread);

  for (size_t k = 0; k < count; ++k) {
    const double v = joints[3 * k + 2];
    const double mx = tame(joints[3 * k] * step_x), my = tame(joints[3 * k + 1] * step_y);
    const int x = towards_zero(mx + 0.5), y = towards_zero(my + 0.5);
    const double cx = encoding == Encoding::dark ? mx : x, cy = encoding == Encoding::dark ? my : y;
    // The windows differ by one pixel at the end: the official one is a half-open range.
    const int slack = official ? 1 : 0;
    const bool off_map = cx - radius >= w || cy - radius >= h || cx + radius + slack < 0 || cy + radius + slack < 0;
    weight[k] = official ? static_cast<float>(std::min(v, 1.0)) : static_cast<float>(v);
    const bool drawn = weight[k] > 0.5F && !off_map;
    if (off_map) weight[k] = 0;
    if (!official) weight[k] *= joint_weights[k];
    if (!drawn || (heatmap.empty() && profiles.empty())) continue;
    const bool everywhere = encoding == Encoding::dark;
    const int x0 = everywhere ? 0 : std::max(0, x - radius), x1 = everywhere ? w - 1 : std::min(w - 1, x + radius);
    const int y0 = everywhere ? 0 : std::max(0, y - radius), y1 = everywhere ? h - 1 : std::min(h - 1, y + radius);
    for (int column = x0; column <= x1; ++column) {
      column_factor[column] = encoding == Encoding::quarter ? factor[std::abs(column - x)]
                                                            : std::exp(-(column - mx) * (column - mx) / spread);
    }
    for (int row = y0; row <= y1; ++row) {
      row_factor[row] =
          encoding == Encoding::quarter ? factor[std::abs(row - y)] : std::exp(-(row - my) * (row - my) / spread);
    }
    if (!profiles.empty()) {
      for (int column = x0; column <= x1; ++column) profiles[column * count + k] = column_factor[column];
      for (int row = y0; row <= y1; ++row) profiles[(w + row) * count + k] = row_factor[row];
    }
    if (heatmap.empty()) continue;
    for (int row = y0; row <= y1; ++row) {
      float* at = heatmap.data() + (static_cast<size_t>(row) * w) * count + k;
      for (int column = x0; column <= x1; ++column) {
        at[column * count] = static_cast<float>(row_factor[row] * column_factor[column]);
      }
    }
  }
}

}  // namespace hr
