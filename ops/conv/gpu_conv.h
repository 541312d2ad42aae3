// Runs convolutions on a GPU: asks the libraries for candidates, measures them once per shape on the caller's own
// buffers, and runs the fastest. It depends on no library itself.
#pragma once
#include <memory>

#include "ops/conv/backend.h"

namespace hr {

// Makes a backend for the context's device; choices are remembered on disk (ops/conv/choice.h). Throws Error if cuDNN
// is missing or too old, or if a variable of the environment (docs/guide/gpu.md) has an invalid value.
std::shared_ptr<ConvBackend> make_gpu_conv(const Context& cx);

}  // namespace hr
