// A simulated GPU: core/cuda.h, the loops of ops/gpu_loops.h and the convolution libraries, with queues as streams and
// the CPU's functors as kernels. The tests of tests/gpu run on it. It cannot test kernels or speed. It tests the host's
// side: what runs when, on which stream and with which memory.
//
// It uses every freedom that a GPU has:
//  * Work waits in its stream until a result is needed (lazy), or runs in any order that events allow (an order drawn
//    from a seed), so that a missing event, or memory that is reused too early, gives another result.
//  * New device memory is full of NaNs, and the program crashes if the host accesses it. Pinned memory is read and
//    written when the copy runs, not when it is queued.
//  * A kernel that is launched as a dependent of the one in front of it may begin before that one has run, up to the
//    place where it waits for it.
//  * A captured graph runs its nodes in any order that its edges allow. Within a capture, calls that CUDA refuses are
//    refused: waiting, allocating, pageable copies, events from outside, forks that are not joined.
//
// $HRNET_SIMULATED_ORDER selects the order: "lazy" (default), "eager" or a seed. With $HRNET_SIMULATED_REPORT the
// program prints at its end the largest number of downloads that waited at the same time.
#pragma once
#include <functional>
#include <string>

#include "core/cuda.h"

namespace hr::simulator {

// Queues a kernel on a stream.
void enqueue(cuda::Stream stream, std::function<void()> kernel);
// Queues a kernel that may begin before the one in front of it has ended (programmatic dependent launch). It calls its
// argument where it waits for that.
using DependentKernel = std::function<void(const std::function<void()>& wait)>;
void enqueue_dependent(cuda::Stream stream, DependentKernel kernel);
// Tells whether the host is kept from accessing device memory. It is not where the system has no transparent huge
// pages.
bool protects_memory();
// Sets a function that is called at the beginning of every call of the simulated NCCL that takes a communicator, with
// the name of the call. If it does not return 0, its result is the result of the call. Tests use it to act during a
// call. Null: none.
void on_nccl_call(std::function<int(const std::string& name)> hook);
// Changes the order from here on, for tests of the simulator.
void set_order(const std::string& order);

}  // namespace hr::simulator
