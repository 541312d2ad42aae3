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

constexpr float kMostExponent = 87.0f;  // exp(87) and exp(-87) are in the range of float.

// exp(-v) = 2^t with t = -v log2(e) is 2^n 2^f with |f| <= 1/2, for |v| <= kMostExponent. Returns 2^f, and n in the
// bits of a float's exponent. The polynomial for 2^f has degree 5 and a largest relative error of 9e-8, which is less
// than the roundings; after some convolutions these operations take a third of the time. It exists because the compiler
// does not vectorise std::exp. For a NaN 2^f is a NaN, and n may be anything.
template <class V, class Bits>
HR_HD V power_of_minus(V v, Bits& n) {
  const auto all = [](float x) { return Lanes<V>::fill(x); };
  // 1.5 * 2^23. Adding it rounds to a whole number, which then stands in the lowest bits; the others are shifted away.
  const V scale = all(-1.44269504f), magic = all(12582912.0f);
  const V shifted = v * scale + magic;
  n = std::bit_cast<Bits>(shifted) << 23;
  const V f = v * scale - (shifted - magic);
  V p = all(1.326472731e-3f);
  p = p * f + all(9.671512991e-3f);
  p = p * f + all(5.550733581e-2f);
  p = p * f + all(2.402224243e-1f);
  p = p * f + all(6.931470037e-1f);
  return p * f + all(1.0f);
}
}  // namespace detail

// A NaN stays a NaN.
template <class V>
HR_HD V sigmoid(V v) {
  const V low = Lanes<V>::fill(-detail::kMostExponent), high = Lanes<V>::fill(detail::kMostExponent);
  v = v < low ? low : v;
  v = v > high ? high : v;
  typename detail::BitsOf<V>::type n;
  const V p = detail::power_of_minus(v, n), one = Lanes<V>::fill(1.0f);
  return one / (one + p * std::bit_cast<V>(n + std::bit_cast<uint32_t>(1.0f)));
}
// v sigmoid(v). A NaN stays a NaN, because v is divided; so the operations before that may treat it as a number. They
// are those on bits, which are fewer: a limit for |v| in place of two comparisons, and a sum of exponents, which spoils
// the least results only, to which 1 is added.
template <class V>
HR_HD V silu(V v) {
  using Bits = typename detail::BitsOf<V>::type;
  constexpr uint32_t sign = 0x80000000u;
  const Bits bits = std::bit_cast<Bits>(v), size = bits & ~sign,
             most = std::bit_cast<Bits>(Lanes<V>::fill(detail::kMostExponent));
  const Bits limited = size < most ? size : most;
  Bits n;
  const V p = detail::power_of_minus(std::bit_cast<V>(limited | (bits & sign)), n);
  return v / (Lanes<V>::fill(1.0f) + std::bit_cast<V>(std::bit_cast<Bits>(p) + n));
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
