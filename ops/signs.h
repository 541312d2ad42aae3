// The signs of activations as one bit each, which is all that the derivative of ReLU needs.
#pragma once
#include "ops/kernel.h"

namespace hr {

#ifndef __CUDACC__
// Like lane() and set_lane() of ops/lanes.h, for the CPU's vectors.
HR_HD float lane(const Floats8& v, int i) { return v[i]; }
HR_HD float lane(const Floats16& v, int i) { return v[i]; }
HR_HD void set_lane(Floats8& v, int i, float to) { v[i] = to; }
HR_HD void set_lane(Floats16& v, int i, float to) { v[i] = to; }
#endif

// One bit for each of 8 neighbouring channels: whether the number is positive. Only for whole bytes.
template <class V>
HR_HD void store_signs(uint8_t* bits, const V& v) {
  if constexpr (Lanes<V>::kCount % 8 == 0) {
    HR_UNROLL for (int byte = 0; byte < Lanes<V>::kCount / 8; ++byte) {
      unsigned signs = 0;
      HR_UNROLL for (int i = 0; i < 8; ++i) signs |= (lane(v, 8 * byte + i) > 0 ? 1u : 0u) << i;
      bits[byte] = static_cast<uint8_t>(signs);
    }
  }
}

// The bits of store_signs for the channels of one V.
template <class V>
class FetchedSigns {
 public:
  FetchedSigns() = default;
  HR_HD explicit FetchedSigns(const uint8_t* bits) {
    HR_UNROLL for (int byte = 0; byte < kBytes; ++byte) bytes_[byte] = bits[byte];
  }
  // Returns v where the bit is set, 0 elsewhere.
  HR_HD V pass(V v) const {
    HR_UNROLL for (int i = 0; i < Lanes<V>::kCount; ++i) {
      if ((bytes_[i / 8] >> i % 8 & 1) == 0) set_lane(v, i, 0);
    }
    return v;
  }

 private:
  static constexpr int kBytes = (Lanes<V>::kCount + 7) / 8;
  uint8_t bytes_[kBytes];
};

}  // namespace hr
