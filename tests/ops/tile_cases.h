// Shapes and numbers for the tests of our own convolution kernels.
#pragma once
#include <cstdint>
#include <vector>

#include "core/dtype.h"
#include "core/philox.h"
#include "ops/conv/conv_tiles.cuh"

namespace hr::test {

struct TileCase {
  int n, h, w, ci, co;
};

inline std::vector<bf16> random_numbers(int64_t count, uint64_t stream) {
  Philox rng(7, 0, stream);
  std::vector<bf16> v(static_cast<size_t>(count));
  for (bf16& x : v) x = static_cast<bf16>(static_cast<float>(rng.normal()));
  return v;
}

inline gpu::Tiles tiles_of(const TileCase& c, int rows, int columns) {
  return {c.n, c.h, c.w, (c.w + columns - 1) / columns, (c.h + rows - 1) / rows};
}

// Calls use(output pixel, input pixel, tap) for all pairs that a 3x3 convolution of padding 1 connects.
template <class Use>
void for_pairs(const TileCase& c, const Use& use) {
  for (int n = 0; n < c.n; ++n) {
    for (int y = 0; y < c.h; ++y) {
      for (int x = 0; x < c.w; ++x) {
        for (int ky = 0; ky < 3; ++ky) {
          for (int kx = 0; kx < 3; ++kx) {
            const int iy = y + ky - 1, ix = x + kx - 1;
            if (iy < 0 || iy >= c.h || ix < 0 || ix >= c.w) continue;
            use((int64_t{n} * c.h + y) * c.w + x, (int64_t{n} * c.h + iy) * c.w + ix, ky * 3 + kx);
          }
        }
      }
    }
  }
}

}  // namespace hr::test
