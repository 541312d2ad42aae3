#pragma once
#include "ops/kernel.h"

namespace hr {

struct PoolGeometry {
  int64_t h, w, channels, out_h, out_w;
  int kernel, stride, pad;
};

// Also keeps the window position of the maximum, one byte per output element.
template <class T>
struct MaxPoolForward {
  using Element = T;
  static constexpr const char* kName = "max pool";
  double bytes_per_element() const { return 5 * sizeof(T) + 1; }
  const T* x;
  T* y;
  uint8_t* winner;
  PoolGeometry g;

  HR_HD int64_t row(int64_t r) const { return r; }
  template <class V>
  HR_HD void one(int64_t row, int64_t c) const {
    for (int64_t lane = c; lane < c + Lanes<V>::kCount; ++lane) scalar(row, lane);
  }
  HR_HD void scalar(int64_t row, int64_t c) const {
    const int64_t ox = row % g.out_w, line = row / g.out_w, oy = line % g.out_h, n = line / g.out_h;
    float best = -INFINITY;
    int where = -1;
    for (int ky = 0; ky < g.kernel; ++ky) {
      for (int kx = 0; kx < g.kernel; ++kx) {
        const int64_t iy = oy * g.stride - g.pad + ky, ix = ox * g.stride - g.pad + kx;
        if (iy < 0 || iy >= g.h || ix < 0 || ix >= g.w) continue;
        const float v = to_float(x[((n * g.h + iy) * g.w + ix) * g.channels + c]);
        if (where < 0 || v > best || v != v) {
          best = v;
          where = ky * g.kernel + kx;
        }
      }
    }
    y[row * g.channels + c] = from_float<T>(best);
    winner[row * g.channels + c] = static_cast<uint8_t>(where);
  }
};

// One input element gathers from every window it won: no two writers, so the order of sums is fixed.
template <class T>
struct MaxPoolBackward {
  using Element = T;
  static constexpr const char* kName = "max pool: backward";
  double bytes_per_element() const { return 2 * sizeof(T) + 1; }
  const T* dy;
  const uint8_t* winner;
  T* dx;
  PoolGeometry g;

  HR_HD int64_t row(int64_t r) const { return r; }
  template <class V>
  HR_HD void one(int64_t row, int64_t c) const {
    for (int64_t lane = c; lane < c + Lanes<V>::kCount; ++lane) scalar(row, lane);
  }
  HR_HD void scalar(int64_t row, int64_t c) const {
    const int64_t ix = row % g.w, line = row / g.w, iy = line % g.h, n = line / g.h;
    float sum = 0;
    for (int ky = 0; ky < g.kernel; ++ky) {
      for (int kx = 0; kx < g.kernel; ++kx) {
        const int64_t sy = iy + g.pad - ky, sx = ix + g.pad - kx;
        if (sy < 0 || sx < 0 || sy % g.stride != 0 || sx % g.stride != 0) continue;
        const int64_t oy = sy / g.stride, ox = sx / g.stride;
        if (oy >= g.out_h || ox >= g.out_w) continue;
        const int64_t i = ((n * g.out_h + oy) * g.out_w + ox) * g.channels + c;
        if (winner[i] == ky * g.kernel + kx) sum += to_float(dy[i]);
      }
    }
    dx[row * g.channels + c] = from_float<T>(sum);
  }
};

}  // namespace hr
