// Elementwise work on the 8-bit tensors of ops/conv/int8_conv.h. All functions compute one row of pixels of one image,
// so that the caller divides the work among threads. They give the same bits with every instruction set.
#pragma once
#include <span>

#include "ops/conv/int8_conv.h"
#include "ops/max_pool2d.h"

namespace hr {

// One term of a sum: bytes with a border, or dense floats. With up = u it has 1 / 2^u of the output's rows and columns.
struct Int8Term {
  const uint8_t* bytes = nullptr;  // Exactly one of the two is set.
  const float* floats = nullptr;
  float scale = 1;  // The value of one step of the bytes.
  int up = 0;
};

// y = max(0, sum of the terms), from left to right, for row y of image n. The result is written as bytes of the value
// `out_scale`, or as dense floats. `out` is the layout of the result.
void int8_sum_row(std::span<const Int8Term> terms, const Int8Layout& out, int64_t n, int64_t y, uint8_t* bytes,
                  float out_scale, float* floats);

// Fills the border of image n with the byte `zero`; for image 0 also the part of the border before it.
void int8_fill_border(const Int8Layout& layout, int64_t n, uint8_t zero, uint8_t* bytes);

// Writes the channels of the terms beside each other. Every term has the step of the result, and only bytes.
void int8_concat_row(std::span<const Int8Term> terms, std::span<const int64_t> channels, const Int8Layout& out,
                     int64_t n, int64_t y, uint8_t* bytes);

// Max pooling of bytes. Padding counts as the smallest value, 0.
void int8_max_pool_row(const Int8Layout& in, const uint8_t* x, const MaxPool2d& options, const Int8Layout& out,
                       int64_t n, int64_t y, uint8_t* to);

}  // namespace hr
