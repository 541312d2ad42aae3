#pragma once
#include "ops/for_each.h"

namespace hr {

// Sum and sum of squares of x - k, where k is the first row of the block.
template <class T>
struct ShiftedMoments {
  static constexpr int kSums = 2;
  const T* x;
  int64_t channels;
  HR_HD void operator()(int64_t row, int64_t c, float* terms) const {
    const int64_t first = row / kBlockRows * kBlockRows;
    const float d = to_float(x[row * channels + c]) - to_float(x[first * channels + c]);
    terms[0] = d;
    terms[1] = d * d;
  }
};

}  // namespace hr
