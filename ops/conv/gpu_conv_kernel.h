#pragma once
#include "ops/sigmoid.h"

namespace hr {

// [a, taps, b] -> [b, taps, a]: turns the filter of a deconvolution into that of the convolution that it mirrors.
// Filters are small, so that strided reads do not matter.
template <class T>
struct SwapFilterEnds {
  using Element = T;
  static constexpr const char* kName = "deconvolution filter order";
  double bytes_per_element() const { return 2 * sizeof(T); }
  const T* from;
  T* to;
  int64_t a, taps, b;
  template <class V>
  HR_HD void one(int64_t i) const {
    for (int lane = 0; lane < Lanes<V>::kCount; ++lane) {
      const int64_t j = i + lane, end = j % a, rest = j / a, tap = rest % taps, begin = rest / taps;
      to[j] = from[(end * taps + tap) * b + begin];
    }
  }
};

// y = max(x + add? + bias?, floor): the epilogue of a convolution whose library only computes the sums. y may be x.
template <class From, class To>
struct ConvEpilogue {
  using Element = From;
  static constexpr const char* kName = "convolution: epilogue";
  double bytes_per_element() const { return sizeof(From) + (add != nullptr ? 2 : 1) * sizeof(To); }
  const From* x;
  const To *bias, *add;  // [C], and of the shape of y; may be null.
  To* y;
  int64_t channels;
  float floor;  // 0 for ReLU, -inf for no activation.

  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c) const {
    V v = load<V>(x + at + c);
    if (add != nullptr) v = v + load<V>(add + at + c);
    if (bias != nullptr) v = v + load<V>(bias + c);
    store<V>(y + at + c, at_least(v, Lanes<V>::fill(floor)));
  }
};

// y = y sigmoid(y) + add?, in place: ConvAct::silu after the sums.
template <class T>
struct SiluEpilogue {
  using Element = T;
  static constexpr const char* kName = "convolution: SiLU";
  double bytes_per_element() const { return (add != nullptr ? 3 : 2) * sizeof(T); }
  T* y;
  const T* add;  // May be null.
  int64_t channels;

  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c) const {
    V v = load<V>(y + at + c);
    v = silu(v);
    if (add != nullptr) v = v + load<V>(add + at + c);
    store<V>(y + at + c, v);
  }
};

// Keeps a GPU busy for a given time with one thread, so that the host can queue work behind it. Does nothing on the
// CPU.
struct OccupyDevice {
  using Element = float;
  static constexpr const char* kName = "waiting";
  double bytes_per_element() const { return 0; }
  uint32_t nanoseconds;
  template <class V>
  HR_HD void one(int64_t) const {
#ifdef __CUDA_ARCH__
    uint64_t begin = 0, now = 0;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    do {
      asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (now - begin < nanoseconds);
#endif
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH_FLAT(SwapFilterEnds<float>)
HR_FOR_EACH(ConvEpilogue<float, float>)
HR_FOR_EACH(ConvEpilogue<bf16, bf16>)
HR_FOR_EACH(ConvEpilogue<bf16, float>)
HR_FOR_EACH(SiluEpilogue<float>)
HR_FOR_EACH(SiluEpilogue<bf16>)
HR_FOR_EACH_FLAT(OccupyDevice)

}  // namespace hr
