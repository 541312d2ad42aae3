// The functions of NCCL that core/comm/nccl.cc calls. They are declared here because NCCL's header is not on every
// machine that builds this. NCCL keeps this ABI within a major version; tests/comm/nccl_test.cc compares the
// declarations with the header where it is installed.
#pragma once
#include <cstddef>

namespace hr::nccl {

struct Communicator;  // NCCL's ncclComm.
using Comm = Communicator*;
struct UniqueId {
  char internal[128];
};
constexpr int kSuccess = 0, kUint8 = 1, kFloat32 = 7, kFloat64 = 8, kSum = 0, kAvg = 4;

// Enumerations are passed as int, CUDA streams as void*.
struct Api {
  int (*get_version)(int*);
  int (*get_unique_id)(UniqueId*);
  int (*comm_init_rank)(Comm*, int size, UniqueId, int rank);
  int (*comm_destroy)(Comm);
  int (*comm_abort)(Comm);
  int (*comm_get_async_error)(Comm, int*);
  const char* (*get_error_string)(int);
  const char* (*get_last_error)(Comm);
  int (*all_reduce)(const void*, void*, size_t, int type, int op, Comm, void* stream);
  int (*broadcast)(const void*, void*, size_t, int type, int root, Comm, void* stream);
  int (*all_gather)(const void*, void*, size_t, int type, Comm, void* stream);
};

// Opens the library once. Throws Error that says what is missing and what to do.
const Api& api();

}  // namespace hr::nccl
