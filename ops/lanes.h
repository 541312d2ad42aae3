// Values as kernels see them: one float, or several side by side. A kernel is written once as a template on the value
// type V. The CPU loops instantiate it with GCC's vector types (Floats8, Floats16). A GPU thread uses Floats<N>, a
// plain array that is loaded and stored 16 bytes at a time. Loads and stores convert from and to the element type.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#define HR_HD __host__ __device__ __forceinline__
#else
#define HR_HD inline __attribute__((always_inline))
#endif
#if defined(__CUDA_ARCH__)
#define HR_UNROLL _Pragma("unroll")
#define HR_UNROLL_4 _Pragma("unroll 4")
#elif defined(__CUDACC__)
#define HR_UNROLL  // nvcc's host compilation does not run kernels.
#define HR_UNROLL_4
#else
#define HR_UNROLL _Pragma("GCC unroll 16")
#define HR_UNROLL_4
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
HR_HD float at_least(float v, float low) { return v < low ? low : v; }    // A NaN stays a NaN.
HR_HD float larger(float a, float b) { return b > a || b != b ? b : a; }  // A NaN stays a NaN.
HR_HD float where_positive(float v, float then) { return v > 0 ? then : 0.0f; }
HR_HD float square_root(float v) { return std::sqrt(v); }

// N floats in the registers of a GPU thread. Also compiles on the host, where the tests run it.
template <int N>
struct Floats {
  float v[N];
  HR_HD Floats& operator+=(const Floats& o) {
    HR_UNROLL for (int i = 0; i < N; ++i) v[i] += o.v[i];
    return *this;
  }
  HR_HD friend Floats operator+(Floats a, const Floats& b) { return a += b; }
  HR_HD friend Floats operator-(Floats a, const Floats& b) {
    HR_UNROLL for (int i = 0; i < N; ++i) a.v[i] -= b.v[i];
    return a;
  }
  HR_HD friend Floats operator*(Floats a, const Floats& b) {
    HR_UNROLL for (int i = 0; i < N; ++i) a.v[i] *= b.v[i];
    return a;
  }
  HR_HD friend Floats operator/(Floats a, const Floats& b) {
    HR_UNROLL for (int i = 0; i < N; ++i) a.v[i] /= b.v[i];
    return a;
  }
};
template <int N>
HR_HD Floats<N> at_least(Floats<N> a, const Floats<N>& low) {
  HR_UNROLL for (int i = 0; i < N; ++i) a.v[i] = at_least(a.v[i], low.v[i]);
  return a;
}
template <int N>
HR_HD Floats<N> larger(Floats<N> a, const Floats<N>& b) {
  HR_UNROLL for (int i = 0; i < N; ++i) a.v[i] = larger(a.v[i], b.v[i]);
  return a;
}
template <int N>
HR_HD Floats<N> where_positive(const Floats<N>& a, Floats<N> then) {
  HR_UNROLL for (int i = 0; i < N; ++i) then.v[i] = where_positive(a.v[i], then.v[i]);
  return then;
}
template <int N>
HR_HD Floats<N> square_root(Floats<N> a) {
  HR_UNROLL for (int i = 0; i < N; ++i) a.v[i] = square_root(a.v[i]);
  return a;
}

template <int N>
struct Lanes<Floats<N>> {
  static constexpr int kCount = N;
  static_assert(N == 2 || N == 4 || N == 8);

  HR_HD static Floats<N> load(const float* p) {
    Floats<N> r;
#ifdef __CUDA_ARCH__
    if constexpr (N == 2) {
      const float2 q = *reinterpret_cast<const float2*>(p);
      r.v[0] = q.x, r.v[1] = q.y;
    } else {
      HR_UNROLL for (int i = 0; i < N; i += 4) {
        const float4 q = *reinterpret_cast<const float4*>(p + i);
        r.v[i] = q.x, r.v[i + 1] = q.y, r.v[i + 2] = q.z, r.v[i + 3] = q.w;
      }
    }
#else
    std::memcpy(r.v, p, sizeof r.v);
#endif
    return r;
  }
  HR_HD static void store(float* p, const Floats<N>& a) {
#ifdef __CUDA_ARCH__
    if constexpr (N == 2) {
      *reinterpret_cast<float2*>(p) = make_float2(a.v[0], a.v[1]);
    } else {
      HR_UNROLL for (int i = 0; i < N; i += 4) {
        *reinterpret_cast<float4*>(p + i) = make_float4(a.v[i], a.v[i + 1], a.v[i + 2], a.v[i + 3]);
      }
    }
#else
    std::memcpy(p, a.v, sizeof a.v);
#endif
  }
  HR_HD static Floats<N> load(const bf16* p) {
    Floats<N> r;
#ifdef __CUDA_ARCH__
    uint32_t words[N / 2];  // Two numbers per word, the first one in the lower half.
    if constexpr (N == 2) {
      words[0] = *reinterpret_cast<const uint32_t*>(p);
    } else if constexpr (N == 4) {
      const uint2 q = *reinterpret_cast<const uint2*>(p);
      words[0] = q.x, words[1] = q.y;
    } else {
      const uint4 q = *reinterpret_cast<const uint4*>(p);
      words[0] = q.x, words[1] = q.y, words[2] = q.z, words[3] = q.w;
    }
    HR_UNROLL for (int i = 0; i < N / 2; ++i) {
      r.v[2 * i] = __uint_as_float(words[i] << 16);
      r.v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
#else
    HR_UNROLL for (int i = 0; i < N; ++i) r.v[i] = to_float(p[i]);
#endif
    return r;
  }
  HR_HD static void store(bf16* p, const Floats<N>& a) {
#ifdef __CUDA_ARCH__
    uint32_t words[N / 2];
    HR_UNROLL for (int i = 0; i < N / 2; ++i) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(a.v[2 * i], a.v[2 * i + 1]);
      words[i] = *reinterpret_cast<const uint32_t*>(&pair);
    }
    if constexpr (N == 2) {
      *reinterpret_cast<uint32_t*>(p) = words[0];
    } else if constexpr (N == 4) {
      *reinterpret_cast<uint2*>(p) = make_uint2(words[0], words[1]);
    } else {
      *reinterpret_cast<uint4*>(p) = make_uint4(words[0], words[1], words[2], words[3]);
    }
#else
    HR_UNROLL for (int i = 0; i < N; ++i) p[i] = from_float<bf16>(a.v[i]);
#endif
  }
  HR_HD static Floats<N> fill(float v) {
    Floats<N> r;
    HR_UNROLL for (int i = 0; i < N; ++i) r.v[i] = v;
    return r;
  }
};

#ifndef __CUDACC__
using Floats8 = float __attribute__((vector_size(32)));
using Floats16 = float __attribute__((vector_size(64)));

namespace detail {
// In a portable build GCC 12 takes some operations on vectors apart into lanes, before it knows that the caller is
// compiled for vectors of this size; they take ten times as long. A vector of one number, a comparison of a vector with
// itself, and a choice between vectors of another element type than those that are compared are among them.

// Two negations of its bits, between which they are a vector, hide the single number and become one broadcast.
template <class Bits>
HR_HD Bits all_bits(uint32_t v) {
  return ~(Bits{} + ~v);
}
// Says for the bits of each lane whether they are a NaN. The sign is shifted away.
template <class Bits>
HR_HD auto are_nan(Bits bits) {
  return (bits << 1) > all_bits<Bits>(0xff000000u);
}

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
  // Does what bf16's constructor does, lane by lane: rounds to nearest even, and a NaN stays a NaN.
  HR_HD static void store(bf16* p, V v) {
    const Bits u = std::bit_cast<Bits>(v);
    const Bits rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const Bits quiet_nan = (u >> 16) | 0x40u;
    const Halves h = __builtin_convertvector(are_nan(u) ? quiet_nan : rounded, Halves);
    std::memcpy(static_cast<void*>(p), &h, sizeof h);
  }
  HR_HD static V fill(float v) { return std::bit_cast<V>(all_bits<Bits>(std::bit_cast<uint32_t>(v))); }
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
HR_HD Floats8 at_least(Floats8 v, Floats8 low) { return v < low ? low : v; }
HR_HD Floats16 at_least(Floats16 v, Floats16 low) { return v < low ? low : v; }
// A NaN is larger than any number.
template <class V, class Bits>
HR_HD V larger_of_vectors(V a, V b) {
  const V number = b > a ? b : a;
  const Bits bits = std::bit_cast<Bits>(b);
  return std::bit_cast<V>(detail::are_nan(bits) ? bits : std::bit_cast<Bits>(number));
}
HR_HD Floats8 larger(Floats8 a, Floats8 b) { return larger_of_vectors<Floats8, Bits8>(a, b); }
HR_HD Floats16 larger(Floats16 a, Floats16 b) { return larger_of_vectors<Floats16, Bits16>(a, b); }
HR_HD Floats8 where_positive(Floats8 v, Floats8 then) { return v > 0.0f ? then : Floats8{}; }
HR_HD Floats16 where_positive(Floats16 v, Floats16 then) { return v > 0.0f ? then : Floats16{}; }
HR_HD Floats8 square_root(Floats8 v) {
  HR_UNROLL for (int i = 0; i < 8; ++i) v[i] = std::sqrt(v[i]);
  return v;
}
HR_HD Floats16 square_root(Floats16 v) {
  HR_UNROLL for (int i = 0; i < 16; ++i) v[i] = std::sqrt(v[i]);
  return v;
}
#endif

HR_HD float lane(float v, int) { return v; }
template <int N>
HR_HD float lane(const Floats<N>& v, int i) {
  return v.v[i];
}

HR_HD void set_lane(float& v, int, float to) { v = to; }
template <int N>
HR_HD void set_lane(Floats<N>& v, int i, float to) {
  v.v[i] = to;
}

template <class V, class T>
HR_HD V load(const T* p) {
  return Lanes<V>::load(p);
}
template <class V, class T>
HR_HD void store(T* p, V v) {
  Lanes<V>::store(p, v);
}

// A vector in its storage type T until it is used. Kernels that load several rows in advance (ops/kernel.h) keep bf16
// packed in this way, which halves the registers that they need. On the CPU it is a plain V.
template <class V, class T>
class Fetched {
 public:
  Fetched() = default;
#ifdef __CUDA_ARCH__
  HR_HD explicit Fetched(const T* p) { *this = *reinterpret_cast<const Fetched*>(p); }
  HR_HD V value() const { return load<V>(elements_); }

 private:
  alignas(sizeof(T) * Lanes<V>::kCount) T elements_[Lanes<V>::kCount];
#else
  HR_HD explicit Fetched(const T* p) : value_(load<V>(p)) {}
  HR_HD V value() const { return value_; }

 private:
  V value_;
#endif
};

// Returns v as it would be after a store and a load.
template <class T, class V>
HR_HD V rounded(V v) {
  if constexpr (sizeof(T) == sizeof(float)) return v;
  alignas(sizeof(T) * Lanes<V>::kCount) T elements[Lanes<V>::kCount];
  store<V>(elements, v);
  return load<V>(elements);
}

}  // namespace hr
