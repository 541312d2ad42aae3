// Concatenation along the channels, and writing results into some columns of a wider table. For inference only: neither
// has a derivative.
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

struct ConcatTerm {
  const Tensor& x;  // [N, H >> up, W >> up, C].
  int up = 0;       // x is upsampled 2^up times to the nearest neighbour.
};

// Returns [N, H, W, sum of C] with the terms in order. Throws Error if shapes or types do not fit, or if a gradient is
// requested.
Tensor concat(Context& cx, std::span<const ConcatTerm> terms);

// The part of a table [N, A, D] f32 that receives the pixels of a map.
struct TablePart {
  int64_t first_row = 0, first_column = 0;  // Indices along A and along D.
  // The number of leading channels that are copied as they are. Of the others the sigmoid is written.
  int64_t plain = 0;
};
// Writes table[n, first_row + p, first_column + c] = x[n, p, c] for the pixels p of x [N, H, W, C] f32, in row-major
// order.
void put_pixels(Context& cx, const Tensor& x, const Tensor& table, const TablePart& part);

}  // namespace hr
