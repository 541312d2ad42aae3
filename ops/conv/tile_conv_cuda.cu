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

template <class S, class Epilogue>
void launch_conv(cuda::Stream stream, TileConv p, int n, int h, int w, int multiprocessors) {
  p.tiles = tiles_of(n, h, w, S::kRows, S::kColumns);
  p.count = p.tiles.n * p.tiles.across * p.tiles.down;
  // More than the 48 KiB that a kernel may use by default. The attribute belongs to the device, so it is set at every
  // launch, which costs nothing.
  constexpr int kBytes = kTileConvBytes<S, Epilogue>;
  cudaFuncSetAttribute(tile_conv_kernel<S, Epilogue>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  const int blocks = tile_conv_blocks(n, h, w, S::kChannels, multiprocessors);
  const auto kernel = tile_conv_kernel<S, Epilogue>;
  kernel<<<blocks, S::kThreads, kBytes, stream>>>(p);
  cuda::check_launch("tile_conv");
}

}  // namespace

void tile_conv(cuda::Stream stream, const TileConvLaunch& l) {
  const TileConv p{.x = l.x, .filter = l.filter, .bias = l.bias, .add = l.add, .y = l.y, .relu = l.relu};
  const auto launch = [&]<class S>() {
    l.flipped ? launch_conv<S, PlainEpilogue<S, true>>(stream, p, l.n, l.h, l.w, l.multiprocessors)
              : launch_conv<S, PlainEpilogue<S, false>>(stream, p, l.n, l.h, l.w, l.multiprocessors);
  };
  l.channels == 32 ? launch.template operator()<TileShape32>() : launch.template operator()<TileShape64>();
}

void tile_conv_with_statistics(cuda::Stream stream, const TileStatisticsLaunch& l) {
  const TileConv p{.x = l.x, .filter = l.filter, .y = l.y, .parts = l.parts};
  const auto launch = [&]<class S>() {
    launch_conv<S, StatisticsEpilogue<S>>(stream, p, l.n, l.h, l.w, l.multiprocessors);
  };
  l.channels == 32 ? launch.template operator()<TileShape32>() : launch.template operator()<TileShape64>();
}

void tile_conv_with_gradient_epilogue(cuda::Stream stream, const TileGradientLaunch& l) {
  const TileConv p{.x = l.dy,
                   .filter = l.filter,
                   .add = l.add,
                   .y = l.dx,
                   .parts = l.sums,
                   .mask = l.mask,
                   .bits = l.bits,
                   .normalised = l.normalised,
                   .mean = l.mean,
                   .scale = l.scale,
                   .shift = l.shift};
  const auto launch = [&]<class S>() {
    launch_conv<S, MaskedGradientEpilogue<S>>(stream, p, l.n, l.h, l.w, l.multiprocessors);
  };
  l.channels == 32 ? launch.template operator()<TileShape32>() : launch.template operator()<TileShape64>();
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
