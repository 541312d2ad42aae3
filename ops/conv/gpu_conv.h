// The convolutions of a GPU: asks its libraries for candidates, measures them once per shape on the caller's own
// buffers and runs the fastest. Knows no library itself.
#pragma once
#include <memory>

#include "ops/conv/backend.h"

namespace hr {

// A backend for the context's device; choices are remembered on disk (ops/conv/choice.h). Error: cuDNN is missing or
// too old, or a wish in the environment (docs/gpu.md) does not make sense.
std::shared_ptr<ConvBackend> make_gpu_conv(const Context& cx);

}  // namespace hr
