// Remembers of every CUDA stream whether the newest thing in it is a kernel of ours. Only then may the next kernel be
// launched as its dependent (core/gpu_switches.h): behind a copy, a wait for another stream or the start of a capture
// there is no kernel to overlap with. The runtimes behind core/cuda.h and the launches of our loops call this. Kernels
// of the libraries do not change the state, because a dependent of theirs waits for them just as well. Thread-safe.
#pragma once
#include "core/cuda_types.h"

namespace hr::cuda {

bool ends_with_kernel(Stream stream);
void note_kernel(Stream stream);
void note_other_work(Stream stream) noexcept;

}  // namespace hr::cuda
