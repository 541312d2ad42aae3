#pragma once
#include "ops/sigmoid.h"

namespace hr {

template <class T>
struct DepthwiseForward {
  using Element = T;
  static constexpr const char* kName = "depthwise convolution";
  double bytes_per_element() const { return 2 * sizeof(T); }
  const T* x;
  const float *filter, *bias;  // [k, k, C] and [C]; bias may be null.
  T* y;
  int64_t h, w, channels, out_h, out_w;
  int kernel, stride, pad;
  bool silu;

  // The part of the window that lies within the picture, and the position of its first tap in the filter.
  struct Row {
    const T* corner;
    const float* tap;
    T* y;
    int rows, columns;
  };
  HR_HD Row row(int64_t r) const {
    const int64_t line = r / out_w, n = line / out_h;
    const int top = static_cast<int>(line - n * out_h) * stride - pad;
    const int left = static_cast<int>(r - line * out_w) * stride - pad;
    const int y0 = top > 0 ? top : 0, x0 = left > 0 ? left : 0;
    const int below = top + kernel, right = left + kernel;
    const int y1 = below < h ? below : static_cast<int>(h), x1 = right < w ? right : static_cast<int>(w);
    return {.corner = x + ((n * h + y0) * w + x0) * channels,
            .tap = filter + (static_cast<int64_t>(y0 - top) * kernel + (x0 - left)) * channels,
            .y = y + r * channels,
            .rows = y1 - y0,
            .columns = x1 - x0};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    V sum = bias != nullptr ? load<V>(bias + c) : Lanes<V>::fill(0);
    for (int i = 0; i < at.rows; ++i) {
      const T* in = at.corner + i * w * channels + c;
      const float* tap = at.tap + static_cast<int64_t>(i) * kernel * channels + c;
      for (int j = 0; j < at.columns; ++j, in += channels, tap += channels) sum += load<V>(in) * load<V>(tap);
    }
    if (silu) sum = hr::silu(sum);
    store<V>(at.y + c, sum);
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH(DepthwiseForward<float>)
HR_FOR_EACH(DepthwiseForward<bf16>)

}  // namespace hr
