#include "core/error.h"
#include "ops/conv/tile_conv_launch.h"

namespace hr::gpu {

void tile_conv(cuda::Stream, const TileConvLaunch&) { fail("this program was built without CUDA"); }
void tile_conv_with_statistics(cuda::Stream, const TileStatisticsLaunch&) {
  fail("this program was built without CUDA");
}
void tile_conv_with_gradient_epilogue(cuda::Stream, const TileGradientLaunch&) {
  fail("this program was built without CUDA");
}
void tile_filter_gradient(cuda::Stream, const TileFilterGradientLaunch&) {
  fail("this program was built without CUDA");
}

void stem_conv(cuda::Stream, const StemConvLaunch&) { fail("this program was built without CUDA"); }
void stem_filter_gradient(cuda::Stream, const StemFilterGradientLaunch&) {
  fail("this program was built without CUDA");
}

}  // namespace hr::gpu
