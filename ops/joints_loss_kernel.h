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

  struct Row {
    const T* pred;
    const float *target, *weight;
  };
  HR_HD Row row(int64_t r) const { return {pred + r * joints, target + r * joints, weight + r / pixels * joints}; }
  template <class V>
  HR_HD void one(const Row& at, int64_t k, V* terms) const {
    const V d = load<V>(at.pred + k) - load<V>(at.target + k);
    terms[0] = load<V>(at.weight + k) * d * d;
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

  struct Row {
    int64_t first, weight;
  };
  HR_HD Row row(int64_t r) const { return {r * joints, r / pixels * joints}; }
  template <class V>
  HR_HD void one(const Row& at, int64_t k) const {
    const int64_t i = at.first + k;
    store<V>(dpred + i,
             Lanes<V>::fill(factor) * load<V>(weight + at.weight + k) * (load<V>(pred + i) - load<V>(target + i)));
  }
};

}  // namespace hr
