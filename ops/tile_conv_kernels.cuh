// Our own bf16 kernels of the 3x3 convolution with stride 1 and padding 1, for few channels, where the libraries fetch
// the input nine times: a tile of pixels with its border lies in shared memory once, and nine shifted matrix products
// read it there. Activations [n, h, w, c], filters [co, 3, 3, ci] dense; sums in float32.
//   tile_conv_kernel<false>   y = relu?(conv(x, filter) + add? + bias?)     32 -> 32 channels
//   tile_conv_kernel<true>    the gradient of x from that of y               32 -> 32 channels
//   tile_filter_gradient_kernel + tile_filter_sum_kernel                     multiples of 32 -> multiples of 32
// tests/ops/tile_conv_test.cc compiles this file for the CPU, a fiber for each thread.
#pragma once
#include "core/dtype.h"
#include "ops/lanes.h"
#include "ops/tensor_core.h"

namespace hr::gpu {

constexpr int kTile = 16;            // pixels in a tile's row, and rows
constexpr int kHalo = kTile + 2;     // with the border
constexpr int kPixelBytes = 64;      // 32 channels of bf16: four pieces of 16 bytes
constexpr int kHaloBytes = kHalo * kHalo * kPixelBytes;
constexpr int kTileBytes = kTile * kTile * kPixelBytes;
constexpr int kTapBytes = 32 * kPixelBytes;  // one of nine taps: 32 rows of 32 channels

// Where piece `c` of row `r` lies: rows of 64 bytes, whose pieces change places so that the same piece of eight
// neighbouring rows falls into different banks of shared memory.
HR_DEVICE int piece_at(int r, int c) { return r * kPixelBytes + ((c ^ ((r >> 1) & 3)) << 4); }

// Tiles of all images, numbered row by row.
struct Tiles {
  int n, h, w;
  int across, down;  // tiles in an image
};
struct TileOrigin {
  int n, y, x;
};
HR_DEVICE TileOrigin origin_of(const Tiles& t, int index) {
  const int per_image = t.across * t.down, image = index / per_image, rest = index - image * per_image;
  const int row = rest / t.across;
  return {image, row * kTile, (rest - row * t.across) * kTile};
}

// Copies `Rows` x `Columns` pixels from (y, x) on into shared memory, 32 of `channels` channels each; zeros outside the
// image.
template <int Rows, int Columns>
HR_DEVICE void copy_pixels(unsigned char* shared, const bf16* from, const Tiles& t, const TileOrigin& o, int border,
                           int channels, int thread, int threads) {
  for (int i = thread; i < Rows * Columns * 4; i += threads) {
    const int p = i >> 2, c = i & 3, py = p / Columns, px = p - py * Columns;
    const int y = o.y + py - border, x = o.x + px - border;
    const bool inside = y >= 0 && y < t.h && x >= 0 && x < t.w;
    const int64_t pixel = inside ? (static_cast<int64_t>(o.n) * t.h + y) * t.w + x : 0;
    copy_16(shared + piece_at(p, c), from + pixel * channels + c * 8, inside);
  }
}

struct TileConv {
  Tiles tiles;
  const bf16 *x, *filter;
  const bf16 *bias, *add;  // [32] and like y, or null
  bf16* y;
  bool relu;
};

constexpr int kConvThreads = 128, kConvWarps = 4;

// One tile a block. A warp computes 64 pixels x 32 channels: four products of 16 pixels (two rows of eight) with four
// groups of eight channels. Channel 8 t + 2 j + e is put where lane t holds element e of group j, so that a lane ends up
// with eight neighbouring channels and writes 16 bytes.
template <bool Flipped>
__global__ void __launch_bounds__(kConvThreads, 4) tile_conv_kernel(const TileConv p) {
  alignas(128) __shared__ unsigned char filter[9 * kTapBytes];
  alignas(128) __shared__ unsigned char halo[kHaloBytes];
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const TileOrigin o = origin_of(p.tiles, static_cast<int>(blockIdx.x));

  copy_pixels<kHalo, kHalo>(halo, p.x, p.tiles, o, 1, 32, thread, kConvThreads);
  for (int i = thread; i < 9 * 32 * 4; i += kConvThreads) {
    const int c = i & 3, row = i >> 2, co = row / 9, tap = row - co * 9;
    const bf16* from = p.filter + static_cast<int64_t>(i) * 8;
    if constexpr (!Flipped) {
      // Rows are output channels in the order that gives lanes neighbouring ones.
      const int q = ((co & 7) >> 1) * 8 + (co >> 3) * 2 + (co & 1);
      copy_16(filter + tap * kTapBytes + piece_at(q, c), from, true);
    } else {
      // Rows are dy's channels; the pairs of x's channels change places within the row.
      struct alignas(16) Words {
        uint32_t v[4];
      };
      const Words words = *reinterpret_cast<const Words*>(from);
      HR_UNROLL for (int j = 0; j < 4; ++j) {
        *reinterpret_cast<uint32_t*>(filter + (8 - tap) * kTapBytes + piece_at(co, j) + c * 4) = words.v[j];
      }
    }
  }
  end_copy_group();
  wait_for_copies<0>();
  __syncthreads();

  const int matrix = lane >> 3, r = lane & 7;
  float sums[4][4][4];
  HR_UNROLL for (int m = 0; m < 4; ++m) {
    HR_UNROLL for (int j = 0; j < 4; ++j) {
      HR_UNROLL for (int i = 0; i < 4; ++i) sums[m][j][i] = 0;
    }
  }
  // This lane's row of the first 16 pixels; the others are 8 pixels to the right or two rows below.
  const int first = (warp * 4 + (matrix & 1)) * kHalo + r;
  for (int ky = 0; ky < 3; ++ky) {
    HR_UNROLL for (int kx = 0; kx < 3; ++kx) {
      const unsigned char* tap = filter + (ky * 3 + kx) * kTapBytes;
      HR_UNROLL for (int k = 0; k < 2; ++k) {  // 16 channels each
        uint32_t b[2][4];
        HR_UNROLL for (int j = 0; j < 2; ++j) {
          if constexpr (!Flipped) {
            load_matrices(b[j], tap + piece_at((2 * j + (matrix >> 1)) * 8 + r, 2 * k + (matrix & 1)));
          } else {
            load_matrices_transposed(b[j], tap + piece_at(16 * k + (matrix & 1) * 8 + r, 2 * j + (matrix >> 1)));
          }
        }
        HR_UNROLL for (int m = 0; m < 4; ++m) {
          uint32_t a[4];
          const int pixel = first + ((m >> 1) * 2 + ky) * kHalo + (m & 1) * 8 + kx;
          load_matrices(a, halo + piece_at(pixel, 2 * k + (matrix >> 1)));
          HR_UNROLL for (int j = 0; j < 4; ++j) {
            multiply_add(sums[m][j], a, b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
          }
        }
      }
    }
  }

  const int g = lane >> 2, t = lane & 3;
  using V = Floats<8>;
  V bias = Lanes<V>::fill(0);
  if (p.bias != nullptr) bias = load<V>(p.bias + t * 8);
  HR_UNROLL for (int m = 0; m < 4; ++m) {
    HR_UNROLL for (int half = 0; half < 2; ++half) {
      const int y = o.y + warp * 4 + (m >> 1) * 2 + half, x = o.x + (m & 1) * 8 + g;
      if (y >= p.tiles.h || x >= p.tiles.w) continue;
      const int64_t at = ((static_cast<int64_t>(o.n) * p.tiles.h + y) * p.tiles.w + x) * 32 + t * 8;
      V v;
      HR_UNROLL for (int j = 0; j < 4; ++j) {
        v.v[2 * j] = sums[m][j][2 * half];
        v.v[2 * j + 1] = sums[m][j][2 * half + 1];
      }
      if (p.add != nullptr) v += load<V>(p.add + at);
      v += bias;
      if (p.relu) v = at_least(v, Lanes<V>::fill(0));
      store<V>(p.y + at, v);
    }
  }
}

// The gradient of the filter. A group of blocks shares 32 x 32 channels, a `part` of the filter; each takes every
// `slots`-th tile and keeps 32 x 9 x 32 sums in registers: three warps share a row of the kernel's taps each, four times
// over for a quarter of the tile's pixels. Tiles arrive in three stages of shared memory.
struct TileFilterGradient {
  Tiles tiles;
  int count;  // of tiles
  const bf16 *x, *dy;
  int ci, co;       // channels, multiples of 32
  int parts, slots;  // parts = (ci / 32) (co / 32); blocks = parts * slots
  float* partial;   // [slots, parts, kGradientQuads, 4]
};

constexpr int kGradientThreads = 384, kGradientStages = 3;
constexpr int kStageBytes = kHaloBytes + kTileBytes;
constexpr int kGradientBytes = kGradientStages * kStageBytes;
constexpr int kGradientQuads = 3 * 24 * 32;  // [kernel row][product][lane], each four sums
static_assert(3 * kGradientQuads * 16 <= kGradientBytes);

static __global__ void __launch_bounds__(kGradientThreads, 1) tile_filter_gradient_kernel(const TileFilterGradient p) {
  HR_DYNAMIC_SHARED(memory);
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int ky = warp % 3, group = warp / 3;
  const int part = static_cast<int>(blockIdx.x) % p.parts, slot = static_cast<int>(blockIdx.x) / p.parts;
  const int across = p.ci / 32, co_part = part / across, ci_part = part - co_part * across;
  const bf16 *x = p.x + ci_part * 32, *dy = p.dy + co_part * 32;

  const auto fetch = [&](int tile, int stage) {
    if (tile < p.count) {
      unsigned char* to = memory + stage * kStageBytes;
      const TileOrigin o = origin_of(p.tiles, tile);
      copy_pixels<kHalo, kHalo>(to, x, p.tiles, o, 1, p.ci, thread, kGradientThreads);
      copy_pixels<kTile, kTile>(to + kHaloBytes, dy, p.tiles, o, 0, p.co, thread, kGradientThreads);
    }
    end_copy_group();  // an empty one keeps the count of groups
  };

  float sums[2][12][4];
  HR_UNROLL for (int m = 0; m < 2; ++m) {
    HR_UNROLL for (int j = 0; j < 12; ++j) {
      HR_UNROLL for (int i = 0; i < 4; ++i) sums[m][j][i] = 0;
    }
  }
  const int matrix = lane >> 3, r = lane & 7;
  fetch(slot, 0);
  fetch(slot + p.slots, 1);
  int stage = 0;
  for (int tile = slot; tile < p.count; tile += p.slots) {
    wait_for_copies<1>();
    __syncthreads();  // this tile has arrived for all, and the stage before it is free
    fetch(tile + 2 * p.slots, stage == 0 ? 2 : stage - 1);
    const unsigned char *halo = memory + stage * kStageBytes, *rows = halo + kHaloBytes;
    HR_UNROLL_1 for (int s = 0; s < 4; ++s) {
      // 16 pixels: eight of a row and the eight below.
      const int y = group * 4 + (s >> 1) * 2, px = (s & 1) * 8 + r;
      uint32_t a[2][4];
      HR_UNROLL for (int m = 0; m < 2; ++m) {
        load_matrices_transposed(a[m], rows + piece_at((y + (matrix >> 1)) * kTile + px, 2 * m + (matrix & 1)));
      }
      HR_UNROLL for (int kx = 0; kx < 3; ++kx) {
        HR_UNROLL for (int j = 0; j < 2; ++j) {
          uint32_t b[4];
          load_matrices_transposed(
              b, halo + piece_at((y + (matrix & 1) + ky) * kHalo + px + kx, 2 * j + (matrix >> 1)));
          HR_UNROLL for (int m = 0; m < 2; ++m) {
            multiply_add(sums[m][kx * 4 + 2 * j], a[m], b[0], b[1]);
            multiply_add(sums[m][kx * 4 + 2 * j + 1], a[m], b[2], b[3]);
          }
        }
      }
    }
    stage = stage == 2 ? 0 : stage + 1;
  }
  wait_for_copies<0>();
  __syncthreads();

  // The four groups' sums, added in order.
  struct alignas(16) Quad {
    float v[4];
  };
  auto* quads = reinterpret_cast<Quad*>(memory);
  const auto quad_at = [&](int m, int j) { return (ky * 24 + m * 12 + j) * 32 + lane; };
  if (group > 0) {
    HR_UNROLL for (int m = 0; m < 2; ++m) {
      HR_UNROLL for (int j = 0; j < 12; ++j) {
        Quad q;
        HR_UNROLL for (int i = 0; i < 4; ++i) q.v[i] = sums[m][j][i];
        quads[(group - 1) * kGradientQuads + quad_at(m, j)] = q;
      }
    }
  }
  __syncthreads();
  if (group > 0) return;
  auto* out = reinterpret_cast<Quad*>(p.partial) + static_cast<int64_t>(blockIdx.x) * kGradientQuads;
  HR_UNROLL for (int m = 0; m < 2; ++m) {
    HR_UNROLL for (int j = 0; j < 12; ++j) {
      Quad q;
      HR_UNROLL for (int i = 0; i < 4; ++i) q.v[i] = sums[m][j][i];
      HR_UNROLL for (int other = 0; other < 3; ++other) {
        const Quad more = quads[other * kGradientQuads + quad_at(m, j)];
        HR_UNROLL for (int i = 0; i < 4; ++i) q.v[i] += more.v[i];
      }
      out[quad_at(m, j)] = q;
    }
  }
}

constexpr int kSumThreads = 256, kSumStrands = 8;

// Adds the blocks' sums: 32 quads a block, eight strands of slots, added in order.
static __global__ void __launch_bounds__(kSumThreads) tile_filter_sum_kernel(const TileFilterGradient p, float* filter) {
  struct alignas(16) Quad {
    float v[4];
  };
  __shared__ Quad strands[kSumStrands][32];
  const int lane = static_cast<int>(threadIdx.x) & 31, strand = static_cast<int>(threadIdx.x) >> 5;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * 32 + lane;  // [part][quad]
  const auto* partial = reinterpret_cast<const Quad*>(p.partial);
  const int64_t per_slot = static_cast<int64_t>(p.parts) * kGradientQuads;
  Quad sum{};
  HR_UNROLL_4 for (int slot = strand; slot < p.slots; slot += kSumStrands) {
    const Quad q = partial[slot * per_slot + index];
    HR_UNROLL for (int i = 0; i < 4; ++i) sum.v[i] += q.v[i];
  }
  strands[strand][lane] = sum;
  __syncthreads();
  if (strand > 0) return;
  HR_UNROLL for (int other = 1; other < kSumStrands; ++other) {
    HR_UNROLL for (int i = 0; i < 4; ++i) sum.v[i] += strands[other][lane].v[i];
  }
  // quad -> (output channel, tap, input channel)
  const int part = static_cast<int>(index / kGradientQuads), quad = static_cast<int>(index - part * kGradientQuads) / 32;
  const int ky = quad / 24, m = quad % 24 / 12, j = quad % 12;
  const int across = p.ci / 32, co_part = part / across, ci_part = part - co_part * across;
  const int tap = ky * 3 + j / 4, ci = ci_part * 32 + j % 4 * 8 + 2 * (lane & 3);
  HR_UNROLL for (int half = 0; half < 2; ++half) {
    const int co = co_part * 32 + m * 16 + half * 8 + (lane >> 2);
    float* out = filter + (static_cast<int64_t>(co) * 9 + tap) * p.ci + ci;
    out[0] = sum.v[2 * half];
    out[1] = sum.v[2 * half + 1];
  }
}

}  // namespace hr::gpu
