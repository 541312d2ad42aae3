// ops/gpu_loops.h on the simulated device: every loop of every functor, by the CPU's loops when its time has come.
#include <cstring>

#include "ops/for_each.h"
#include "tests/simulated_gpu/simulator.h"

namespace hr::gpu {

template <class F>
void for_each(cuda::Stream stream, int64_t rows, int64_t channels, const F& f) {
  simulator::enqueue(stream, [=] { hr::for_each(Context(), rows, channels, f); });
}
template <class F>
void reduce_rows(cuda::Stream stream, int64_t rows, int64_t channels, const F& f, float* partial) {
  simulator::enqueue(stream, [=] {
    const Partials p = hr::reduce_rows(Context(), rows, channels, f);
    std::memcpy(partial, p.sums.raw(), p.sums.bytes());
  });
}
template <class F>
void for_columns(cuda::Stream stream, int64_t parts, int64_t channels, const F& f) {
  simulator::enqueue(stream, [=] { hr::for_columns(Context(), parts, channels, f); });
}
template <class F>
void for_each_flat(cuda::Stream stream, int64_t n, const F& f) {
  simulator::enqueue(stream, [=] { hr::for_each_flat(Context(), n, f); });
}

}  // namespace hr::gpu

#include "ops/instantiate.h"
//
#include "ops/adam_instances.h"
#include "ops/batch_norm_instances.h"
#include "ops/crop_instances.h"
#include "ops/fuse_instances.h"
#include "ops/gpu_conv_instances.h"
#include "ops/heatmaps_instances.h"
#include "ops/joints_loss_instances.h"
#include "ops/max_pool2d_instances.h"
#include "ops/sum_instances.h"
