#pragma once
#include "ops/kernel.h"

namespace hr {

template <class T>
struct SquaredDifference {
  using Element = T;
  static constexpr const char* kName = "mean squared error";
  double bytes_per_element() const { return sizeof(T) + 4; }
  static constexpr int kSums = 1;
  const T* pred;
  const float* target;
  int64_t channels;
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, V* terms) const {
    const V d = load<V>(pred + at + c) - load<V>(target + at + c);
    terms[0] = d * d;
  }
};

// dpred = (2 / n) dloss (pred - target)
template <class T>
struct SquaredDifferenceBackward {
  using Element = T;
  static constexpr const char* kName = "mean squared error: backward";
  double bytes_per_element() const { return 2 * sizeof(T) + 4; }
  const T* pred;
  const float* target;
  T* dpred;
  float two_over_n;
  const float* dloss;  // one number
  template <class V>
  HR_HD void one(int64_t i) const {
    const V d = load<V>(pred + i) - load<V>(target + i);
    store<V>(dpred + i, Lanes<V>::fill(two_over_n * *dloss) * d);
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_REDUCE_ROWS(SquaredDifference<float>)
HR_REDUCE_ROWS(SquaredDifference<bf16>)
HR_FOR_EACH_FLAT(SquaredDifferenceBackward<float>)
HR_FOR_EACH_FLAT(SquaredDifferenceBackward<bf16>)

}  // namespace hr
