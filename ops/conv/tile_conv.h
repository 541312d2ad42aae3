// Our own bf16 kernels for 3x3 convolutions of stride 1 (ops/conv/tile_conv_kernels.cuh), as a library that
// ops/conv/gpu_conv measures beside cuDNN and cuBLASLt.
#pragma once
#include <memory>

#include "ops/conv/library.h"

namespace hr {

// Which of our kernels are used, by the environment (docs/design/gpu.md, "Convolutions with an epilogue").
struct TileSettings {
  int most_channels = 32;   // HRNET_TILE_CHANNELS: 32, or 64 to offer forward and data gradient for 64 channels too.
  bool statistics = false;  // HRNET_TILE_EPILOGUES=statistics or all: see ConvBackend::forward_with_statistics.
  bool gradient = false;    // HRNET_TILE_EPILOGUES=gradient or all: see ConvBackend::backward_data_with_epilogue.

  // Throws Error if a variable has another value.
  static TileSettings from_environment();
};

// Forward and the gradient of the data for 32 -> 32 channels (and 64 -> 64, by the settings), and the gradient of the
// filter (bf16 -> f32) for multiples of 32 channels. bf16 only, without a bias in f32. `multiprocessors` is the number
// in the GPU that runs them.
std::unique_ptr<ConvLibrary> make_tile_conv(int multiprocessors, int most_channels = TileSettings().most_channels);

// Tells whether the two functions below compute this geometry.
bool tile_conv_has_epilogues(const ConvGeometry& g, int most_channels);
// These do what the functions of ConvBackend with similar names do. `filter` is in bf16.
Tensor tile_conv_with_statistics(const Context& cx, const ConvGeometry& g, int multiprocessors, const void* x,
                                 const void* filter, void* y);
Tensor tile_conv_with_gradient_epilogue(const Context& cx, const ConvGeometry& g, int multiprocessors, const void* dy,
                                        const void* filter, void* dx, const GradientEpilogue& epilogue);

}  // namespace hr
