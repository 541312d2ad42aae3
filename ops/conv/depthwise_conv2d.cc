#include "ops/conv/depthwise_conv2d.h"

#include "ops/conv/depthwise_conv2d_kernel.h"
#include "ops/dispatch.h"
#include "ops/for_each.h"
#include "ops/trace.h"

namespace hr {

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
