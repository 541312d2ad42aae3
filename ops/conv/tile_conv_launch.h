// The arguments with which ops/conv/tile_conv.cc launches the kernels of ops/conv/tile_conv_kernels.cuh, without CUDA's
// types. The functions are defined in ops/conv/tile_conv_cuda.cu, and without CUDA in ops/conv/tile_conv_stub.cc.
#pragma once
#include <cstdint>

#include "core/cuda_types.h"
#include "core/dtype.h"

namespace hr::gpu {

// The kernels for 32 and 64 channels divide an image into tiles of 256 pixels. A multiprocessor holds `blocks` blocks.
struct TileFormat {
  int rows, columns, blocks;
};
constexpr TileFormat tile_format(int channels) {
  return channels == 32 ? TileFormat{.rows = 16, .columns = 16, .blocks = 3}
                        : TileFormat{.rows = 32, .columns = 8, .blocks = 1};
}
struct TileConvLaunch {
  int n, h, w, channels;  // x and y are [n, h, w, channels], with 32 or 64 channels.
  int multiprocessors;
  const bf16 *x, *filter;
  const bf16 *bias, *add;  // [channels], and of the shape of y; or null.
  bf16* y;
  bool relu;
  bool flipped;  // x is the gradient of a result, y that of its input.
};
void tile_conv(cuda::Stream stream, const TileConvLaunch& launch);

// Returns the number of blocks of tile_conv and of the two functions below, which is that of their parts.
constexpr int tile_conv_blocks(int n, int h, int w, int channels, int multiprocessors) {
  const TileFormat f = tile_format(channels);
  const int tiles = n * ((h + f.rows - 1) / f.rows) * ((w + f.columns - 1) / f.columns);
  return tiles < multiprocessors * f.blocks ? tiles : multiprocessors * f.blocks;
}

// The convolution without bias, summand and ReLU, and the statistics of y (ConvBackend::forward_with_statistics).
struct TileStatisticsLaunch {
  int n, h, w, channels;
  int multiprocessors;
  const bf16 *x, *filter;
  bf16* y;
  float* parts;  // [tile_conv_blocks(), 4, channels].
};
void tile_conv_with_statistics(cuda::Stream stream, const TileStatisticsLaunch& launch);

// The gradient of x with an epilogue (GradientEpilogue).
struct TileGradientLaunch {
  int n, h, w, channels;
  int multiprocessors;
  const bf16 *dy, *filter;
  const bf16 *add, *mask;
  const uint8_t* bits;
  const bf16* normalised;
  const float *mean, *scale, *shift;
  bf16* dx;
  float* sums;  // [tile_conv_blocks(), 2, channels]; null if `normalised` is.
};
void tile_conv_with_gradient_epilogue(cuda::Stream stream, const TileGradientLaunch& launch);

struct TileFilterGradientLaunch {
  int n, h, w, ci, co;  // ci and co are multiples of 32.
  int slots;            // The number of blocks that share the tiles of one part of 32 x 32 channels.
  const bf16 *x, *dy;
  float* partial;  // [slots, ci / 32 * co / 32, kTilePartBytes / 4].
  float* filter;   // [co, 3, 3, ci].
};
constexpr int64_t kTilePartBytes = 32 * 9 * 32 * 4;
void tile_filter_gradient(cuda::Stream stream, const TileFilterGradientLaunch& launch);

// The first convolution of a network: pictures [n, h, w, 3] -> [n, (h + 1) / 2, (w + 1) / 2, 64], 3x3 with stride 2.
struct StemConvLaunch {
  int n, h, w;  // w is even.
  const bf16 *x, *filter;
  const bf16* bias;  // [64] or null.
  bf16* y;
  bool relu;
};
void stem_conv(cuda::Stream stream, const StemConvLaunch& launch);

struct StemFilterGradientLaunch {
  int n, h, w, blocks;
  const bf16 *x, *dy;
  float* partial;  // [blocks, kStemPartBytes / 4].
  float* filter;   // [64, 3, 3, 3].
};
constexpr int64_t kStemPartBytes = 64 * 32 * 4;
void stem_filter_gradient(cuda::Stream stream, const StemFilterGradientLaunch& launch);

}  // namespace hr::gpu
