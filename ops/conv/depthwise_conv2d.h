// Depthwise convolution: every channel has its own filter. For inference only; it has no derivative.
#pragma once
#include "core/context.h"

namespace hr {

struct DepthwiseConv2d {
  int stride = 1, pad = 1;
  const Tensor* bias = nullptr;  // [C] f32.
  bool silu = false;             // y = v sigmoid(v) for the sum v.
};

// torch.nn.functional.conv2d with groups = C. x [N, H, W, C], filter [k, k, C] f32 -> [N, H', W', C] of the type of x,
// with H' = (H + 2 pad - k) / stride + 1. Throws Error if shapes do not fit, the output would be empty, or a gradient
// is requested.
Tensor depthwise_conv2d(Context& cx, const Tensor& x, const Tensor& filter, const DepthwiseConv2d& options = {});

}  // namespace hr
