// Launches of ops/conv/tile_conv_kernels.cuh.
#include <cuda_runtime.h>

#include "ops/conv/stem_conv_kernels.cuh"
#include "ops/conv/tile_conv_kernels.cuh"
#include "ops/conv/tile_conv_launch.h"

namespace hr::gpu {
namespace {

Tiles tiles_of(int n, int h, int w, int rows, int columns) {
  return {n, h, w, (w + columns - 1) / columns, (h + rows - 1) / rows};
}

template <class S, bool Flipped>
void launch_conv(cuda::Stream stream, const TileConvLaunch& l) {
  const Tiles tiles = tiles_of(l.n, l.h, l.w, S::kRows, S::kColumns);
  const TileConv p{tiles, tiles.n * tiles.across * tiles.down, l.x, l.filter, l.bias, l.add, l.y, l.relu};
  // More than the 48 KiB that a kernel may use by default. The attribute belongs to the device, so it is set at every
  // launch, which costs nothing.
  cudaFuncSetAttribute(tile_conv_kernel<S, Flipped>, cudaFuncAttributeMaxDynamicSharedMemorySize, S::kBytes);
  const int resident = l.multiprocessors * S::kBlocks, blocks = p.count < resident ? p.count : resident;
  const auto kernel = tile_conv_kernel<S, Flipped>;
  kernel<<<blocks, S::kThreads, S::kBytes, stream>>>(p);
  cuda::check_launch("tile_conv");
}

}  // namespace

void tile_conv(cuda::Stream stream, const TileConvLaunch& l) {
  l.flipped ? launch_conv<TileShape32, true>(stream, l) : launch_conv<TileShape32, false>(stream, l);
}

void tile_filter_gradient(cuda::Stream stream, const TileFilterGradientLaunch& l) {
  const Tiles tiles = tiles_of(l.n, l.h, l.w, kTile, kTile);
  const int parts = l.ci / 32 * (l.co / 32);
  const TileFilterGradient p{tiles,    tiles.n * tiles.across * tiles.down, l.x, l.dy, l.ci, l.co, parts, l.slots,
                             l.partial};
  cudaFuncSetAttribute(tile_filter_gradient_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kGradientBytes);
  tile_filter_gradient_kernel<<<parts * l.slots, kGradientThreads, kGradientBytes, stream>>>(p);
  cuda::check_launch("tile_filter_gradient");
  tile_filter_sum_kernel<<<parts * kGradientQuads / 32, kSumThreads, 0, stream>>>(p, l.filter);
  cuda::check_launch("tile_filter_sum");
}

void stem_conv(cuda::Stream stream, const StemConvLaunch& l) {
  const Tiles tiles = tiles_of(l.n, (l.h + 1) / 2, (l.w + 1) / 2, 16, 16);
  const StemConv p{tiles, tiles.n * tiles.across * tiles.down, l.h, l.w, l.x, l.filter, l.bias, l.y, l.relu};
  stem_conv_kernel<<<p.count, kStemThreads, 0, stream>>>(p);
  cuda::check_launch("stem_conv");
}

void stem_filter_gradient(cuda::Stream stream, const StemFilterGradientLaunch& l) {
  const Tiles tiles = tiles_of(l.n, (l.h + 1) / 2, (l.w + 1) / 2, 16, 16);
  const StemFilterGradient p{tiles, tiles.n * tiles.across * tiles.down, l.h, l.w, l.x, l.dy, l.partial, l.blocks};
  cudaFuncSetAttribute(stem_filter_gradient_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kStemGradientBytes);
  stem_filter_gradient_kernel<<<p.blocks, kStemThreads, kStemGradientBytes, stream>>>(p);
  cuda::check_launch("stem_filter_gradient");
  stem_filter_sum_kernel<<<64, kSumThreads, 0, stream>>>(p, l.filter);
  cuda::check_launch("stem_filter_sum");
}

}  // namespace hr::gpu
