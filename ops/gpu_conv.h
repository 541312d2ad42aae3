// The convolutions of a GPU: asks its libraries for candidates, measures them once per shape on the caller's own
// buffers and runs the fastest. Knows no library itself.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "ops/conv_library.h"

namespace hr {

// A backend for the context's device; choices are remembered on disk (ops/conv_choice.h). Error: cuDNN is missing or
// too old.
std::shared_ptr<ConvBackend> make_gpu_conv(const Context& cx);

// Everything that is measured for a problem; cublaslt may be null. For an f32 gradient of a filter from bf16,
// cuDNN's kernels that make one in bf16 and widen it are candidates too: on an H200 the only kernel that makes it in f32
// at once takes seven times as long. Their measured time includes the widening.
// `known`: the one to use is this (if it is there still), and only what its library offers up to it is made, since some
// are compiled for a second.
std::vector<ConvCandidate> conv_candidates(ConvLibrary& cudnn, ConvLibrary* cublaslt, const ConvProblem& problem,
                                           const std::string* known = nullptr);

}  // namespace hr
