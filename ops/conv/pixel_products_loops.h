// The arithmetic of ops/conv/pixel_products, compiled for each level of instructions.
#pragma once
#include <cstdint>

#include "core/cpu_level.h"

namespace hr::pixel_products {

// A rectangle of pixels in two maps with channels in memory order. The distances are in numbers.
struct Area {
  int64_t rows = 0, columns = 0;
  int64_t left_row = 0, left_step = 0;    // The distances between two rows and two pixels of the left map.
  int64_t right_row = 0, right_step = 0;  // Likewise of the right map.
};

struct Loops {
  int lanes = 0;  // A vector holds this many channels of the right map.

  // Adds to out[l * out_stride + r], or sets it unless `accumulate`, the sum over the pixels of the area of left
  // channel l times right channel r: for l in [0, lefts) and the r of one or two vectors. Each sum is one chain of
  // fused operations, row after row, whatever `lefts` and `vectors` are.
  void (*multiply)(const Area&, const float* left, int64_t lefts, const float* right, int vectors, float* out,
                   int64_t out_stride, bool accumulate);
};

// Returns the loops for an instruction set level, or null if there are none.
const Loops* loops_at(CpuLevel level);

}  // namespace hr::pixel_products
