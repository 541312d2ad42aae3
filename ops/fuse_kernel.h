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
  const float *scale[Terms], *shift[Terms];  // [C]; null where a term has no normalisation
  int up[Terms];
  T* y;
  int64_t h, w, channels;
  float floor;  // 0 for ReLU, -inf for none

  struct Row {
    const T* x[Terms];
    T* y;
  };
  HR_HD Row row(int64_t r) const {
    Row at;
    for (int t = 0; t < Terms; ++t) at.x[t] = x[t] + low_row(r, h, w, up[t]) * channels;
    at.y = y + r * channels;
    return at;
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    V sum;
    for (int t = 0; t < Terms; ++t) {
      V v = load<V>(at.x[t] + c);
      if (scale[t] != nullptr) v = v * load<V>(scale[t] + c) + load<V>(shift[t] + c);
      sum = t == 0 ? v : sum + v;
    }
    const V low = Lanes<V>::fill(floor);
    store<V>(at.y + c, sum < low ? low : sum);  // a NaN stays a NaN
  }
};

// dz = sum of the addends of dy where y > 0. In place over an addend is allowed.
template <class T, int Addends>
struct MaskedSum {
  const T* dy[Addends];
  const T* y;  // null: no mask
  T* dz;
  int64_t channels;

  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD V value(int64_t i) const {
    V g = load<V>(dy[0] + i);
    for (int a = 1; a < Addends; ++a) g += load<V>(dy[a] + i);
    if (y == nullptr) return g;
    const V zero = Lanes<V>::fill(0);
    return load<V>(y + i) > zero ? g : zero;
  }
  template <class V>
  HR_HD void one(int64_t at, int64_t c) const {
    store<V>(dz + at + c, value<V>(at + c));
  }
};

// The same with batch normalisation's two reductions on the way: sum of dz and of dz * (x - mean).
template <class T, int Addends>
struct MaskedSumReduce {
  static constexpr int kSums = 2;
  MaskedSum<T, Addends> masked;
  const T* x;
  const float* mean;

  HR_HD int64_t row(int64_t r) const { return masked.row(r); }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, V* terms) const {
    masked.template one<V>(at, c);
    const V g = load<V>(masked.dz + at + c);  // as rounded: what later passes will read
    terms[0] = g;
    terms[1] = g * (load<V>(x + at + c) - load<V>(mean + c));
  }
};

// Reductions alone, for further normalised terms of one fuse.
template <class T>
struct NormReduce {
  static constexpr int kSums = 2;
  const T *dz, *x;
  const float* mean;
  int64_t channels;

  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, V* terms) const {
    const V g = load<V>(dz + at + c);
    terms[0] = g;
    terms[1] = g * (load<V>(x + at + c) - load<V>(mean + c));
  }
};

// Gradient of an upsampled term: the sum of dz over each low-resolution pixel's footprint of 2^Up x 2^Up.
template <class T, int Up>
struct FootprintSum {
  const T* dz;  // [N, h << Up, w << Up, C]
  T* low;       // [N, h, w, C]
  int64_t h, w, channels;

  struct Row {
    const T* corner;
    T* low;
  };
  HR_HD Row row(int64_t r) const {
    const int64_t x = r % w, line = r / w;  // line = n * h + y
    return {dz + ((line << Up) * (w << Up) + (x << Up)) * channels, low + r * channels};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    V sum = Lanes<V>::fill(0);
    for (int fy = 0; fy < 1 << Up; ++fy) {
      for (int fx = 0; fx < 1 << Up; ++fx) sum += load<V>(at.corner + (fy * (w << Up) + fx) * channels + c);
    }
    store<V>(at.low + c, sum);
  }
};

// dx = a dz + b (x - mean) + d per channel: batch normalisation's derivative. In place over dz is allowed.
template <class T>
struct NormBackward {
  const T *dz, *x;
  const float *mean, *a, *b, *d;
  T* dx;
  int64_t channels;

  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c) const {
    const V centred = load<V>(x + at + c) - load<V>(mean + c);
    store<V>(dx + at + c, load<V>(a + c) * load<V>(dz + at + c) + load<V>(b + c) * centred + load<V>(d + c));
  }
};

}  // namespace hr
