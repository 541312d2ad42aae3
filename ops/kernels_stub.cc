// A build without CUDA only has declarations of the GPU loops. No context can reach them, because parse_device refuses
// a GPU.
#include "core/error.h"
#include "ops/gpu_loops.h"

namespace hr::gpu {
namespace {
[[noreturn]] void absent() { fail("this program was built without CUDA"); }
}  // namespace
template <class F>
void for_each(cuda::Stream, int64_t, int64_t, const F&) {
  absent();
}
template <class F>
void reduce_rows(cuda::Stream, int64_t, int64_t, const F&, float*) {
  absent();
}
template <class F>
void for_columns(cuda::Stream, int64_t, int64_t, const F&) {
  absent();
}
template <class F>
void for_each_flat(cuda::Stream, int64_t, const F&) {
  absent();
}
}  // namespace hr::gpu

#include "ops/instantiate.h"
//
#include "ops/adam_instances.h"
#include "ops/batch_norm_instances.h"
#include "ops/concat_instances.h"
#include "ops/conv/depthwise_conv2d_instances.h"
#include "ops/conv/gpu_conv_instances.h"
#include "ops/crop_instances.h"
#include "ops/fuse_instances.h"
#include "ops/heatmaps_instances.h"
#include "ops/joints_loss_instances.h"
#include "ops/max_pool2d_instances.h"
#include "ops/sum_instances.h"
