#pragma once
#include "ops/for_each.h"

namespace hr {

constexpr int kMaxTerms = 4;

// Row of the low-resolution tensor under row (n, y, x) of the high-resolution one.
HR_HD int64_t low_row(int64_t row, int64_t h, int64_t w, int up) {
  if (up == 0) return row;
  const int64_t x = row % w, line = row / w, y = line % h, n = line / h;
  return (n * (h >> up) + (y >> up)) * (w >> up) + (x >> up);
}

template <class T, int Terms>
struct FuseForward {
  const T* x[Terms];
  const float *scale[Terms], *shift[Terms];  // [C]; 1 and 0 where a term has no normalisation
  int up[Terms];
  T* y;
  int64_t h, w, channels;
  float floor;  // 0 for ReLU, -inf for none

  HR_HD void operator()(int64_t row, int64_t c) const {
    float sum = 0;
    for (int t = 0; t < Terms; ++t) {
      const float v = to_float(x[t][low_row(row, h, w, up[t]) * channels + c]) * scale[t][c] + shift[t][c];
      sum = t == 0 ? v : sum + v;
    }
    y[row * channels + c] = from_float<T>(sum < floor ? floor : sum);  // a NaN stays a NaN
  }
};

// dz = sum of the addends of dy where y > 0. In place over an addend is allowed.
template <class T, int Addends>
struct MaskedSum {
  const T* dy[Addends];
  const T* y;  // null: no mask
  T* dz;
  int64_t channels;

  HR_HD float value(int64_t i) const {
    float g = to_float(dy[0][i]);
    for (int a = 1; a < Addends; ++a) g += to_float(dy[a][i]);
    return y == nullptr || to_float(y[i]) > 0 ? g : 0;
  }
  HR_HD void operator()(int64_t row, int64_t c) const {
    const int64_t i = row * channels + c;
    dz[i] = from_float<T>(value(i));
  }
};

// The same with batch normalisation's two reductions on the way: sum of dz and of dz * (x - mean).
template <class T, int Addends>
struct MaskedSumReduce {
  static constexpr int kSums = 2;
  MaskedSum<T, Addends> masked;
  const T* x;
  const float* mean;

  HR_HD void operator()(int64_t row, int64_t c, float* terms) const {
    const int64_t i = row * masked.channels + c;
    const T stored = from_float<T>(masked.value(i));
    masked.dz[i] = stored;
    const float g = to_float(stored);  // what later passes will read
    terms[0] = g;
    terms[1] = g * (to_float(x[i]) - mean[c]);
  }
};

// Reductions alone, for further normalised terms of one fuse.
template <class T>
struct NormReduce {
  static constexpr int kSums = 2;
  const T *dz, *x;
  const float* mean;
  int64_t channels;

  HR_HD void operator()(int64_t row, int64_t c, float* terms) const {
    const int64_t i = row * channels + c;
    const float g = to_float(dz[i]);
    terms[0] = g;
    terms[1] = g * (to_float(x[i]) - mean[c]);
  }
};

// Gradient of an upsampled term: the sum of dz over each low-resolution pixel's footprint of 2^Up x 2^Up.
template <class T, int Up>
struct FootprintSum {
  const T* dz;  // [N, h << Up, w << Up, C]
  T* low;       // [N, h, w, C]
  int64_t h, w, channels;

  HR_HD float value(int64_t row, int64_t c) const {
    const int64_t x = row % w, line = row / w;  // line = n * h + y
    const T* corner = dz + (((line << Up) * (w << Up)) + (x << Up)) * channels + c;
    float sum = 0;
    for (int fy = 0; fy < 1 << Up; ++fy) {
      for (int fx = 0; fx < 1 << Up; ++fx) sum += to_float(corner[(fy * (w << Up) + fx) * channels]);
    }
    return sum;
  }
  HR_HD void operator()(int64_t row, int64_t c) const { low[row * channels + c] = from_float<T>(value(row, c)); }
};

// dx = a dz + b (x - mean) + d per channel: batch normalisation's derivative. In place over dz is allowed.
template <class T>
struct NormBackward {
  const T *dz, *x;
  const float *mean, *a, *b, *d;
  T* dx;
  int64_t channels;

  HR_HD void operator()(int64_t row, int64_t c) const {
    const int64_t i = row * channels + c;
    dx[i] = from_float<T>(a[c] * to_float(dz[i]) + b[c] * (to_float(x[i]) - mean[c]) + d[c]);
  }
};

}  // namespace hr
