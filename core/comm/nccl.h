// Collectives between GPUs with NVIDIA's NCCL. The library (libnccl.so.2) is opened at run time. Therefore this
// compiles and links everywhere, without NCCL's header, and a machine without the library gets a clear message.
//
// Calls are ordered on the caller's stream and may be captured into a CUDA graph. Except for the calls on host memory,
// they neither allocate nor wait. start_all_reduce() forks from the caller's stream onto one of its own, and finish()
// joins it again. Sums are in NCCL's order, which depends on topology and size but not on timing.
//
// NCCL refuses two ranks on one GPU; an Error then names both.
//
// abort() frees the communicators and may be called from any thread. It waits for calls that are inside NCCL at that
// moment, and every later call throws Error. A captured graph that contains collectives must not be launched
// afterwards.
#pragma once
#include <memory>

#include "core/comm/comm.h"
#include "core/comm/control.h"

namespace hr {

// Makes one communicator for the caller and one for background work, on `device`. With a null `control` the
// communicator has one rank, for testing captured graphs on a machine with one GPU. All ranks must call it.
std::unique_ptr<Comm> make_nccl_comm(std::shared_ptr<Control> control, Device device);

// Makes NCCL use the loopback interface, by setting NCCL_SOCKET_IFNAME=lo, if all ranks are on one host and the user
// has not chosen an interface. NCCL ignores the loopback interface by default and then finds none on a host without a
// network. Changes the environment, so call it before threads are started.
void choose_nccl_interface(const Ranks& ranks);

// Returns "NCCL 2.28.9", or the reason why NCCL cannot be used, with which the GPU tests are then skipped.
std::string nccl_description();

}  // namespace hr
