// Sizes that both parts of Winograd's method need: the convolutions (ops/conv/winograd.cc) and the gradient of the
// filters (ops/conv/winograd_filters.cc).
#pragma once
#include "ops/conv/winograd_loops.h"

namespace hr::winograd {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// The 36 matrices of one transform are stored side by side. If their distance were a power of two, all of them would
// map to the same few lines of the L1 cache, so the distance is an odd number of cache lines.
inline int64_t spread(int64_t floats) {
  constexpr int64_t kLine = 16;
  return (ceil_div(floats, kLine) | 1) * kLine;
}

inline Problem problem_of(const ConvGeometry& g) {
  Problem p;
  p.n = g.n;
  p.h = g.h;
  p.w = g.w;
  p.c = g.ci;
  p.pad = g.pad;
  p.out_h = g.out_h();
  p.out_w = g.out_w();
  p.k = g.co;
  p.tiles_h = ceil_div(p.out_h, kTile);
  p.tiles_w = ceil_div(p.out_w, kTile);
  return p;
}

}  // namespace hr::winograd
