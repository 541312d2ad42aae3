#pragma once
#include "ops/kernel.h"

namespace hr {

// [a, taps, b] -> [b, taps, a]: a deconvolution's filter as the convolution it mirrors has it. Filters are small, so
// the reads may stride.
template <class T>
struct SwapFilterEnds {
  using Element = T;
  static constexpr const char* kName = "deconvolution filter order";
  double bytes_per_element() const { return 2 * sizeof(T); }
  const T* from;
  T* to;
  int64_t a, taps, b;
  template <class V>
  HR_HD void one(int64_t i) const {
    for (int lane = 0; lane < Lanes<V>::kCount; ++lane) {
      const int64_t j = i + lane, end = j % a, rest = j / a, tap = rest % taps, begin = rest / taps;
      to[j] = from[(end * taps + tap) * b + begin];
    }
  }
};

}  // namespace hr
