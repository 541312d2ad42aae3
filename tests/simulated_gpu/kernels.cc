// ops/gpu_loops.h on the simulated device: every loop of every functor, by the CPU's loops when its time has come.
#include "ops/for_each.h"
#include "tests/simulated_gpu/simulator.h"

namespace hr::gpu {

template <class F>
void for_each(cuda::Stream stream, int64_t rows, int64_t channels, const F& f) {
  simulator::enqueue(stream, [=] { hr::for_each(Context(), rows, channels, f); });
}
template <class R>
void reduce_rows(cuda::Stream stream, int64_t rows, int64_t channels, const R& f, float* partial) {
  const auto blocks = launch_reduction(rows, channels, sizeof(typename decltype(f.rows)::Element)).row_blocks(rows);
  simulator::enqueue(stream, [=] {
    hr::detail::reduce_blocks(blocks, channels, f.rows, partial);
    hr::detail::merge_parts(blocks.count, channels, f.merge);
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
#include "ops/filter_layout_instances.h"
#include "ops/fuse_instances.h"
#include "ops/heatmaps_instances.h"
#include "ops/joints_loss_instances.h"
#include "ops/max_pool2d_instances.h"
#include "ops/sum_instances.h"
