#pragma once
#include "ops/kernel.h"

namespace hr {

// The weighted squared difference. The official loss uses w * w as the weight.
template <class T>
struct SquaredError {
  using Element = T;
  static constexpr const char* kName = "loss";
  double bytes_per_element() const { return sizeof(T) + 4; }
  static constexpr int kSums = 1;
  const T* pred;
  const float *target, *weight;
  int64_t pixels, joints;  // `pixels` is the number of pixels per map.
  bool squared;

  struct Row {
    const T* pred;
    const float *target, *weight;
  };
  HR_HD Row row(int64_t r) const { return {pred + r * joints, target + r * joints, weight + r / pixels * joints}; }
  template <class V>
  HR_HD void one(const Row& at, int64_t k, V* terms) const {
    const V d = load<V>(at.pred + k) - load<V>(at.target + k);
    const V w = load<V>(at.weight + k);
    terms[0] = (squared ? w * w : w) * d * d;
  }
};

// dpred = 2 scale d(loss) w (p - g), where the official loss uses w * w in place of w.
template <class T>
struct SquaredErrorBackward {
  using Element = T;
  static constexpr const char* kName = "loss: backward";
  double bytes_per_element() const { return 2 * sizeof(T) + 4; }
  const T* pred;
  const float *target, *weight;
  T* dpred;
  int64_t pixels, joints;
  bool squared;
  float twice_scale;
  const float* dloss;  // A single number.

  struct Row {
    int64_t first, weight;
  };
  HR_HD Row row(int64_t r) const { return {r * joints, r / pixels * joints}; }
  template <class V>
  HR_HD void one(const Row& at, int64_t k) const {
    const int64_t i = at.first + k;
    const V w = load<V>(weight + at.weight + k);
    const V factor = Lanes<V>::fill(twice_scale * *dloss) * (squared ? w * w : w);
    store<V>(dpred + i, factor * (load<V>(pred + i) - load<V>(target + i)));
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_REDUCE_ROWS(SquaredError<float>)
HR_REDUCE_ROWS(SquaredError<bf16>)
HR_FOR_EACH(SquaredErrorBackward<float>)
HR_FOR_EACH(SquaredErrorBackward<bf16>)

}  // namespace hr
