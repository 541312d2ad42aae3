#include "core/comm/nccl_api.h"

#include "core/shared_library.h"

namespace hr::nccl {
namespace {

Api open_api() {
  const SharedLibrary library("NCCL", {"libnccl.so.2"}, "install NCCL, or put its folder into LD_LIBRARY_PATH");
  Api a{};
  library.bind(a.get_version, "ncclGetVersion");
  library.bind(a.get_unique_id, "ncclGetUniqueId");
  library.bind(a.comm_init_rank, "ncclCommInitRank");
  library.bind(a.comm_destroy, "ncclCommDestroy");
  library.bind(a.comm_abort, "ncclCommAbort");
  library.bind(a.comm_get_async_error, "ncclCommGetAsyncError");
  library.bind(a.get_error_string, "ncclGetErrorString");
  library.bind(a.get_last_error, "ncclGetLastError");
  library.bind(a.all_reduce, "ncclAllReduce");
  library.bind(a.broadcast, "ncclBroadcast");
  library.bind(a.all_gather, "ncclAllGather");
  return a;
}

}  // namespace

const Api& api() {
  static const Api a = open_api();
  return a;
}

}  // namespace hr::nccl
