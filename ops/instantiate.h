// Lists of functors (ops/*_instances.h) become definitions of the GPU loops through these.
#pragma once
#include "ops/gpu_loops.h"

#define HR_FOR_EACH(...) template void hr::gpu::for_each(hr::cuda::Stream, int64_t, int64_t, const __VA_ARGS__&);
#define HR_REDUCE_ROWS(...) \
  template void hr::gpu::reduce_rows(hr::cuda::Stream, int64_t, int64_t, const __VA_ARGS__&, float*);
#define HR_FOR_COLUMNS(...) template void hr::gpu::for_columns(hr::cuda::Stream, int64_t, int64_t, const __VA_ARGS__&);
#define HR_FOR_EACH_FLAT(...) template void hr::gpu::for_each_flat(hr::cuda::Stream, int64_t, const __VA_ARGS__&);
