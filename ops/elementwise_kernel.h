#pragma once
#include "ops/finite.h"
#include "ops/kernel.h"

namespace hr {

// y = a + b, summed in float.
template <class T>
struct Add {
  using Element = T;
  static constexpr const char* kName = "sum of gradients";
  double bytes_per_element() const { return 3 * sizeof(T); }
  const T *a, *b;
  T* y;
  template <class V>
  HR_HD void one(int64_t i) const {
    store<V>(y + i, load<V>(a + i) + load<V>(b + i));
  }
};

// y = a b, multiplied in float.
template <class T>
struct Multiply {
  using Element = T;
  static constexpr const char* kName = "product";
  double bytes_per_element() const { return 3 * sizeof(T); }
  const T *a, *b;
  T* y;
  template <class V>
  HR_HD void one(int64_t i) const {
    store<V>(y + i, load<V>(a + i) * load<V>(b + i));
  }
};

// y = x * scale[c] + shift[c]; without a scale or a shift, which may be null, x + shift[c] or x * scale[c].
template <class T>
struct ColumnAffine {
  using Element = T;
  static constexpr const char* kName = "numbers per channel";
  double bytes_per_element() const { return 2 * sizeof(T); }
  const T* x;
  const float *scale, *shift;
  T* y;
  int64_t channels;
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c) const {
    V v = load<V>(x + at + c);
    if (scale != nullptr) v = v * load<V>(scale + c);
    if (shift != nullptr) v = v + load<V>(shift + c);
    store<V>(y + at + c, v);
  }
};

// y = max(x, 0).
template <class T>
struct ReluForward {
  using Element = T;
  static constexpr const char* kName = "ReLU";
  double bytes_per_element() const { return 2 * sizeof(T); }
  const T* x;
  T* y;
  template <class V>
  HR_HD void one(int64_t i) const {
    store<V>(y + i, at_least(load<V>(x + i), Lanes<V>::fill(0)));
  }
};

template <class T>
struct ReluBackward {
  using Element = T;
  static constexpr const char* kName = "ReLU: backward";
  double bytes_per_element() const { return 3 * sizeof(T); }
  const T *x, *dy;
  T* dx;
  template <class V>
  HR_HD void one(int64_t i) const {
    store<V>(dx + i, where_positive(load<V>(x + i), load<V>(dy + i)));
  }
};

template <class From, class To>
struct Convert {
  using Element = bf16;  // the narrower of the two: 8 elements at a time
  static constexpr const char* kName = "cast";
  double bytes_per_element() const { return sizeof(From) + sizeof(To); }
  const From* x;
  To* y;
  template <class V>
  HR_HD void one(int64_t i) const {
    store<V>(y + i, load<V>(x + i));
  }
};

// y = x where the loss is not finite; nothing otherwise.
struct CopyUnlessFinite {
  using Element = float;
  static constexpr const char* kName = "running statistics, put back";
  double bytes_per_element() const { return 0; }  // for a finite loss, which is the usual case
  const float *loss, *x;
  float* y;
  template <class V>
  HR_HD void one(int64_t i) const {
    if (!is_finite(*loss)) store<V>(y + i, load<V>(x + i));
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH_FLAT(Add<float>)
HR_FOR_EACH_FLAT(Add<bf16>)
HR_FOR_EACH_FLAT(Multiply<float>)
HR_FOR_EACH_FLAT(Multiply<bf16>)
HR_FOR_EACH(ColumnAffine<float>)
HR_FOR_EACH(ColumnAffine<bf16>)
HR_FOR_EACH_FLAT(ReluForward<float>)
HR_FOR_EACH_FLAT(ReluForward<bf16>)
HR_FOR_EACH_FLAT(ReluBackward<float>)
HR_FOR_EACH_FLAT(ReluBackward<bf16>)
HR_FOR_EACH_FLAT(Convert<float, float>)
HR_FOR_EACH_FLAT(Convert<float, bf16>)
HR_FOR_EACH_FLAT(Convert<bf16, float>)
HR_FOR_EACH_FLAT(Convert<bf16, bf16>)
HR_FOR_EACH_FLAT(CopyUnlessFinite)

}  // namespace hr
