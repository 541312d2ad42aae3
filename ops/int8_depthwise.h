// Depthwise convolutions of networks with 8-bit integers: bytes in, bytes out, or floats in and out where rounding
// would cost too much; weights and sums in float32. They have so few multiplications that bytes of weights would save
// nothing, and rounding these weights is what hurts such networks most. The sums have a fixed order of single
// multiplications and additions, so all instruction sets give the same bits.
#pragma once
#include <span>
#include <vector>

#include "ops/conv/int8_conv.h"

namespace hr {

class Int8Depthwise {
 public:
  // y = silu(conv(x) + bias). `shape` has in = out channels; `filter` is [channels, kernel, kernel]. If the scale of
  // `in` is 0, x is float32. Throws Error if sizes do not agree or if a step cannot be used.
  Int8Depthwise(const Int8Conv::Shape& shape, std::span<const float> filter, std::span<const float> bias, Int8Step in,
                const Int8Steps& out);

  // Computes row y of image n. Floats are dense: [N, in.h, in.w, in.c]. Thread-safe for different rows.
  void row(const Int8Layout& in, const uint8_t* x, const Int8Layout& out, int64_t n, int64_t y, uint8_t* bytes) const;
  void row(const Int8Layout& in, const float* x, const Int8Layout& out, int64_t n, int64_t y, uint8_t* bytes) const;
  // The bytes of memory that the weights take.
  size_t weight_bytes() const { return (weights_.size() + 2 * bias_.size()) * sizeof(float); }

 private:
  struct Taps {
    int64_t begin = 0, end = 0;
  };
  template <class T>
  struct Pixel {
    const T* first;  // The first tap.
    int64_t row_step, pixel_step, channels;
    const float* weights;
    int64_t kernel;
    // The taps that are inside of the picture. Bytes have a border, so all of their taps are.
    Taps rows, columns;
  };
  template <class T>
  static void add_taps(const Pixel<T>& p, int64_t c0, int64_t cs, float* sums);
  template <class T>
  void pixel(const Pixel<T>& p, uint8_t* to) const;

  Int8Conv::Shape shape_;
  std::vector<float> weights_;  // [kernel, kernel, channels], times the scale of the input.
  std::vector<float> bias_;     // Less what the zero of the input adds.
  std::vector<float> inverse_;  // [channels]
  float zero_ = 0;
};

}  // namespace hr
