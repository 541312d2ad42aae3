#pragma once
#include "ops/finite.h"
#include "ops/kernel.h"

namespace hr {

// Computes one element: the weight of the newest values, 1 - min(decay, (1 + t) / (10 + t)) after t updates. The decay
// grows with t, so that after a few steps the average does not still consist mostly of the values it started with
// (tf.train.ExponentialMovingAverage does the same).
struct AverageWeight {
  using Element = float;
  static constexpr const char* kName = "moving average: weight";
  double bytes_per_element() const { return 16; }
  const int64_t* steps;
  double decay;
  float* weight;
  template <class V>
  HR_HD void one(int64_t) const {
    const auto t = static_cast<double>(*steps);
    const double grown = (1 + t) / (10 + t);
    *weight = static_cast<float>(1 - (grown < decay ? grown : decay));
  }
};

// average = average + weight * (x - average)
struct MovingAverage {
  using Element = float;
  static constexpr const char* kName = "moving average";
  double bytes_per_element() const { return 3 * sizeof(float); }
  const float* x;
  float* average;
  const float *weight, *valid;  // One number each. If `valid` is not finite, nothing changes; null: it always does.
  template <class V>
  HR_HD void one(int64_t i) const {
    if (valid != nullptr && !is_finite(*valid)) return;
    const V before = load<V>(average + i);
    store<V>(average + i, before + Lanes<V>::fill(*weight) * (load<V>(x + i) - before));
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH_FLAT(AverageWeight)
HR_FOR_EACH_FLAT(MovingAverage)

}  // namespace hr
