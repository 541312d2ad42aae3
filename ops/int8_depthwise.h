// Depthwise convolutions of networks with 8-bit integers: bytes in, bytes out, weights and sums in float32. They have
// so few multiplications that bytes of weights would save nothing, and rounding these weights is what hurts such
// networks most. The sums have a fixed order of single multiplications and additions, so all instruction sets give the
// same bits.
#pragma once
#include <span>
#include <vector>

#include "ops/conv/int8_conv.h"

namespace hr {

class Int8Depthwise {
 public:
  // y = silu(conv(x) + bias). `shape` has in = out channels; `filter` is [channels, kernel, kernel]. Throws Error if
  // sizes do not agree or if a step cannot be used.
  Int8Depthwise(const Int8Conv::Shape& shape, std::span<const float> filter, std::span<const float> bias, Int8Step in,
                Int8Step out);

  // Computes row y of image n. Thread-safe for different rows.
  void row(const Int8Layout& in, const uint8_t* x, const Int8Layout& out, int64_t n, int64_t y, uint8_t* bytes) const;
  // The bytes of memory that the weights take.
  size_t weight_bytes() const { return (weights_.size() + bias_.size()) * sizeof(float); }

 private:
  Int8Conv::Shape shape_;
  std::vector<float> weights_;  // [kernel, kernel, channels], times the scale of the input.
  std::vector<float> bias_;     // Less what the zero of the input adds.
  float inverse_ = 1, zero_ = 0;
};

}  // namespace hr
