// Implements ops/gpu_loops.h on the simulated device: each launch is queued in its stream and then runs the CPU's loop.
#include <algorithm>
#include <cstring>
#include <vector>

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
  ConvProblem p =
      tile_problem(l.flipped ? Pass::backward_data : Pass::forward, l.n, l.h, l.w, l.channels, l.channels, DType::bf16);
  p.bias = l.bias != nullptr, p.add = l.add != nullptr, p.relu = l.relu;
  ConvBuffers buffers{.filter = l.filter, .out = l.y, .bias = l.bias, .add = l.add};
  (l.flipped ? buffers.y : buffers.x) = l.x;
  simulator::enqueue(stream, [=] { test::compute_convolution(p, buffers); });
}

// The pixels are dealt out to the parts one by one. Every part has at least one.
void tile_conv_with_statistics(cuda::Stream stream, const TileStatisticsLaunch& l) {
  const ConvProblem p = tile_problem(ConvProblem::Pass::forward, l.n, l.h, l.w, l.channels, l.channels, DType::bf16);
  simulator::enqueue(stream, [=] {
    test::compute_convolution(p, {.x = l.x, .filter = l.filter, .out = l.y});
    const int64_t blocks = tile_conv_blocks(l.n, l.h, l.w, l.channels, l.multiprocessors), channels = l.channels;
    std::fill_n(l.parts, blocks * 4 * channels, 0.0f);
    for (int64_t pixel = 0; pixel < int64_t{l.n} * l.h * l.w; ++pixel) {
      float* part = l.parts + pixel % blocks * 4 * channels;
      for (int64_t c = 0; c < channels; ++c, ++part) {
        const float y = to_float(l.y[pixel * channels + c]);
        if (part[0] == 0) part[channels] = y;
        const float d = y - part[channels];
        part[0] += 1;
        part[2 * channels] += d;
        part[3 * channels] += d * d;
      }
    }
  });
}

void tile_conv_with_gradient_epilogue(cuda::Stream stream, const TileGradientLaunch& l) {
  const ConvProblem p =
      tile_problem(ConvProblem::Pass::backward_data, l.n, l.h, l.w, l.channels, l.channels, DType::bf16);
  simulator::enqueue(stream, [=] {
    const int64_t blocks = tile_conv_blocks(l.n, l.h, l.w, l.channels, l.multiprocessors), channels = l.channels,
                  pixels = int64_t{l.n} * l.h * l.w;
    std::vector<bf16> gradient(static_cast<size_t>(pixels * channels));
    test::compute_convolution(p, {.filter = l.filter, .y = l.dy, .out = gradient.data()});
    if (l.sums != nullptr) std::fill_n(l.sums, blocks * 2 * channels, 0.0f);
    for (int64_t i = 0; i < pixels * channels; ++i) {
      const int64_t pixel = i / channels, c = i % channels;
      float g = to_float(gradient[static_cast<size_t>(i)]);
      if (l.add != nullptr) g += to_float(l.add[i]);
      const float sign = l.mask != nullptr   ? to_float(l.mask[i])
                         : l.bits != nullptr ? static_cast<float>(l.bits[i / 8] >> i % 8 & 1)
                                             : to_float(l.normalised[i]) * l.scale[c] + l.shift[c];
      l.dx[i] = static_cast<bf16>(where_positive(sign, g));
      if (l.normalised == nullptr) continue;
      float* sums = l.sums + pixel % blocks * 2 * channels + c;
      sums[0] += to_float(l.dx[i]);
      sums[channels] += to_float(l.dx[i]) * (to_float(l.normalised[i]) - l.mean[c]);
    }
  });
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
