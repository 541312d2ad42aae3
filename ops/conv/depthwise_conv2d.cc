#include "ops/conv/depthwise_conv2d.h"

#include <algorithm>

#include "ops/conv/depthwise_conv2d_kernel.h"
#include "ops/conv/depthwise_loops.h"
#include "ops/dispatch.h"
#include "ops/for_each.h"
#include "ops/trace.h"

namespace hr {
namespace {

// Uses the loops for 3x3 filters in float32 on the CPU and returns true, or returns false if they do not fit.
bool fast_loop(const Context& cx, const Tensor& x, const Tensor& filter, const DepthwiseConv2d& o, const Tensor& y) {
  if (cx.device.is_cuda() || x.dtype() != DType::f32 || filter.dim(0) != 3 || o.stride > 2) return false;
  static const depthwise::Loop loop = depthwise::loop_at(cpu_level());
  if (loop == nullptr) return false;
  const depthwise::Problem p{.x = x.data<float>(),
                             .filter = filter.data<float>(),
                             .bias = o.bias != nullptr ? o.bias->data<float>() : nullptr,
                             .y = y.data<float>(),
                             .h = x.dim(1),
                             .w = x.dim(2),
                             .channels = x.dim(3),
                             .out_h = y.dim(1),
                             .out_w = y.dim(2),
                             .stride = o.stride,
                             .pad = o.pad,
                             .silu = o.silu};
  const int64_t pixels = x.dim(0) * p.out_h * p.out_w;
  const PixelPieces pieces(pixels, compute_threads());
  const auto body = [p, pieces](int64_t piece) { loop(p, pieces.begin(piece), pieces.begin(piece + 1)); };
  if (cx.loops == nullptr) {
    parallel_for(pieces.count, 4 * y.numel(), body);
  } else {
    cx.loops->add({.pieces = pieces.count,
                   .body = [body](int64_t piece, LoopWorker&) { body(piece); },
                   .pixels = pixels,
                   .operands = LoopOperands{.reads = {bytes_of(x)}, .writes = {bytes_of(y)}}});
  }
  return true;
}

}  // namespace

Tensor depthwise_conv2d(Context& cx, const Tensor& x, const Tensor& filter, const DepthwiseConv2d& o) {
  check(x.rank() == 4, "depthwise_conv2d: expected x of [N, H, W, C], got {}", to_string(x.shape()));
  check(
      filter.rank() == 3 && filter.dtype() == DType::f32 && filter.dim(0) == filter.dim(1) && filter.dim(2) == x.dim(3),
      "depthwise_conv2d: expected an f32 filter of [k, k, {}], got {} of {}", x.dim(3), to_string(filter.shape()),
      name_of(filter.dtype()));
  check(o.stride >= 1 && o.pad >= 0,
        "depthwise_conv2d: stride {} and pad {}; expected a stride of at least 1 and a pad of at least 0", o.stride,
        o.pad);
  check(o.bias == nullptr || (o.bias->numel() == x.dim(3) && o.bias->dtype() == DType::f32),
        "depthwise_conv2d: expected a bias of {} f32", x.dim(3));
  const int64_t k = filter.dim(0), h = x.dim(1), w = x.dim(2);
  check(x.dim(0) > 0 && h + 2 * o.pad >= k && w + 2 * o.pad >= k && o.pad < k,
        "depthwise_conv2d: input {} with kernel {}x{}, pad {} gives an empty output or windows outside the picture",
        to_string(x.shape()), k, k, o.pad);
  check(!cx.recording() || !(x.requires_grad() || filter.requires_grad()),
        "depthwise_conv2d has no derivative; run it without a tape");
  const int64_t out_h = (h + 2 * o.pad - k) / o.stride + 1, out_w = (w + 2 * o.pad - k) / o.stride + 1;
  Tensor y = cx.empty({x.dim(0), out_h, out_w, x.dim(3)}, x.dtype());
  const Operands operands(cx, {&x}, y);
  if (!fast_loop(cx, x, filter, o, y)) {
    for_dtype("depthwise_conv2d", x.dtype(), [&]<class T>() {
      for_each(cx, x.dim(0) * out_h * out_w, x.dim(3),
               DepthwiseForward<T>{.x = x.data<T>(),
                                   .filter = filter.data<float>(),
                                   .bias = o.bias != nullptr ? o.bias->data<float>() : nullptr,
                                   .y = y.data<T>(),
                                   .h = h,
                                   .w = w,
                                   .channels = x.dim(3),
                                   .out_h = out_h,
                                   .out_w = out_w,
                                   .kernel = static_cast<int>(k),
                                   .stride = o.stride,
                                   .pad = o.pad,
                                   .silu = o.silu});
    });
  }
  if (cx.trace != nullptr) {
    cx.trace->conv({.x = x,
                    .filter = filter,
                    .bias = o.bias,
                    .stride = o.stride,
                    .pad = o.pad,
                    .depthwise = true,
                    .silu = o.silu,
                    .y = y});
  }
  return y;
}

}  // namespace hr
