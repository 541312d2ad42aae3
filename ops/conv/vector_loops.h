// The hand-written convolution loops for the CPU share this: vectors that hold fewer numbers than lanes, and the names
// of the instructions of each level.
#pragma once
#include <cstdint>

#include "ops/lanes.h"

// The templates take vectors by value. They are always inlined, so that no calling convention is involved.
#pragma GCC diagnostic ignored "-Wpsabi"
#define HR_INLINE inline __attribute__((always_inline))

#define HR_INSTRUCTIONS_V3 "avx2,fma,f16c,bmi,bmi2,lzcnt,movbe"
#define HR_INSTRUCTIONS_V4 "avx512f,avx512bw,avx512cd,avx512dq,avx512vl," HR_INSTRUCTIONS_V3

namespace hr {

// Loads the first `count` lanes; the others become zero.
template <class V>
HR_INLINE V load_count(const float* p, int64_t count) {
  if (count == Lanes<V>::kCount) return load<V>(p);
  float lanes[Lanes<V>::kCount] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load<V>(lanes);
}
// Stores the first `count` lanes.
template <class V>
HR_INLINE void store_count(float* p, V v, int64_t count) {
  if (count == Lanes<V>::kCount) return store<V>(p, v);
  float lanes[Lanes<V>::kCount];
  store<V>(lanes, v);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}

}  // namespace hr
