// The logistic function for the values of ops/lanes.h: sigmoid(v) = 1 / (1 + exp(-v)).
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

// exp(v) = 2^n exp(r) with |r| <= log(2) / 2, by the polynomial of the Cephes library, with an error of at most 2
// roundings. It exists because the compiler does not vectorise std::exp. Arguments are clamped to the range of float; a
// NaN stays a NaN.
template <class V>
HR_HD V exponential(V v) {
  using Bits = typename BitsOf<V>::type;
  const auto all = [](float x) { return Lanes<V>::fill(x); };
  const V low = all(-87.0f), high = all(88.0f);
  v = v < low ? low : v;
  v = v > high ? high : v;
  // 1.5 * 2^23. Adding it rounds to a whole number, which then stands in the lowest bits.
  const V magic = all(12582912.0f);
  const V shifted = v * all(1.44269504f) + magic;
  const V n = shifted - magic;
  const V r = (v - n * all(0.693359375f)) - n * all(-2.12194440e-4f);
  V p = all(1.9875691500e-4f);
  p = p * r + all(1.3981999507e-3f);
  p = p * r + all(8.3334519073e-3f);
  p = p * r + all(4.1665795894e-2f);
  p = p * r + all(1.6666665459e-1f);
  p = p * r + all(5.0000001201e-1f);
  p = p * r * r + r + all(1.0f);
  const Bits exponent = (std::bit_cast<Bits>(shifted) - std::bit_cast<Bits>(magic) + 127u) << 23;
  return p * std::bit_cast<V>(exponent);
}
}  // namespace detail

template <class V>
HR_HD V sigmoid(V v) {
  const V one = Lanes<V>::fill(1.0f);
  return one / (one + detail::exponential(V{} - v));
}
#else
HR_HD float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }
#endif

template <int N>
HR_HD Floats<N> sigmoid(Floats<N> v) {
  HR_UNROLL for (int i = 0; i < N; ++i) v.v[i] = sigmoid(v.v[i]);
  return v;
}

}  // namespace hr
