// The arguments with which ops/conv/tile_conv.cc launches the kernels of ops/conv/tile_conv_kernels.cuh, without CUDA's
// types. The functions are defined in ops/conv/tile_conv_cuda.cu, and without CUDA in ops/conv/tile_conv_stub.cc.
#pragma once
#include <cstdint>

#include "core/cuda_types.h"
#include "core/dtype.h"

namespace hr::gpu {

struct TileConvLaunch {
  int n, h, w;  // x and y are [n, h, w, 32].
  int multiprocessors;
  const bf16 *x, *filter;
  const bf16 *bias, *add;  // [32], and of the shape of y; or null.
  bf16* y;
  bool relu;
  bool flipped;  // x is the gradient of a result, y that of its input.
};
void tile_conv(cuda::Stream stream, const TileConvLaunch& launch);

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
