#pragma once
#include "ops/for_each.h"

namespace hr {

// y = a + b, summed in float.
template <class T>
struct Add {
  const T *a, *b;
  T* y;
  HR_HD void operator()(int64_t row, int64_t c) const {
    const int64_t i = row * kWidth + c;
    y[i] = from_float<T>(to_float(a[i]) + to_float(b[i]));
  }
  static constexpr int64_t kWidth = 1024;  // a flat array is walked in rows of this many elements
};

template <class From, class To>
struct Convert {
  const From* x;
  To* y;
  HR_HD void operator()(int64_t row, int64_t c) const {
    const int64_t i = row * kWidth + c;
    y[i] = from_float<To>(to_float(x[i]));
  }
  static constexpr int64_t kWidth = 1024;
};

// Runs a flat kernel over n elements: whole rows, then the rest.
template <class F>
void for_each_flat(int64_t n, const F& f) {
  const int64_t rows = n / F::kWidth, tail = n % F::kWidth;
  // A row here is 1,024 elements: blocks of 16 rows keep both threads busy on small tensors too.
  parallel_for((rows + 15) / 16, n, [&](int64_t block) {
    for (int64_t row = block * 16; row < std::min(rows, block * 16 + 16); ++row) {
#pragma omp simd
      for (int64_t c = 0; c < F::kWidth; ++c) f(row, c);
    }
  });
#pragma omp simd
  for (int64_t c = 0; c < tail; ++c) f(rows, c);
}

}  // namespace hr
