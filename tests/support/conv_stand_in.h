// Convolutions for tests without a GPU's library: oneDNN computes in float32, from operands of any type, what the
// library would write, and rounds at the end, as tensor cores do.
#pragma once
#include "ops/conv/library.h"

namespace hr::test {

// Computes the pass into the buffers, which are in host memory. Filters of deconvolutions are laid out as a library
// needs them, [ci, kh, kw, co] (ops/conv/gpu_conv).
void compute_convolution(const ConvProblem& problem, const ConvBuffers& buffers);

}  // namespace hr::test
