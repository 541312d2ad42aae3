// Values as kernels see them: one float, or 8 or 16 floats side by side (GCC's vector types). A kernel is written once
// as a template on the value type V; the CPU loops instantiate it with the widest V that fits the channels, a GPU
// thread with float. Loads and stores convert to and from the element type.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

#ifdef __CUDACC__
#define HR_HD __host__ __device__ __forceinline__
#else
#define HR_HD inline __attribute__((always_inline))
#endif

namespace hr {

HR_HD float to_float(float v) { return v; }
HR_HD float to_float(bf16 v) { return static_cast<float>(v); }
template <class T>
HR_HD T from_float(float v) {
  return static_cast<T>(v);
}

template <class V>
struct Lanes;

template <>
struct Lanes<float> {
  static constexpr int kCount = 1;
  template <class T>
  HR_HD static float load(const T* p) {
    return to_float(*p);
  }
  template <class T>
  HR_HD static void store(T* p, float v) {
    *p = from_float<T>(v);
  }
  HR_HD static float fill(float v) { return v; }
};

#ifndef __CUDACC__
using Floats8 = float __attribute__((vector_size(32)));
using Floats16 = float __attribute__((vector_size(64)));

namespace detail {
template <class V, class Bits, class Halves, int N>
struct VectorLanes {
  static constexpr int kCount = N;
  HR_HD static V load(const float* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  HR_HD static V load(const bf16* p) {
    Halves h;
    std::memcpy(&h, p, sizeof h);
    return std::bit_cast<V>(__builtin_convertvector(h, Bits) << 16);
  }
  HR_HD static void store(float* p, V v) { std::memcpy(p, &v, sizeof v); }
  // bf16's constructor, lane by lane: to nearest even, a NaN stays one.
  HR_HD static void store(bf16* p, V v) {
    const Bits u = std::bit_cast<Bits>(v);
    const Bits rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const Bits quiet_nan = (u >> 16) | 0x40u;
    const auto is_nan = v != v;  // NOLINT(misc-redundant-expression): true for NaN only
    const Halves h = __builtin_convertvector(is_nan ? quiet_nan : rounded, Halves);
    std::memcpy(static_cast<void*>(p), &h, sizeof h);
  }
  HR_HD static V fill(float v) { return v - V{}; }
};
}  // namespace detail

using Bits8 = uint32_t __attribute__((vector_size(32)));
using Bits16 = uint32_t __attribute__((vector_size(64)));
using Halves8 = uint16_t __attribute__((vector_size(16)));
using Halves16 = uint16_t __attribute__((vector_size(32)));
template <>
struct Lanes<Floats8> : detail::VectorLanes<Floats8, Bits8, Halves8, 8> {};
template <>
struct Lanes<Floats16> : detail::VectorLanes<Floats16, Bits16, Halves16, 16> {};
#endif

template <class V, class T>
HR_HD V load(const T* p) {
  return Lanes<V>::load(p);
}
template <class V, class T>
HR_HD void store(T* p, V v) {
  Lanes<V>::store(p, v);
}

}  // namespace hr
