// Depthwise convolution: every channel has a filter of its own. For inference alone, it has no derivative.
#pragma once
#include "core/context.h"

namespace hr {

struct DepthwiseConv2d {
  int stride = 1, pad = 1;
  const Tensor* bias = nullptr;  // [C] f32
  bool silu = false;             // y = v sigmoid(v) of the sum v
};

// torch.nn.functional.conv2d with groups = C. x [N, H, W, C], filter [k, k, C] f32 -> [N, H', W', C] of x's type, with
// H' = (H + 2 pad - k) / stride + 1. Throws Error if shapes do not fit, the output is empty, or a gradient is asked
// for.
Tensor depthwise_conv2d(Context& cx, const Tensor& x, const Tensor& filter, const DepthwiseConv2d& options = {});

}  // namespace hr
