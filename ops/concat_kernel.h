#pragma once
#include "ops/kernel.h"
#include "ops/low_row.h"
#include "ops/sigmoid.h"

namespace hr {

// Stores a V to memory that need not be aligned to a whole V.
template <class V>
HR_HD void store_anywhere(float* p, V v) {
#ifdef __CUDA_ARCH__
  HR_UNROLL for (int i = 0; i < Lanes<V>::kCount; ++i) p[i] = lane(v, i);
#else
  store<V>(p, v);
#endif
}
template <class V>
HR_HD void store_anywhere(bf16* p, V v) {
#ifdef __CUDA_ARCH__
  HR_UNROLL for (int i = 0; i < Lanes<V>::kCount; ++i) p[i] = from_float<bf16>(lane(v, i));
#else
  store<V>(p, v);
#endif
}

// Copies one term of a concatenation to the channels [first, first + channels) of y.
template <class T>
struct ConcatForward {
  using Element = T;
  static constexpr const char* kName = "concat";
  double bytes_per_element() const { return (1.0 / (1 << 2 * up) + 1) * sizeof(T); }
  const T* x;
  T* y;
  uint32_t h, w;  // The size of y.
  int up;
  int64_t channels, first, total;
  bool aligned;  // Every row of the term begins at a multiple of 16 bytes in y.

  struct Row {
    const T* x;
    T* y;
  };
  HR_HD Row row(int64_t r) const { return {x + low_row(r, h, w, up) * channels, y + r * total + first}; }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    const V v = load<V>(at.x + c);
    aligned ? store<V>(at.y + c, v) : store_anywhere<V>(at.y + c, v);
  }
};

// Copies rows of [N, pixels, C] into a table [N, anchors, columns].
struct PutPixels {
  using Element = float;
  static constexpr const char* kName = "put pixels";
  double bytes_per_element() const { return 2 * sizeof(float); }
  const float* x;
  float* table;
  int64_t pixels, channels, anchors, columns, first_row, first_column, plain;

  struct Row {
    const float* x;
    float* y;
  };
  HR_HD Row row(int64_t r) const {
    const int64_t n = r / pixels, p = r - n * pixels;
    return {x + r * channels, table + (n * anchors + first_row + p) * columns + first_column};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    if (plain == 0) {
      store_anywhere<V>(at.y + c, sigmoid(load<V>(at.x + c)));
      return;
    }
    for (int64_t i = c; i < c + Lanes<V>::kCount; ++i) at.y[i] = i < plain ? at.x[i] : sigmoid(at.x[i]);
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH(ConcatForward<float>)
HR_FOR_EACH(ConcatForward<bf16>)
HR_FOR_EACH(PutPixels)

}  // namespace hr
