// The part of NCCL's support that a machine without a GPU can test: the declarations agree with the real headers where
// those are installed, and a missing library is named.
#include "core/comm/nccl.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include "core/comm/nccl_api.h"
#include "core/cuda.h"

#if __has_include(<nccl.h>)
#include <nccl.h>
#define HR_HAS_NCCL_HEADER 1
#endif

namespace hr {
namespace {

#ifdef HR_HAS_NCCL_HEADER
// A parameter of ours may stand for one of NCCL's if both are passed in the same register in the same way.
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
}
#else
TEST(Nccl, DeclarationsAgreeWithTheHeader) { GTEST_SKIP() << "nccl.h is not installed"; }
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
  if (library && cuda::device_count() > 0) GTEST_SKIP() << "NCCL and a GPU are here";
  try {
    make_nccl_comm(nullptr, {Device::Type::cuda, 0});
    ADD_FAILURE() << "made without a library";
  } catch (const Error& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find(library ? cuda::why_no_device() : "libnccl.so.2"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace hr
