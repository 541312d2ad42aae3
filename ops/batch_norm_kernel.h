#pragma once
#include "ops/for_each.h"

namespace hr {

// Sum and sum of squares of x - k, where k is the first row of the block.
template <class T>
struct ShiftedMoments {
  static constexpr int kSums = 2;
  const T* x;
  int64_t channels;

  struct Row {
    const T *x, *first;
  };
  HR_HD Row row(int64_t r) const { return {x + r * channels, x + r / kBlockRows * kBlockRows * channels}; }
  template <class V>
  HR_HD void one(const Row& at, int64_t c, V* terms) const {
    const V d = load<V>(at.x + c) - load<V>(at.first + c);
    terms[0] = d;
    terms[1] = d * d;
  }
};

}  // namespace hr
