#pragma once
#include "ops/kernel.h"

namespace hr {

struct PoolGeometry {
  int64_t h, w, channels, out_h, out_w;
  int kernel, stride, pad;
};

// The part of a window that lies within the picture: its pixels [y0, y1) x [x0, x1). The window begins at (top, left).
struct PoolWindow {
  int64_t picture, out;           // The index of the picture's first element, and that of the result.
  int top, left, y0, y1, x0, x1;  // 32 bits, because the threads of a GPU have few registers.
};
HR_HD PoolWindow pool_window(const PoolGeometry& g, int64_t r) {
  const int64_t line = r / g.out_w, n = line / g.out_h;
  const int h = static_cast<int>(g.h), w = static_cast<int>(g.w);
  const int top = static_cast<int>(line - n * g.out_h) * g.stride - g.pad;
  const int left = static_cast<int>(r - line * g.out_w) * g.stride - g.pad;
  const int bottom = top + g.kernel, right = left + g.kernel;
  return {.picture = n * g.h * g.w * g.channels,
          .out = r * g.channels,
          .top = top,
          .left = left,
          .y0 = top > 0 ? top : 0,
          .y1 = bottom < h ? bottom : h,
          .x0 = left > 0 ? left : 0,
          .x1 = right < w ? right : w};
}

// Computes only the maxima, for inference.
template <class T>
struct MaxPoolValues {
  using Element = T;
  static constexpr const char* kName = "max pool, values";
  double bytes_per_element() const { return 5 * sizeof(T); }
  const T* x;
  T* y;
  PoolGeometry g;

  HR_HD PoolWindow row(int64_t r) const { return pool_window(g, r); }
  template <class V>
  HR_HD void one(const PoolWindow& at, int64_t c) const {
    V best = load<V>(x + at.picture + (at.y0 * g.w + at.x0) * g.channels + c);
    for (int iy = at.y0; iy < at.y1; ++iy) {
      const T* in = x + at.picture + (iy * g.w + at.x0) * g.channels + c;
      for (int ix = at.x0; ix < at.x1; ++ix, in += g.channels) best = larger(best, load<V>(in));
    }
    store<V>(y + at.out + c, best);
  }
};

// Also stores the window position of the maximum, one byte per output element.
template <class T>
struct MaxPoolForward {
  using Element = T;
  static constexpr const char* kName = "max pool";
  double bytes_per_element() const { return 5 * sizeof(T) + 1; }
  const T* x;
  T* y;
  uint8_t* winner;
  PoolGeometry g;

  HR_HD PoolWindow row(int64_t r) const { return pool_window(g, r); }
  template <class V>
  HR_HD void one(const PoolWindow& at, int64_t c) const {
    for (int64_t lane = c; lane < c + Lanes<V>::kCount; ++lane) scalar(at, lane);
  }
  HR_HD void scalar(const PoolWindow& at, int64_t c) const {
    float best = -INFINITY;
    int where = -1;
    for (int iy = at.y0; iy < at.y1; ++iy) {
      const T* in = x + at.picture + (iy * g.w + at.x0) * g.channels + c;
      for (int ix = at.x0; ix < at.x1; ++ix, in += g.channels) {
        const float v = to_float(*in);
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

// Each input element adds up the gradients of the windows whose maximum it was. Only one thread writes it, so that the
// order of the sum is fixed.
template <class T>
struct MaxPoolBackward {
  using Element = T;
  static constexpr const char* kName = "max pool: backward";
  double bytes_per_element() const { return 2 * sizeof(T) + 1; }
  const T* dy;
  const uint8_t* winner;
  T* dx;
  PoolGeometry g;

  // The windows that contain the input element: those of output lines [y0, y1] and columns [x0, x1], none if y1 < y0 or
  // x1 < x0.
  struct Row {
    int64_t map, in;   // The index of the first element of the gradient for this picture, and that of the input.
    int below, right;  // The position of the element in the padded picture.
    int y0, y1, x0, x1;
  };
  HR_HD Row row(int64_t r) const {
    const int64_t line = r / g.w, n = line / g.h;
    const int below = static_cast<int>(line - n * g.h) + g.pad, right = static_cast<int>(r - line * g.w) + g.pad;
    return {.map = n * g.out_h * g.out_w * g.channels,
            .in = r * g.channels,
            .below = below,
            .right = right,
            .y0 = first_window(below),
            .y1 = last_window(below, g.out_h),
            .x0 = first_window(right),
            .x1 = last_window(right, g.out_w)};
  }
  // Along one axis: the first window that reaches `position`, and the last of `count` windows that begins at or before
  // it.
  HR_HD int first_window(int position) const { return position < g.kernel ? 0 : (position - g.kernel) / g.stride + 1; }
  HR_HD int last_window(int position, int64_t count) const {
    const int last = position / g.stride;
    return last < count ? last : static_cast<int>(count) - 1;
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    for (int64_t lane = c; lane < c + Lanes<V>::kCount; ++lane) scalar(at, lane);
  }
  // Goes from the last window to the first, which is the order of positions within the window.
  HR_HD void scalar(const Row& at, int64_t c) const {
    float sum = 0;
    for (int oy = at.y1; oy >= at.y0; --oy) {
      for (int ox = at.x1; ox >= at.x0; --ox) {
        const int64_t i = at.map + (oy * g.out_w + ox) * g.channels + c;
        const int position = (at.below - oy * g.stride) * g.kernel + (at.right - ox * g.stride);
        if (winner[i] == position) sum += to_float(dy[i]);
      }
    }
    dx[at.in + c] = from_float<T>(sum);
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH(MaxPoolForward<float>)
HR_FOR_EACH(MaxPoolForward<bf16>)
HR_FOR_EACH(MaxPoolValues<float>)
HR_FOR_EACH(MaxPoolValues<bf16>)
HR_FOR_EACH(MaxPoolBackward<float>)
HR_FOR_EACH(MaxPoolBackward<bf16>)

}  // namespace hr
