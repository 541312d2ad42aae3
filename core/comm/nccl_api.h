// The few functions of NCCL and of the CUDA driver that core/comm/nccl.cc calls, declared here because neither's header
// is on every machine that builds this. Both libraries keep this ABI within a major version; tests/comm/nccl_test.cc
// compares it with the headers where they are installed.
#pragma once
#include <cstddef>

namespace hr::nccl {

struct Communicator;  // ncclComm
using Comm = Communicator*;
struct UniqueId {
  char internal[128];
};
constexpr int kSuccess = 0, kUint8 = 1, kFloat32 = 7, kFloat64 = 8, kSum = 0, kAvg = 4;

// Enumerations travel as int, CUDA streams as void*.
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

constexpr unsigned kStreamNonBlocking = 1, kEventDisableTiming = 2;

struct Driver {
  int (*init)(unsigned);
  int (*device_get)(int*, int ordinal);
  int (*device_get_pci_bus_id)(char*, int size, int device);
  int (*primary_context_retain)(void**, int device);
  int (*primary_context_release)(int device);
  int (*context_set_current)(void*);
  int (*stream_create)(void**, unsigned flags);
  int (*stream_destroy)(void*);
  int (*stream_synchronize)(void*);
  int (*stream_wait_event)(void*, void* event, unsigned flags);
  int (*event_create)(void**, unsigned flags);
  int (*event_destroy)(void*);
  int (*event_record)(void*, void* stream);
  int (*mem_alloc)(unsigned long long*, size_t);
  int (*mem_free)(unsigned long long);
  int (*copy_to_device)(unsigned long long, const void*, size_t, void* stream);
  int (*copy_to_host)(void*, unsigned long long, size_t, void* stream);
  int (*get_error_string)(int, const char**);
};

// Opened once; Error says what is missing and what to do.
const Api& api();
const Driver& driver();

}  // namespace hr::nccl
