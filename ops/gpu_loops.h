// The loops of ops/for_each.h on a CUDA stream. Defined in ops/for_each.cuh and instantiated, in .cu files that
// CMake writes, for the functors that the ops/*_kernel.h list; without CUDA, in ops/kernels_stub.cc.
#pragma once
#include <cstdint>

#include "core/cuda_types.h"

namespace hr::gpu {

template <class F>
void for_each(cuda::Stream stream, int64_t rows, int64_t channels, const F& f);
template <class F>
void reduce_rows(cuda::Stream stream, int64_t rows, int64_t channels, const F& f, float* partial);
template <class F>
void for_columns(cuda::Stream stream, int64_t parts, int64_t channels, const F& f);
template <class F>
void for_each_flat(cuda::Stream stream, int64_t n, const F& f);

}  // namespace hr::gpu
