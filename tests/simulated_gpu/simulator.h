// A GPU that is simulated: core/cuda.h, the loops of ops/gpu_loops.h and the convolution libraries, with queues in the
// place of streams and the CPU's functors in the place of kernels. The tests of tests/gpu run on it. It says nothing of
// kernels and speed; it says whether the host's side is right: what runs when, on which stream, on whose memory.
//
// It is as unkind as a GPU may be:
// * Work waits in its stream until somebody must have it (lazy), or is done in any order that events allow (an order
//   drawn from a seed), so that a missing event, or memory that is used again too early, gives another result.
// * Device memory is new with NaNs in it, and the host may not touch it: that is a crash. Pinned memory is read and
//   written when the copy runs, not when it is asked for.
// * A captured graph runs its nodes in any order that its edges allow. Within a capture it refuses what CUDA refuses:
//   waiting, allocating, pageable copies, events of the outside, forks that are not joined.
//
// The order: $HRNET_SIMULATED_ORDER, "lazy" (default), "eager" or a seed. With $HRNET_SIMULATED_REPORT the program says
// at its end how many downloads waited at a time at most.
#pragma once
#include <functional>
#include <string>

#include "core/cuda.h"

namespace hr::simulator {

// Puts a kernel on a stream.
void enqueue(cuda::Stream stream, std::function<void()> kernel);
// Whether device memory is kept from the host; false where the kernel has no transparent huge pages.
bool protects_memory();
// Called within every call of the simulated NCCL that takes a communicator, with its name, before it does anything;
// what it returns, unless 0, is the call's code. For tests of what happens meanwhile. Null: nothing.
void on_nccl_call(std::function<int(const std::string& name)> hook);
// Another order from here on; for tests of the simulator.
void set_order(const std::string& order);

}  // namespace hr::simulator
