#pragma once
#include "ops/kernel.h"

namespace hr {

// y[n, h, w, c] = x[n, h, W-1-w, c]
struct MirrorColumns {
  using Element = float;
  static constexpr const char* kName = "flip test: mirror";
  double bytes_per_element() const { return 8; }
  const float* x;
  float* y;
  uint32_t w;
  int64_t channels;

  struct Row {
    const float* from;
    float* to;
  };
  HR_HD Row row(int64_t r) const {
    const uint32_t line = static_cast<uint32_t>(r) / w, column = static_cast<uint32_t>(r) - line * w;
    return {x + (static_cast<int64_t>(line) * w + (w - 1 - column)) * channels, y + r * channels};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    store<V>(at.to + c, load<V>(at.from + c));
  }
};

// y[n, h, w, k] = (maps[n, h, w, k] + mirrored[n, h, W-1-w', mirror[k]]) / 2, with w' = w - 1 if shifted (w = 0 stays).
struct FlipAverage {
  using Element = float;
  static constexpr const char* kName = "flip test: average";
  double bytes_per_element() const { return 12; }
  const float *maps, *mirrored;
  const int32_t* mirror;
  float* y;
  uint32_t w;
  int64_t joints;
  bool shift;

  struct Row {
    const float *maps, *mirrored;
    float* y;
  };
  HR_HD Row row(int64_t r) const {
    const uint32_t line = static_cast<uint32_t>(r) / w, column = static_cast<uint32_t>(r) - line * w;
    const uint32_t unshifted = shift && column > 0 ? column - 1 : column;
    return {maps + r * joints, mirrored + (static_cast<int64_t>(line) * w + (w - 1 - unshifted)) * joints,
            y + r * joints};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t k) const {
    for (int64_t lane = k; lane < k + Lanes<V>::kCount; ++lane)
      at.y[lane] = (at.maps[lane] + at.mirrored[mirror[lane]]) * 0.5f;
  }
};

// targets[n, y, x, k] = (column factor of x) * (row factor of y), computed in double.
struct GaussianTargets {
  using Element = float;
  static constexpr const char* kName = "target heatmaps";
  double bytes_per_element() const { return 4; }
  const double* profiles;  // [n, w + h, joints].
  float* targets;          // [n, h, w, joints].
  uint32_t h, w;
  int64_t joints;

  struct Row {
    const double *column, *row;
    float* to;
  };
  HR_HD Row row(int64_t r) const {
    const uint32_t line = static_cast<uint32_t>(r) / w, x = static_cast<uint32_t>(r) - line * w, n = line / h;
    const double* profile = profiles + static_cast<int64_t>(n) * (w + h) * joints;
    return {profile + x * joints, profile + (w + line - n * h) * joints, targets + r * joints};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t k) const {
    for (int64_t lane = k; lane < k + Lanes<V>::kCount; ++lane)
      at.to[lane] = static_cast<float>(at.row[lane] * at.column[lane]);
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH(MirrorColumns)
HR_FOR_EACH(FlipAverage)
HR_FOR_EACH(GaussianTargets)

}  // namespace hr
