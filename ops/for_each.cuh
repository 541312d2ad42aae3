// Launches of the kernels in ops/loops_kernels.cuh.
#pragma once
#include <cuda_runtime.h>

#include "core/gpu_switches.h"
#include "core/launch_order.h"
#include "ops/instantiate.h"
#include "ops/loops_kernels.cuh"

namespace hr::gpu {
namespace detail {

// Calls body.operator()<N>() with N = lanes, so that the number of lanes is known at compile time. There are kernels
// for the lanes of a 16-byte access, for 2 and for 1.
template <class F, class Body>
void for_lanes(int lanes, const Body& body) {
  constexpr int kFull = static_cast<int>(16 / sizeof(typename F::Element));
  if (lanes == kFull) return body.template operator()<kFull>();
  if (lanes == 2) return body.template operator()<2>();
  body.template operator()<1>();
}

// Launches a kernel of ops/loops_kernels.cuh, which waits for the kernel
// in front of it itself if that may still be running.
template <class... Parameters, class... Arguments>
void launch(const char* what, cuda::Stream stream, void (*kernel)(Parameters...), unsigned blocks, dim3 threads,
            Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks);
  config.blockDim = threads;
  config.stream = stream;
  cudaLaunchAttribute dependent = {};
  dependent.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  dependent.val.programmaticStreamSerializationAllowed = 1;
  if (dependent_launch() != DependentLaunch::off && cuda::ends_with_kernel(stream)) {
    // Code for older GPUs, which a newer one may run as well, has no such wait.
    cudaFuncAttributes code = {};
    if (cudaFuncGetAttributes(&code, kernel) == cudaSuccess && code.ptxVersion >= 90) {
      config.attrs = &dependent;
      config.numAttrs = 1;
    }
  }
  cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cuda::check_launch(what);
  cuda::note_kernel(stream);
}

inline int starts_next() { return dependent_launch() == DependentLaunch::start ? kStartsNext : 0; }

}  // namespace detail

template <class F>
void for_each(cuda::Stream stream, int64_t rows, int64_t channels, const F& f) {
  if (rows == 0) return;
  const bool reverse = reversed_loops().elements, keep = keeps_coefficients<F> && coefficients_in_registers();
  const RowsLaunch l =
      launch_rows(rows, channels, sizeof(typename F::Element), detail::kRowsAtOnce<F>, keep ? kKeepingGrid : kGridCap);
  detail::for_lanes<F>(l.lanes, [&]<int N>() {
    auto kernel = reverse ? detail::for_each_kernel<F, N, true, false> : detail::for_each_kernel<F, N, false, false>;
    if constexpr (keeps_coefficients<F>) {
      if (keep)
        kernel = reverse ? detail::for_each_kernel<F, N, true, true> : detail::for_each_kernel<F, N, false, true>;
    }
    detail::launch("for_each", stream, kernel, l.blocks, dim3(l.threads_x, l.threads_y), f, rows,
                   static_cast<int>(channels), detail::starts_next());
  });
}

template <class F>
void reduce_rows(cuda::Stream stream, int64_t rows, int64_t channels, const F& f, float* partial) {
  if (rows == 0) return;
  const RowsLaunch l = launch_reduction(rows, channels, sizeof(typename F::Element));
  const int flags = (reversed_loops().sums ? kReverse : 0) | detail::starts_next();
  detail::for_lanes<F>(l.lanes, [&]<int N>() {
    detail::launch("reduce_rows", stream, detail::reduce_rows_kernel<F, N>, l.blocks, dim3(l.threads_x, l.threads_y), f,
                   rows, static_cast<int>(block_rows(rows)), static_cast<int>(channels), flags, partial);
  });
}

template <class F>
void for_columns(cuda::Stream stream, int64_t parts, int64_t channels, const F& f) {
  const ColumnsLaunch l = launch_columns(parts, channels);
  detail::launch("for_columns", stream, detail::for_columns_kernel<F>, l.blocks, dim3(kColumnThreads, l.strands), f,
                 parts, static_cast<int>(channels), detail::starts_next());
}

template <class F>
void for_each_flat(cuda::Stream stream, int64_t n, const F& f) {
  if (n == 0) return;
  constexpr int kFull = static_cast<int>(16 / sizeof(typename F::Element));
  const FlatLaunch l = launch_flat(n, kFull);
  detail::launch("for_each_flat", stream, detail::for_each_flat_kernel<F, kFull>, l.blocks, dim3(l.threads), f, n,
                 detail::starts_next());
}

}  // namespace hr::gpu
