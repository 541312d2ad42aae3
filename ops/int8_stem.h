// The convolutions of a network with 8-bit integers that compute in float32: the first one, and those after it whose
// rounding would cost too much. Float32 pixels in, bytes or float32 out, in one pass. The sums have a fixed order of
// single multiplications and additions, so all instruction sets give the same bits.
#pragma once
#include <span>
#include <vector>

#include "ops/conv/int8_conv.h"

namespace hr {

class Int8Stem {
 public:
  // y = max(0, conv(x) + bias) as bytes of the steps `out`, or silu(conv(x) + bias), which with the scale 0 is float32.
  // `filter` is [out, kernel, kernel, in]. Throws Error if sizes do not agree, for a transposed convolution, if a scale
  // or factor is not positive and finite, if the zero is not in [0, 255], and if a result without SiLU has another zero
  // than 0, factors, or is float32.
  Int8Stem(const Int8Conv::Shape& shape, std::span<const float> filter, std::span<const float> bias,
           const Int8Steps& out, bool silu = false);

  int64_t out_side(int64_t in) const { return (in + 2 * shape_.pad - shape_.kernel) / shape_.stride + 1; }
  // Computes row y of image n from images [N, h, w, in], which are dense. The result is written to `bytes`, or to
  // `floats`, [N, out.h, out.w, out.c], if it is float32. Thread-safe for different rows.
  void row(const float* images, int64_t h, int64_t w, const Int8Layout& out, int64_t n, int64_t y, uint8_t* bytes,
           float* floats = nullptr) const;
  // The bytes of memory that the weights take.
  size_t weight_bytes() const { return (weights_.size() + 2 * bias_.size()) * sizeof(float); }

 private:
  Int8Conv::Shape shape_;
  int64_t vectors_ = 0;         // Of 16 output channels.
  std::vector<float> weights_;  // [kernel, kernel * in, vectors * 16]
  std::vector<float> bias_;     // [vectors * 16]
  std::vector<float> inverse_;  // [vectors * 16]: 1 / (scale * factor) of the output
  float zero_ = 0;
  bool silu_ = false, floats_ = false;
};

}  // namespace hr
