// Collectives between GPUs: NVIDIA's NCCL. The library (libnccl.so.2) is opened at run time, so this compiles and links
// everywhere, with no header of its, and a machine without it gets a clear message.
//
// Calls are ordered on the caller's stream and may be captured into a CUDA graph: nothing is allocated or waited for,
// except by the host-memory ones. start_all_reduce() forks from the caller's stream onto one of its own, finish() joins
// it again. Sums are in NCCL's order, which depends on topology and size but not on timing.
//
// NCCL refuses two ranks on one GPU: Error that names both.
//
// abort() frees the communicators, from any thread; calls that are inside NCCL at that moment are waited for, and every
// later call throws Error. A captured graph that holds collectives must not be launched after it.
#pragma once
#include <memory>

#include "core/comm/comm.h"
#include "core/comm/control.h"

namespace hr {

// One communicator for the caller and one for the background, on `device`. `control` null: a communicator of one rank,
// for checking captured graphs on a machine with one GPU. All ranks must call it.
std::unique_ptr<Comm> make_nccl_comm(std::shared_ptr<Control> control, Device device);

// Has NCCL talk over the loopback interface, by NCCL_SOCKET_IFNAME=lo, if all ranks are on one host and the user has
// not named an interface: NCCL skips the loopback by itself, and then finds nothing on a host without a network.
// Changes the environment, so call it before there are threads.
void choose_nccl_interface(const Ranks& ranks);

// "NCCL 2.28.9", or why there is none. For --help, bench and tools/gpu_check.sh.
std::string nccl_description();

}  // namespace hr
