// The first convolution of a network with 8-bit integers: float32 pixels in, bytes out, in one pass. Its sums have a
// fixed order of single multiplications and additions, so all instruction sets give the same bits.
#pragma once
#include <span>
#include <vector>

#include "ops/conv/int8_conv.h"

namespace hr {

class Int8Stem {
 public:
  // y = max(0, conv(x) + bias) as bytes of the step `out`, or silu(conv(x) + bias). `filter` is [out, kernel, kernel,
  // in]. Throws Error if sizes do not agree, for a transposed convolution, if the scale is not positive and finite, or
  // if the zero is not in [0, 255], or not 0 without SiLU.
  Int8Stem(const Int8Conv::Shape& shape, std::span<const float> filter, std::span<const float> bias, Int8Step out,
           bool silu = false);

  int64_t out_side(int64_t in) const { return (in + 2 * shape_.pad - shape_.kernel) / shape_.stride + 1; }
  // Computes row y of image n from images [N, h, w, in], which are dense. Thread-safe for different rows.
  void row(const float* images, int64_t h, int64_t w, const Int8Layout& out, int64_t n, int64_t y,
           uint8_t* bytes) const;
  // The bytes of memory that the weights take.
  size_t weight_bytes() const { return (weights_.size() + bias_.size()) * sizeof(float); }

 private:
  Int8Conv::Shape shape_;
  int64_t vectors_ = 0;         // Of 16 output channels.
  std::vector<float> weights_;  // [kernel, kernel * in, vectors * 16]
  std::vector<float> bias_;     // [vectors * 16]
  float inverse_ = 1;           // 1 / scale of the output
  float zero_ = 0;
  bool silu_ = false;
};

}  // namespace hr
