// Our own bf16 kernels of the 3x3 convolution with stride 1 and padding 1 for few channels, for which the libraries
// load the input nine times. Here a tile of pixels with its border lies in shared memory once, and nine shifted matrix
// products read it there. Activations are [n, h, w, c], filters [co, 3, 3, ci] dense; sums are in float32.
//   tile_conv_kernel<Shape, Epilogue>   y = conv(x, filter) or, if Epilogue::kFlipped, the gradient of x from that of
//                                       y (called x here); 32 -> 32 or 64 -> 64 channels
//   tile_filter_gradient_kernel + tile_filter_sum_kernel   multiples of 32 -> multiples of 32 channels
// tests/ops/tile_conv_test.cc compiles this file for the CPU, with a fiber for each thread.
#pragma once
#include "ops/conv/tile_conv_launch.h"
#include "ops/conv/tile_epilogue.cuh"

namespace hr::gpu {

// Says how a block divides its work: a tile of 256 pixels, with a warp for each 32 pixels x 32 channels of it.
template <int Channels_>
struct TileShape {
  static constexpr TileFormat kFormat = tile_format(Channels_);
  static constexpr int kChannels = Channels_, kRows = kFormat.rows, kColumns = kFormat.columns;
  static constexpr int kBlocks = kFormat.blocks;
  static_assert(kRows * kColumns == 256 && (kColumns == 8 || kColumns == 16));
  static constexpr int kWarpsAcross = kChannels / 32, kThreads = 8 * kWarpsAcross * 32;
  static constexpr int kHaloRows = kRows + 2, kHaloColumns = kColumns + 2;
  static constexpr int kHaloBytes = (kHaloRows * kHaloColumns * kChannels * 2 + 127) / 128 * 128;
  static constexpr int kTapBytes = kChannels * kChannels * 2, kFilterBytes = 9 * kTapBytes;
  static constexpr int kBytes = kFilterBytes + 2 * kHaloBytes;
};
using TileShape32 = TileShape<32>;
using TileShape64 = TileShape<64>;

// Copies the filter into shared memory, a matrix for each tap. Channel 8 t + 2 j + e of 32 is placed where lane t holds
// element e of group j, so that a lane ends up with eight neighbouring channels and writes 16 bytes.
template <class S, bool Flipped>
HR_DEVICE void load_filter(unsigned char* filter, const bf16* source, int thread) {
  constexpr int kChannels = S::kChannels, kPieces = kChannels / 8;
  for (int i = thread; i < 9 * kChannels * kPieces; i += S::kThreads) {
    const int c = i % kPieces, row = i / kPieces, co = row / 9, tap = row - co * 9;
    const bf16* from = source + static_cast<int64_t>(i) * 8;
    if constexpr (!Flipped) {
      // The rows are output channels in the order that gives each lane neighbouring ones.
      const int q = (co & ~31) + ((co & 7) >> 1) * 8 + ((co & 31) >> 3) * 2 + (co & 1);
      copy_16(filter + tap * S::kTapBytes + piece_at<kChannels>(q, c), from, true);
    } else {
      // The rows are channels of dy. The pairs of channels of x change places within the row.
      struct alignas(16) Words {
        uint32_t v[4];
      };
      const Words words = *reinterpret_cast<const Words*>(from);
      HR_UNROLL for (int j = 0; j < 4; ++j) {
        *reinterpret_cast<uint32_t*>(filter + (8 - tap) * S::kTapBytes + piece_at<kChannels>(co, (c & ~3) + j) +
                                     (c & 3) * 4) = words.v[j];
      }
    }
  }
}

// Computes a warp's share of a tile: for each tap two products of 16 pixels with four groups of eight channels.
template <class S, bool Flipped>
HR_DEVICE void multiply_tile(float (&sums)[2][4][4], const unsigned char* filter, const unsigned char* halo,
                             const TileShare<S>& share) {
  constexpr int kChannels = S::kChannels;
  const int matrix = share.lane >> 3, r = share.lane & 7, across = share.across;
  HR_UNROLL for (int m = 0; m < 2; ++m) {
    HR_UNROLL for (int j = 0; j < 4; ++j) { HR_UNROLL for (int i = 0; i < 4; ++i) sums[m][j][i] = 0; }
  }
  HR_UNROLL_1 for (int ky = 0; ky < 3; ++ky) {
    HR_UNROLL for (int kx = 0; kx < 3; ++kx) {
      const unsigned char* tap = filter + (ky * 3 + kx) * S::kTapBytes;
      HR_UNROLL for (int k = 0; k < kChannels / 16; ++k) {
        uint32_t a[2][4], b[2][4];
        HR_UNROLL for (int m = 0; m < 2; ++m) {
          const int pixel =
              (share.first_row() + share.row(m) + (matrix & 1) + ky) * S::kHaloColumns + share.column(m) + r + kx;
          load_matrices(a[m], halo + piece_at<kChannels>(pixel, 2 * k + (matrix >> 1)));
        }
        HR_UNROLL for (int j = 0; j < 2; ++j) {
          if constexpr (!Flipped) {
            load_matrices(
                b[j], tap + piece_at<kChannels>(across * 32 + (2 * j + (matrix >> 1)) * 8 + r, 2 * k + (matrix & 1)));
          } else {
            load_matrices_transposed(
                b[j], tap + piece_at<kChannels>(16 * k + (matrix & 1) * 8 + r, across * 4 + 2 * j + (matrix >> 1)));
          }
        }
        HR_UNROLL for (int m = 0; m < 2; ++m) {
          HR_UNROLL for (int j = 0; j < 4; ++j) {
            multiply_add(sums[m][j], a[m], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
          }
        }
      }
    }
  }
}

template <class S, class Epilogue>
constexpr int kTileConvBytes = S::kBytes + Epilogue::kBytes;

// A block processes every gridDim.x-th tile, and loads the next tile while it computes the current one.
template <class S, class Epilogue>
__global__ void __launch_bounds__(S::kThreads, S::kBlocks) tile_conv_kernel(const TileConv p) {
  HR_DYNAMIC_SHARED(memory);
  unsigned char *filter = memory, *halos = memory + S::kFilterBytes;
  const int thread = static_cast<int>(threadIdx.x);
  const TileShare<S> share(thread);

  const auto fetch = [&](int tile, int stage) {
    if (tile < p.count) {
      const TileOrigin o = origin_of<S::kRows, S::kColumns>(p.tiles, tile);
      copy_pixels<S::kChannels, S::kHaloRows, S::kHaloColumns>(halos + stage * S::kHaloBytes, p.x, p.tiles, o.n,
                                                               o.y - 1, o.x - 1, S::kChannels, thread, S::kThreads);
    }
    end_copy_group();  // An empty group keeps the number of groups equal.
  };

  load_filter<S, Epilogue::kFlipped>(filter, p.filter, thread);
  Epilogue epilogue(p, memory + S::kBytes, share, thread);
  fetch(static_cast<int>(blockIdx.x), 0);

  int stage = 0;
  for (int tile = static_cast<int>(blockIdx.x); tile < p.count; tile += static_cast<int>(gridDim.x)) {
    fetch(tile + static_cast<int>(gridDim.x), 1 - stage);
    const TileOrigin o = origin_of<S::kRows, S::kColumns>(p.tiles, tile);
    const TilePixels<S> pixels(p.tiles, o, share);
    epilogue.prefetch_operands(pixels);
    wait_for_copies<1>();
    __syncthreads();  // The tile has arrived for all threads.
    float sums[2][4][4];
    multiply_tile<S, Epilogue::kFlipped>(sums, filter, halos + stage * S::kHaloBytes, share);
    epilogue.write(sums, pixels, o);
    stage = 1 - stage;
    __syncthreads();  // The next round overwrites what this one reads.
  }
  wait_for_copies<0>();
  epilogue.finish(reinterpret_cast<float*>(halos), thread);
}

// The gradient of the filter. A group of blocks shares 32 x 32 channels, which is a `part` of the filter. Each block
// processes every `slots`-th tile and keeps 32 x 9 x 32 sums in registers: three warps take one row of the kernel's
// taps each, and this four times, for a quarter of the tile's pixels each. Tiles are loaded in three stages of shared
// memory.
struct TileFilterGradient {
  Tiles tiles;
  int count;  // The number of tiles.
  const bf16 *x, *dy;
  int ci, co;        // Channels, multiples of 32.
  int parts, slots;  // parts = (ci / 32) (co / 32); blocks = parts * slots.
  float* partial;    // [slots, parts, kGradientQuads, 4].
};

constexpr int kTile = 16;         // The pixels in a row of a tile, and the number of its rows.
constexpr int kHalo = kTile + 2;  // Includes the border.
constexpr int kHaloBytes = kHalo * kHalo * 64;
constexpr int kTileBytes = kTile * kTile * 64;
constexpr int kGradientThreads = 384, kGradientStages = 3;
constexpr int kStageBytes = kHaloBytes + kTileBytes;
constexpr int kGradientBytes = kGradientStages * kStageBytes;
constexpr int kGradientQuads = 3 * 24 * 32;  // [kernel row][product][lane], with four sums each.
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
      const TileOrigin o = origin_of<kTile, kTile>(p.tiles, tile);
      copy_pixels<32, kHalo, kHalo>(to, x, p.tiles, o.n, o.y - 1, o.x - 1, p.ci, thread, kGradientThreads);
      copy_pixels<32, kTile, kTile>(to + kHaloBytes, dy, p.tiles, o.n, o.y, o.x, p.co, thread, kGradientThreads);
    }
    end_copy_group();  // An empty group keeps the number of groups equal.
  };

  float sums[2][12][4];
  HR_UNROLL for (int m = 0; m < 2; ++m) {
    HR_UNROLL for (int j = 0; j < 12; ++j) { HR_UNROLL for (int i = 0; i < 4; ++i) sums[m][j][i] = 0; }
  }
  const int matrix = lane >> 3, r = lane & 7;
  fetch(slot, 0);
  fetch(slot + p.slots, 1);
  int stage = 0;
  for (int tile = slot; tile < p.count; tile += p.slots) {
    wait_for_copies<1>();
    __syncthreads();  // This tile has arrived for all threads, and the stage before it is free.
    fetch(tile + 2 * p.slots, stage == 0 ? 2 : stage - 1);
    const unsigned char *halo = memory + stage * kStageBytes, *rows = halo + kHaloBytes;
    HR_UNROLL_1 for (int s = 0; s < 4; ++s) {
      // 16 pixels: eight of a row and the eight below them.
      const int y = group * 4 + (s >> 1) * 2, px = (s & 1) * 8 + r;
      uint32_t a[2][4];
      HR_UNROLL for (int m = 0; m < 2; ++m) {
        load_matrices_transposed(a[m], rows + piece_at<32>((y + (matrix >> 1)) * kTile + px, 2 * m + (matrix & 1)));
      }
      HR_UNROLL for (int kx = 0; kx < 3; ++kx) {
        HR_UNROLL for (int j = 0; j < 2; ++j) {
          uint32_t b[4];
          load_matrices_transposed(
              b, halo + piece_at<32>((y + (matrix & 1) + ky) * kHalo + px + kx, 2 * j + (matrix >> 1)));
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

  // Adds the sums of the four groups in order.
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

// Adds the sums of the blocks: 32 quads per block, with eight strands of slots that are added in order.
static __global__ void __launch_bounds__(kSumThreads)
    tile_filter_sum_kernel(const TileFilterGradient p, float* filter) {
  struct alignas(16) Quad {
    float v[4];
  };
  __shared__ Quad strands[kSumStrands][32];
  const int lane = static_cast<int>(threadIdx.x) & 31, strand = static_cast<int>(threadIdx.x) >> 5;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * 32 + lane;  // [part][quad].
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
  // Converts a quad to (output channel, tap, input channel).
  const int part = static_cast<int>(index / kGradientQuads),
            quad = static_cast<int>(index - part * kGradientQuads) / 32;
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
