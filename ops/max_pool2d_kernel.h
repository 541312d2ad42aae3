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

  // The part of the window that lies within the picture: pixels [y0, y1) x [x0, x1) of it, the window beginning at
  // (top, left).
  struct Row {
    int64_t picture, out;  // index of the picture's first element, and of the result's
    int64_t top, left;
    int64_t y0, y1, x0, x1;
  };
  HR_HD Row row(int64_t r) const {
    const int64_t line = r / g.out_w, n = line / g.out_h;
    const int64_t top = (line - n * g.out_h) * g.stride - g.pad, left = (r - line * g.out_w) * g.stride - g.pad;
    const int64_t bottom = top + g.kernel, right = left + g.kernel;
    return {
        n * g.h * g.w * g.channels, r * g.channels,           top, left, top > 0 ? top : 0, bottom < g.h ? bottom : g.h,
        left > 0 ? left : 0,        right < g.w ? right : g.w};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    for (int64_t lane = c; lane < c + Lanes<V>::kCount; ++lane) scalar(at, lane);
  }
  HR_HD void scalar(const Row& at, int64_t c) const {
    float best = -INFINITY;
    int64_t where = -1;
    for (int64_t iy = at.y0; iy < at.y1; ++iy) {
      for (int64_t ix = at.x0; ix < at.x1; ++ix) {
        const float v = to_float(x[at.picture + (iy * g.w + ix) * g.channels + c]);
        if (where < 0 || v > best || v != v) {
          best = v;
          where = (iy - at.top) * g.kernel + (ix - at.left);
        }
      }
    }
    y[at.out + c] = from_float<T>(best);
    winner[at.out + c] = static_cast<uint8_t>(where);
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

  // The windows that hold the input element: of output lines [y0, y1] and columns [x0, x1], none if y1 < y0 or x1 < x0.
  struct Row {
    int64_t map, in;       // index of the gradient's first element of this picture, and of the input's
    int64_t below, right;  // the element's position in the padded picture
    int64_t y0, y1, x0, x1;
  };
  HR_HD Row row(int64_t r) const {
    const int64_t line = r / g.w, n = line / g.h;
    const int64_t below = line - n * g.h + g.pad, right = r - line * g.w + g.pad;
    const int64_t last_y = below / g.stride, last_x = right / g.stride;
    return {n * g.out_h * g.out_w * g.channels,
            r * g.channels,
            below,
            right,
            first_window(below),
            last_y < g.out_h ? last_y : g.out_h - 1,
            first_window(right),
            last_x < g.out_w ? last_x : g.out_w - 1};
  }
  // The first window along one axis that reaches `position`.
  HR_HD int64_t first_window(int64_t position) const {
    return position < g.kernel ? 0 : (position - g.kernel) / g.stride + 1;
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    for (int64_t lane = c; lane < c + Lanes<V>::kCount; ++lane) scalar(at, lane);
  }
  // From the last window to the first, which is the order of positions within the window.
  HR_HD void scalar(const Row& at, int64_t c) const {
    float sum = 0;
    for (int64_t oy = at.y1; oy >= at.y0; --oy) {
      for (int64_t ox = at.x1; ox >= at.x0; --ox) {
        const int64_t i = at.map + (oy * g.out_w + ox) * g.channels + c;
        const int64_t position = (at.below - oy * g.stride) * g.kernel + (at.right - ox * g.stride);
        if (winner[i] == position) sum += to_float(dy[i]);
      }
    }
    dx[at.in + c] = from_float<T>(sum);
  }
};

}  // namespace hr
