#pragma once
#include "ops/for_each.h"

namespace hr {

// Weighted squared difference; weight[n, k] already squared for the official loss.
template <class T>
struct SquaredError {
  static constexpr int kSums = 1;
  const T* pred;
  const float *target, *weight;
  int64_t pixels, joints;  // pixels per map
  HR_HD void operator()(int64_t row, int64_t k, float* terms) const {
    const float d = to_float(pred[row * joints + k]) - target[row * joints + k];
    terms[0] = weight[row / pixels * joints + k] * d * d;
  }
};

// dpred = factor * weight * (p - g); factor = 2 * scale * d(loss).
template <class T>
struct SquaredErrorBackward {
  const T* pred;
  const float *target, *weight;
  T* dpred;
  int64_t pixels, joints;
  float factor;
  HR_HD void operator()(int64_t row, int64_t k) const {
    const int64_t i = row * joints + k;
    dpred[i] = from_float<T>(factor * weight[row / pixels * joints + k] * (to_float(pred[i]) - target[i]));
  }
};

}  // namespace hr
