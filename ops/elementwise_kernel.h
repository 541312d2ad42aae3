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
  double bytes_per_element() const { return 0; }  // the loss is finite
  const float *loss, *x;
  float* y;
  template <class V>
  HR_HD void one(int64_t i) const {
    if (!is_finite(*loss)) store<V>(y + i, load<V>(x + i));
  }
};

// What a GPU runs.
HR_FOR_EACH_FLAT(Add<float>)
HR_FOR_EACH_FLAT(Add<bf16>)
HR_FOR_EACH_FLAT(Convert<float, float>)
HR_FOR_EACH_FLAT(Convert<float, bf16>)
HR_FOR_EACH_FLAT(Convert<bf16, float>)
HR_FOR_EACH_FLAT(Convert<bf16, bf16>)
HR_FOR_EACH_FLAT(CopyUnlessFinite)

}  // namespace hr
