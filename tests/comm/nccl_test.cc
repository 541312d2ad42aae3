// NCCL as far as a machine without a GPU can tell: the declarations agree with the real headers where those are
// installed, and what is missing is named.
#include "core/comm/nccl.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "core/comm/nccl_api.h"

#if __has_include(<nccl.h>) && __has_include(<cuda.h>)
#include <cuda.h>
#include <nccl.h>
#define HR_HAS_NCCL_HEADER 1
#endif

namespace hr {
namespace {

#ifdef HR_HAS_NCCL_HEADER
// A parameter of ours may stand for one of theirs when both travel in the same register in the same way.
template <class Ours, class Theirs>
constexpr bool travels_alike = sizeof(Ours) == sizeof(Theirs) &&
                               ((std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) ||
                                ((std::is_integral_v<Ours> || std::is_enum_v<Ours>)&&(std::is_integral_v<Theirs> ||
                                                                                      std::is_enum_v<Theirs>)) ||
                                (std::is_class_v<Ours> && std::is_class_v<Theirs>));

template <class Ours, class Theirs>
struct Alike : std::false_type {};
template <class R, class... A, class S, class... B>
struct Alike<R (*)(A...), S (*)(B...)> {
  static constexpr bool same() {
    if constexpr (sizeof...(A) != sizeof...(B)) {
      return false;
    } else {
      return travels_alike<R, S> && (travels_alike<A, B> && ...);
    }
  }
  static constexpr bool value = same();
};

TEST(Nccl, DeclarationsAgreeWithTheHeader) {
  using nccl::Api;
  using nccl::Driver;
  static_assert(sizeof(nccl::UniqueId) == sizeof(ncclUniqueId));
  static_assert(nccl::kSuccess == static_cast<int>(ncclSuccess) && nccl::kUint8 == static_cast<int>(ncclUint8));
  static_assert(nccl::kFloat32 == static_cast<int>(ncclFloat32) && nccl::kFloat64 == static_cast<int>(ncclFloat64));
  static_assert(nccl::kSum == static_cast<int>(ncclSum) && nccl::kAvg == static_cast<int>(ncclAvg));
  static_assert(Alike<decltype(Api::get_version), decltype(&ncclGetVersion)>::value);
  static_assert(Alike<decltype(Api::get_unique_id), decltype(&ncclGetUniqueId)>::value);
  static_assert(Alike<decltype(Api::comm_init_rank), decltype(&ncclCommInitRank)>::value);
  static_assert(Alike<decltype(Api::comm_destroy), decltype(&ncclCommDestroy)>::value);
  static_assert(Alike<decltype(Api::comm_abort), decltype(&ncclCommAbort)>::value);
  static_assert(Alike<decltype(Api::comm_get_async_error), decltype(&ncclCommGetAsyncError)>::value);
  static_assert(Alike<decltype(Api::get_error_string), decltype(&ncclGetErrorString)>::value);
  static_assert(Alike<decltype(Api::get_last_error), decltype(&ncclGetLastError)>::value);
  static_assert(Alike<decltype(Api::all_reduce), decltype(&ncclAllReduce)>::value);
  static_assert(Alike<decltype(Api::broadcast), decltype(&ncclBroadcast)>::value);
  static_assert(Alike<decltype(Api::all_gather), decltype(&ncclAllGather)>::value);
  static_assert(nccl::kStreamNonBlocking == CU_STREAM_NON_BLOCKING &&
                nccl::kEventDisableTiming == CU_EVENT_DISABLE_TIMING);
  static_assert(Alike<decltype(Driver::init), decltype(&cuInit)>::value);
  static_assert(Alike<decltype(Driver::device_get), decltype(&cuDeviceGet)>::value);
  static_assert(Alike<decltype(Driver::device_get_pci_bus_id), decltype(&cuDeviceGetPCIBusId)>::value);
  static_assert(Alike<decltype(Driver::primary_context_retain), decltype(&cuDevicePrimaryCtxRetain)>::value);
  static_assert(Alike<decltype(Driver::primary_context_release), decltype(&cuDevicePrimaryCtxRelease)>::value);
  static_assert(Alike<decltype(Driver::context_set_current), decltype(&cuCtxSetCurrent)>::value);
  static_assert(Alike<decltype(Driver::stream_create), decltype(&cuStreamCreate)>::value);
  static_assert(Alike<decltype(Driver::stream_destroy), decltype(&cuStreamDestroy)>::value);
  static_assert(Alike<decltype(Driver::stream_synchronize), decltype(&cuStreamSynchronize)>::value);
  static_assert(Alike<decltype(Driver::stream_wait_event), decltype(&cuStreamWaitEvent)>::value);
  static_assert(Alike<decltype(Driver::event_create), decltype(&cuEventCreate)>::value);
  static_assert(Alike<decltype(Driver::event_destroy), decltype(&cuEventDestroy)>::value);
  static_assert(Alike<decltype(Driver::event_record), decltype(&cuEventRecord)>::value);
  static_assert(Alike<decltype(Driver::mem_alloc), decltype(&cuMemAlloc)>::value);
  static_assert(Alike<decltype(Driver::mem_free), decltype(&cuMemFree)>::value);
  static_assert(Alike<decltype(Driver::copy_to_device), decltype(&cuMemcpyHtoDAsync)>::value);
  static_assert(Alike<decltype(Driver::copy_to_host), decltype(&cuMemcpyDtoHAsync)>::value);
  static_assert(Alike<decltype(Driver::get_error_string), decltype(&cuGetErrorString)>::value);
}
#else
TEST(Nccl, DeclarationsAgreeWithTheHeader) { GTEST_SKIP() << "nccl.h or cuda.h is not installed"; }
#endif

bool can_open(const char* library) {
  void* handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return false;
  ::dlclose(handle);
  return true;
}

TEST(Nccl, TheDescriptionIsAVersionOrTheReasonWhyThereIsNone) {
  const std::string text = nccl_description();
  if (can_open("libnccl.so.2")) {
    EXPECT_TRUE(text.starts_with("NCCL 2.")) << text;
  } else {
    EXPECT_NE(text.find("libnccl.so.2"), std::string::npos) << text;
    EXPECT_NE(text.find("install NCCL"), std::string::npos) << text;
  }
}

TEST(Nccl, WhatIsMissingIsNamed) {
  const bool library = can_open("libnccl.so.2");
  if (library && can_open("libcuda.so.1")) GTEST_SKIP() << "NCCL and a driver are here";
  try {
    make_nccl_comm(nullptr, {Device::Type::cuda, 0});
    ADD_FAILURE() << "made without a library";
  } catch (const Error& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find(library ? "libcuda.so.1" : "libnccl.so.2"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace hr
