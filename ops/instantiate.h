// Turns the lists at the ends of ops/*_kernel.h into definitions of the GPU loops for those functors. It must come
// after the loops' own definitions and before the kernel headers, which read it once.
#pragma once
#include "ops/gpu_loops.h"
#include "ops/kernel.h"

#undef HR_FOR_EACH
#undef HR_REDUCE_ROWS
#undef HR_FOR_COLUMNS
#undef HR_FOR_EACH_FLAT
#define HR_FOR_EACH(...) template void hr::gpu::for_each(hr::cuda::Stream, int64_t, int64_t, const __VA_ARGS__&);
#define HR_REDUCE_ROWS(...) \
  template void hr::gpu::reduce_rows(hr::cuda::Stream, int64_t, int64_t, const __VA_ARGS__&, float*);
#define HR_FOR_COLUMNS(...) template void hr::gpu::for_columns(hr::cuda::Stream, int64_t, int64_t, const __VA_ARGS__&);
#define HR_FOR_EACH_FLAT(...) template void hr::gpu::for_each_flat(hr::cuda::Stream, int64_t, const __VA_ARGS__&);
