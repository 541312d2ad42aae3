// Convolutions for tests where a GPU's library would be: what the library writes, computed by oneDNN in float32 from
// operands of any type and rounded at the end, as tensor cores do it.
#pragma once
#include "ops/conv/library.h"

namespace hr::test {

// Computes the pass into the buffers, in host memory. Filters of deconvolutions lie as a library wants them,
// [ci, kh, kw, co] (ops/conv/gpu_conv).
void compute_convolution(const ConvProblem& problem, const ConvBuffers& buffers);

}  // namespace hr::test
