// Implements ops/gpu_loops.h on the simulated device: each launch is queued in its stream and then runs the CPU's loop.
#include <cstring>

#include "core/gpu_switches.h"
#include "core/launch_order.h"
#include "ops/conv/tile_conv_launch.h"
#include "ops/for_each.h"
#include "tests/simulated_gpu/simulator.h"
#include "tests/support/conv_stand_in.h"

namespace hr::gpu {
namespace {

// As the launches of ops/for_each.cuh. The kernels of ops/loops_kernels.cuh wait before they do anything else.
void queue(cuda::Stream stream, std::function<void()> loop) {
  const bool dependent = dependent_launch() != DependentLaunch::off && cuda::ends_with_kernel(stream);
  if (dependent) {
    simulator::enqueue_dependent(stream, [loop = std::move(loop)](const std::function<void()>& wait) {
      wait();
      loop();
    });
  } else {
    simulator::enqueue(stream, std::move(loop));
  }
  cuda::note_kernel(stream);
}

}  // namespace

template <class F>
void for_each(cuda::Stream stream, int64_t rows, int64_t channels, const F& f) {
  queue(stream, [=] { hr::for_each(Context(), rows, channels, f); });
}
template <class F>
void reduce_rows(cuda::Stream stream, int64_t rows, int64_t channels, const F& f, float* partial) {
  queue(stream, [=] {
    const Partials p = hr::reduce_rows(Context(), rows, channels, f);
    std::memcpy(partial, p.sums.raw(), p.sums.bytes());
  });
}
template <class F>
void for_columns(cuda::Stream stream, int64_t parts, int64_t channels, const F& f) {
  queue(stream, [=] { hr::for_columns(Context(), parts, channels, f); });
}
template <class F>
void for_each_flat(cuda::Stream stream, int64_t n, const F& f) {
  queue(stream, [=] { hr::for_each_flat(Context(), n, f); });
}

}  // namespace hr::gpu

#include "ops/instantiate.h"
//
#include "ops/all_kernels.h"

// Our own convolution kernels are computed in the same way as those of the libraries (tests/support/conv_stand_in.h).
namespace hr::gpu {
namespace {

ConvProblem tile_problem(ConvProblem::Pass pass, int n, int h, int w, int ci, int co, DType dst) {
  return {{.n = n, .h = h, .w = w, .ci = ci, .co = co, .kh = 3, .kw = 3, .pad = 1, .src = DType::bf16, .dst = dst},
          pass};
}

ConvProblem stem_problem(ConvProblem::Pass pass, int n, int h, int w, DType dst) {
  return {{.n = n,
           .h = h,
           .w = w,
           .ci = 3,
           .co = 64,
           .kh = 3,
           .kw = 3,
           .stride = 2,
           .pad = 1,
           .src = DType::bf16,
           .dst = dst},
          pass};
}

}  // namespace

void tile_conv(cuda::Stream stream, const TileConvLaunch& l) {
  using Pass = ConvProblem::Pass;
  ConvProblem p = tile_problem(l.flipped ? Pass::backward_data : Pass::forward, l.n, l.h, l.w, 32, 32, DType::bf16);
  p.bias = l.bias != nullptr, p.add = l.add != nullptr, p.relu = l.relu;
  ConvBuffers buffers{.filter = l.filter, .out = l.y, .bias = l.bias, .add = l.add};
  (l.flipped ? buffers.y : buffers.x) = l.x;
  simulator::enqueue(stream, [=] { test::compute_convolution(p, buffers); });
}

void tile_filter_gradient(cuda::Stream stream, const TileFilterGradientLaunch& l) {
  const ConvProblem p = tile_problem(ConvProblem::Pass::backward_filter, l.n, l.h, l.w, l.ci, l.co, DType::f32);
  simulator::enqueue(stream, [=] { test::compute_convolution(p, {.x = l.x, .y = l.dy, .out = l.filter}); });
}

void stem_conv(cuda::Stream stream, const StemConvLaunch& l) {
  ConvProblem p = stem_problem(ConvProblem::Pass::forward, l.n, l.h, l.w, DType::bf16);
  p.bias = l.bias != nullptr, p.relu = l.relu;
  simulator::enqueue(stream,
                     [=] { test::compute_convolution(p, {.x = l.x, .filter = l.filter, .out = l.y, .bias = l.bias}); });
}

void stem_filter_gradient(cuda::Stream stream, const StemFilterGradientLaunch& l) {
  const ConvProblem p = stem_problem(ConvProblem::Pass::backward_filter, l.n, l.h, l.w, DType::f32);
  simulator::enqueue(stream, [=] { test::compute_convolution(p, {.x = l.x, .y = l.dy, .out = l.filter}); });
}

}  // namespace hr::gpu
