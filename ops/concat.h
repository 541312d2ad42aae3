// Concatenation along the channels, and results written into some columns of a wider table. For inference alone, they
// have no derivative.
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

struct ConcatTerm {
  const Tensor& x;  // [N, H >> up, W >> up, C]
  int up = 0;       // upsampled 2^up times on the way, to the nearest neighbour
};

// [N, H, W, sum of C], terms in order. Throws Error if shapes or types do not fit, or a gradient is asked for.
Tensor concat(Context& cx, std::span<const ConcatTerm> terms);

// Which part of a table [N, A, D] f32 receives a map's pixels.
struct TablePart {
  int64_t first_row = 0, first_column = 0;  // of A and of D
  int64_t plain = 0;                        // so many leading channels are copied; the sigmoid of the others is taken
};
// table[n, first_row + p, first_column + c] = x[n, p, c] for the pixels p of x [N, H, W, C] f32, row-major.
void put_pixels(Context& cx, const Tensor& x, const Tensor& table, const TablePart& part);

}  // namespace hr
