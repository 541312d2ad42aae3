// Winograd's method alternates between products, which read caches alone, and transforms, which wait for memory. So
// while a block of tiles is multiplied, the memory to which its outputs will be written is asked for, some lines before
// each of the 36 products (docs/design/winograd.md).
#pragma once
#include <algorithm>
#include <cstdint>

#include "ops/conv/vector_loops.h"
#include "ops/conv/winograd_sizes.h"

namespace hr::winograd {

// Calls visit(address) for each cache line with output channels [k0, k1) of the tiles [first, end). k1 may be larger
// than the number of channels.
template <class Visit>
HR_INLINE void for_output_lines(const Problem& p, int64_t first, int64_t end, int64_t k0, int64_t k1,
                                const Visit& visit) {
  constexpr uintptr_t kLine = 64;
  for (int64_t t = first; t < end; ++t) {
    const int64_t y = t / p.tiles_w % p.tiles_h * kTile, x = t % p.tiles_w * kTile;
    const float* image = p.y + t / (p.tiles_h * p.tiles_w) * p.out_h * p.out_w * p.k;
    for (int64_t row = y; row < std::min(p.out_h, y + kTile); ++row) {
      for (int64_t column = x; column < std::min(p.out_w, x + kTile); ++column) {
        const float* pixel = image + (row * p.out_w + column) * p.k;
        const auto last = reinterpret_cast<uintptr_t>(pixel + std::min(k1, p.k));
        for (uintptr_t line = reinterpret_cast<uintptr_t>(pixel + k0) / kLine * kLine; line < last; line += kLine) {
          visit(reinterpret_cast<const void*>(line));
        }
      }
    }
  }
}

// Multiplies a block of `count` tiles from `first` on at all points, as Loops::multiply does. If `last`, the products
// are complete afterwards and will be transformed into output channels [k0, k1).
inline void multiply_block(const Loops& loops, const Problem& p, int64_t first, int64_t count, int64_t k0, int64_t k1,
                           int64_t depth, int vectors, Matrices<const float> left, Matrices<const float> right,
                           Matrices<float> products, bool accumulate, bool last) {
  for (int64_t point = 0; point < kPoints; ++point) {
    // All of this is inlined, because GCC takes a function that only prefetches for one without effect and drops it.
    if (last) {
      for_output_lines(
          p, first + count * point / kPoints, first + count * (point + 1) / kPoints, k0, k1,
          [](const void* line) __attribute__((always_inline)) { __builtin_prefetch(line, 1, 2); });
    }
    loops.multiply(1, count, depth, vectors, left.at_point(point), right.at_point(point), products.at_point(point),
                   accumulate);
  }
}

}  // namespace hr::winograd
