#include "ops/int8_stem.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/cpu_level.h"
#include "core/error.h"
#include "ops/conv/int8_silu.h"

// The functions below take vectors by reference or are always inlined, so no calling convention is involved.
#pragma GCC diagnostic ignored "-Wpsabi"
#define HR_INLINE inline __attribute__((always_inline))

namespace hr {
namespace {

constexpr int kLanes = 16;
constexpr int kPixels = 6;  // Neighbouring outputs that are computed together, each in two vectors.
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));
using Ints = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

HR_INLINE Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// Rounds to the nearest integer from 0 to 255.
HR_INLINE void store_bytes(const Vector& v, int64_t count, uint8_t* to) {
  // Adding this to a number from 0 to 255 leaves the nearest integer in the lowest byte.
  constexpr float kRound = 8388608.0F;
  const Vector zero = {};
  const Vector most = zero + 255.0F;
  const Vector positive = v > zero ? v : zero;
  const Vector limited = (positive < most ? positive : most) + kRound;
  Ints bits;
  std::memcpy(&bits, &limited, sizeof(bits));
  uint8_t bytes[kLanes];
  for (int i = 0; i < kLanes; ++i) bytes[i] = static_cast<uint8_t>(bits[i]);
  if (count >= kLanes) {
    std::memcpy(to, bytes, kLanes);
  } else {
    std::memcpy(to, bytes, static_cast<size_t>(count));
  }
}

// The last step from sums to results.
struct Ending {
  const float* inverse;  // Of the channels that are computed.
  float zero;
  bool silu;
  uint8_t* bytes;  // The row of the result; null if it is `floats`.
  float* floats;
  int64_t pixel;  // Numbers from one pixel of the row to the next.
};

HR_INLINE Vector in_steps(const Vector& sum, const Ending& end, const float* inverse) {
  if (!end.silu) return sum * load(inverse);
  float numbers[kLanes];
  std::memcpy(numbers, &sum, sizeof(sum));
  for (int i = 0; i < kLanes; ++i) numbers[i] = int8::silu(numbers[i]) * inverse[i] + end.zero;
  return load(numbers);
}

// Writes `count` channels from channel c of pixel x on.
HR_INLINE void store(const Vector& sum, const Ending& end, int64_t x, int64_t c, int64_t count) {
  const Vector v = in_steps(sum, end, end.inverse + c);
  if (end.bytes != nullptr) {
    store_bytes(v, count, end.bytes + x * end.pixel + c);
  } else {
    std::memcpy(end.floats + x * end.pixel + c, &v, static_cast<size_t>(std::min<int64_t>(count, kLanes)) * 4);
  }
}

struct Taps {
  const float* const* rows;  // The padded input rows.
  int64_t count = 0, length = 0, pixel_step = 0;
  const float* weights;
  int64_t weight_step = 0;
};

// Computes kPixels outputs of V vectors from the inputs at `x`.
template <int V>
HR_INLINE void multiply(const Taps& t, int64_t x, Vector (&sums)[kPixels][V]) {
  const float* w = t.weights;
  for (int64_t r = 0; r < t.count; ++r) {
    const float* in = t.rows[r] + x;
    for (int64_t s = 0; s < t.length; ++s, w += t.weight_step) {
      Vector u[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) u[v] = load(w + v * kLanes);
#pragma GCC unroll 6
      for (int i = 0; i < kPixels; ++i) {
        const float value = in[i * t.pixel_step + s];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sums[i][v] = sums[i][v] + u[v] * value;
      }
    }
  }
}

template <int V>
HR_INLINE void compute(const Taps& t, int64_t pixels, const float* bias, const Ending& end, int64_t first,
                       int64_t channels, int64_t x0) {
  Vector sums[kPixels][V];
#pragma GCC unroll 6
  for (int i = 0; i < kPixels; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sums[i][v] = load(bias + first + v * kLanes);
  }
  multiply<V>(t, x0 * t.pixel_step, sums);
#pragma GCC unroll 6
  for (int i = 0; i < kPixels; ++i) {
    if (i >= pixels) break;
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(sums[i][v], end, x0 + i, first + v * kLanes, channels - first - v * kLanes);
  }
}

}  // namespace

Int8Stem::Int8Stem(const Int8Conv::Shape& s, std::span<const float> filter, std::span<const float> bias,
                   const Int8Steps& out, bool silu)
    : shape_(s), zero_(static_cast<float>(out.zero)), silu_(silu), floats_(silu && out.scale == 0) {
  check(!s.transposed && s.in > 0 && s.out > 0 && s.kernel > 0 && s.stride > 0 && s.pad >= 0 && s.pad < s.kernel,
        "int8: this first convolution is not supported");
  const int64_t taps = static_cast<int64_t>(s.kernel) * s.kernel * s.in;
  check(static_cast<int64_t>(filter.size()) == s.out * taps && static_cast<int64_t>(bias.size()) == s.out,
        "int8: {} weights and {} biases do not fit a first convolution of {} channels with {} weights each",
        filter.size(), bias.size(), s.out, taps);
  check(floats_ || (std::isfinite(out.scale) && out.scale > 0), "int8: the scale {} is not positive", out.scale);
  check(silu || out.factors.empty(), "int8: factors of channels need SiLU");
  out.require_channels(s.out);
  check(out.zero >= 0 && out.zero <= (silu ? 255 : 0), "int8: the zero {} is not possible", out.zero);
  vectors_ = (s.out + kLanes - 1) / kLanes;
  weights_.assign(static_cast<size_t>(taps * vectors_ * kLanes), 0.0F);
  bias_.assign(static_cast<size_t>(vectors_ * kLanes), 0.0F);
  inverse_.assign(bias_.size(), 1.0F);
  for (int64_t o = 0; o < s.out; ++o) {
    const auto k = static_cast<size_t>(o);
    bias_[k] = bias[k];
    if (!floats_) inverse_[k] = 1.0F / (out.scale * out.factor(k));
    for (int64_t t = 0; t < taps; ++t)
      weights_[static_cast<size_t>(t * vectors_ * kLanes + o)] = filter[static_cast<size_t>(o * taps + t)];
  }
}

void Int8Stem::row(const float* images, int64_t h, int64_t w, const Int8Layout& out, int64_t n, int64_t y,
                   uint8_t* bytes, float* floats) const {
  // The input rows are copied between zeros, with room for pixels beyond the last one.
  const int64_t row = w * shape_.in, before = shape_.pad * shape_.in;
  const int64_t padded = row + 2 * before + (kPixels * shape_.stride + shape_.kernel) * shape_.in;
  thread_local std::vector<float> copies;
  copies.assign(static_cast<size_t>(padded * shape_.kernel), 0.0F);
  std::vector<const float*> rows;
  for (int64_t r = 0; r < shape_.kernel; ++r) {
    const int64_t from = y * shape_.stride - shape_.pad + r;
    float* to = copies.data() + r * padded;
    if (from >= 0 && from < h) std::copy_n(images + (n * h + from) * row, row, to + before);
    rows.push_back(to);
  }
  const int64_t step = vectors_ * kLanes;
  const Ending end{inverse_.data(),
                   zero_,
                   silu_,
                   floats_ ? nullptr : bytes + out.first() + n * out.image() + y * out.row(),
                   floats_ ? floats + (n * out.h + y) * out.w * out.c : nullptr,
                   floats_ ? out.c : out.pixel()};
  at_cpu_level([&] {
    for (int64_t v = 0; v < vectors_; v += 2) {
      const Taps taps{rows.data(),
                      shape_.kernel,
                      shape_.kernel * shape_.in,
                      shape_.stride * shape_.in,
                      weights_.data() + v * kLanes,
                      step};
      for (int64_t x = 0; x < out.w; x += kPixels) {
        if (v + 1 < vectors_) {
          compute<2>(taps, out.w - x, bias_.data(), end, v * kLanes, shape_.out, x);
        } else {
          compute<1>(taps, out.w - x, bias_.data(), end, v * kLanes, shape_.out, x);
        }
      }
    }
  });
}

}  // namespace hr
