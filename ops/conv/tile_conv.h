// Our own bf16 kernels for 3x3 convolutions of stride 1 (ops/conv/tile_conv_kernels.cuh), as a library that
// ops/conv/gpu_conv measures beside cuDNN and cuBLASLt.
#pragma once
#include <memory>

#include "ops/conv/library.h"

namespace hr {

// Forward and the gradient of the data for 32 -> 32 channels, and the gradient of the filter (bf16 -> f32) for
// multiples of 32 channels. bf16 only, without a bias in f32. `multiprocessors` is the number in the GPU that runs
// them.
std::unique_ptr<ConvLibrary> make_tile_conv(int multiprocessors);

}  // namespace hr
