// The logistic function for the values of ops/lanes.h, sigmoid(v) = 1 / (1 + exp(-v)), and silu(v) = v sigmoid(v).
#pragma once
#include "ops/kernel.h"

namespace hr {

#ifndef __CUDACC__
namespace detail {
template <class V>
struct BitsOf;
template <>
struct BitsOf<float> {
  using type = uint32_t;
};
template <>
struct BitsOf<Floats8> {
  using type = Bits8;
};
template <>
struct BitsOf<Floats16> {
  using type = Bits16;
};

// exp(-v) = 2^t with t = -v log2(e) is 2^n 2^f with |f| <= 1/2. The polynomial for 2^f has degree 5 and a largest
// relative error of 9e-8, which is less than the roundings; after some convolutions these operations take a third of
// the time. It exists because the compiler does not vectorise std::exp. Arguments are clamped to the range of float; a
// NaN stays a NaN.
template <class V>
HR_HD V exponential_of_minus(V v) {
  using Bits = typename BitsOf<V>::type;
  const auto all = [](float x) { return Lanes<V>::fill(x); };
  const V low = all(-87.0f), high = all(87.0f), scale = all(-1.44269504f);
  v = v < low ? low : v;
  v = v > high ? high : v;
  // 1.5 * 2^23. Adding it rounds to a whole number, which then stands in the lowest bits.
  const V magic = all(12582912.0f);
  const V shifted = v * scale + magic;
  const V n = shifted - magic;
  const V f = v * scale - n;
  V p = all(1.326472731e-3f);
  p = p * f + all(9.671512991e-3f);
  p = p * f + all(5.550733581e-2f);
  p = p * f + all(2.402224243e-1f);
  p = p * f + all(6.931470037e-1f);
  p = p * f + all(1.0f);
  const Bits exponent = (std::bit_cast<Bits>(shifted) - std::bit_cast<Bits>(magic) + 127u) << 23;
  return p * std::bit_cast<V>(exponent);
}
}  // namespace detail

template <class V>
HR_HD V sigmoid(V v) {
  const V one = Lanes<V>::fill(1.0f);
  return one / (one + detail::exponential_of_minus(v));
}
// v sigmoid(v)
template <class V>
HR_HD V silu(V v) {
  return v / (Lanes<V>::fill(1.0f) + detail::exponential_of_minus(v));
}
#else
HR_HD float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }
HR_HD float silu(float v) { return v / (1.0f + expf(-v)); }
#endif

template <int N>
HR_HD Floats<N> sigmoid(Floats<N> v) {
  HR_UNROLL for (int i = 0; i < N; ++i) v.v[i] = sigmoid(v.v[i]);
  return v;
}

template <int N>
HR_HD Floats<N> silu(Floats<N> v) {
  HR_UNROLL for (int i = 0; i < N; ++i) v.v[i] = silu(v.v[i]);
  return v;
}

}  // namespace hr
