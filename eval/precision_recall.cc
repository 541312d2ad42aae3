#include "eval/precision_recall.h"

#include <algorithm>
#include <array>
#include <limits>

#include "eval/pairwise.h"

namespace hr {
namespace {

constexpr int T = kOksThresholds, R = kRecallPoints;

}  // namespace

void PrecisionRecall::clear() const {
  const size_t each = categories * static_cast<size_t>(areas) * static_cast<size_t>(limits);
  precision.assign(T * R * each, -1.0);
  scores.assign(T * R * each, -1.0);
  recall.assign(T * each, -1.0);
}

void PrecisionRecall::accumulate(std::span<const Outcome> outcomes, std::span<const double> score,
                                 std::span<const int64_t> to_find, size_t k, int m) const {
  const std::array<double, R> points = recall_points();
  const size_t K = categories, A = static_cast<size_t>(areas), M = static_cast<size_t>(limits);
  std::vector<double> at_hit;  // The precision at every hit. Between hits it can only decrease.
  std::vector<size_t> hit_at;
  for (int a = 0; a < areas; ++a) {
    if (to_find[a] == 0) continue;
    const auto total = static_cast<double>(to_find[a]);
    for (int t = 0; t < T; ++t) {
      at_hit.clear();
      hit_at.clear();
      double hits = 0, misses = 0;
      for (size_t i = 0; i < outcomes.size(); ++i) {
        if ((outcomes[i].hit & outcome_bit(a, t)) != 0) {
          ++hits;
          at_hit.push_back(hits / (misses + hits + std::numeric_limits<double>::epsilon()));
          hit_at.push_back(i);
        } else if ((outcomes[i].ignored & outcome_bit(a, t)) == 0) {
          ++misses;
        }
      }
      recall[((t * K + k) * A + a) * M + m] = hits / total;
      for (size_t p = at_hit.size(); p-- > 1;) at_hit[p - 1] = std::max(at_hit[p - 1], at_hit[p]);
      size_t p = 0;  // The first hit whose recall reaches the point.
      for (int i = 0; i < R; ++i) {
        while (p < at_hit.size() && static_cast<double>(p + 1) / total < points[i]) ++p;
        const size_t at = (((static_cast<size_t>(t) * R + i) * K + k) * A + a) * M + m;
        // Recall 0 is reached by the very first detection, whether it is a hit or not.
        const bool first = points[i] <= 0 && !outcomes.empty();
        precision[at] = p < at_hit.size() ? at_hit[p] : 0.0;
        scores[at] = first ? score[0] : p < at_hit.size() ? score[hit_at[p]] : 0.0;
      }
    }
  }
}

double mean_of_curves(std::span<const double> list, size_t rows, const PrecisionRecall& layout, int threshold, int a,
                      int m) {
  const size_t n = rows * layout.categories;
  std::vector<double> picked;
  for (int t = std::max(threshold, 0); t < (threshold < 0 ? T : threshold + 1); ++t) {
    for (size_t i = 0; i < n; ++i) {
      const double v =
          list[((t * n + i) * static_cast<size_t>(layout.areas) + a) * static_cast<size_t>(layout.limits) + m];
      if (v > -1) picked.push_back(v);
    }
  }
  return picked.empty() ? -1.0 : pairwise_sum(picked.data(), picked.size()) / static_cast<double>(picked.size());
}

}  // namespace hr
