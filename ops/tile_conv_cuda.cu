// Launches of ops/tile_conv_kernels.cuh.
#include <cuda_runtime.h>

#include "ops/tile_conv_kernels.cuh"
#include "ops/tile_conv_launch.h"

namespace hr::gpu {
namespace {

Tiles tiles_of(int n, int h, int w) { return {n, h, w, (w + kTile - 1) / kTile, (h + kTile - 1) / kTile}; }

}  // namespace

void tile_conv(cuda::Stream stream, const TileConvLaunch& l) {
  const TileConv p{tiles_of(l.n, l.h, l.w), l.x, l.filter, l.bias, l.add, l.y, l.relu};
  const int blocks = p.tiles.n * p.tiles.across * p.tiles.down;
  if (l.flipped) {
    tile_conv_kernel<true><<<blocks, kConvThreads, 0, stream>>>(p);
  } else {
    tile_conv_kernel<false><<<blocks, kConvThreads, 0, stream>>>(p);
  }
  cuda::check_launch("tile_conv");
}

void tile_filter_gradient(cuda::Stream stream, const TileFilterGradientLaunch& l) {
  const Tiles tiles = tiles_of(l.n, l.h, l.w);
  const int parts = l.ci / 32 * (l.co / 32);
  const TileFilterGradient p{tiles, tiles.n * tiles.across * tiles.down, l.x, l.dy, l.ci, l.co, parts, l.slots,
                             l.partial};
  // More than the 48 KiB that a kernel may use unasked. Per device, so it is set at every launch; it costs nothing.
  cudaFuncSetAttribute(tile_filter_gradient_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kGradientBytes);
  tile_filter_gradient_kernel<<<parts * l.slots, kGradientThreads, kGradientBytes, stream>>>(p);
  cuda::check_launch("tile_filter_gradient");
  tile_filter_sum_kernel<<<parts * kGradientQuads / 32, kSumThreads, 0, stream>>>(p, l.filter);
  cuda::check_launch("tile_filter_sum");
}

}  // namespace hr::gpu
