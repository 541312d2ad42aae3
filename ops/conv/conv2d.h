// 2-d convolution and its transpose, [N, H, W, I] -> [N, H', W', O].
#pragma once
#include "ops/conv/backend.h"

namespace hr {

struct Conv2d {
  int stride = 1, pad = 0;
  const Tensor* bias = nullptr;  // [O] f32
  // Inference epilogue: y = relu?(conv + bias? + add?), or with silu y = v sigmoid(v) + add? of v = conv + bias?.
  // Training uses `fuse` instead; with a tape these are refused.
  const Tensor* add = nullptr;  // like y
  bool relu = false, silu = false;
  PackedFilters* packed = nullptr;  // keeps reordered filters; only for filters that never change
  bool f32_output = false;          // heatmaps leave the network in float32 under bf16 too
  const Tensor* rounded = nullptr;  // the filter already rounded to bf16, where the caller keeps it
};

// Cross-correlation as in torch.nn.functional.conv2d (groups 1, dilation 1). filter [O, kh, kw, I] f32 is converted to
// x's type; H' = (H + 2 pad - kh) / stride + 1. Error on channel mismatch or an empty output.
Tensor conv2d(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options = {});

// torch.nn.functional.conv_transpose2d, output_padding 0. filter [O, kh, kw, I] (torch stores [I, O, kh, kw]);
// H' = (H - 1) stride - 2 pad + kh.
Tensor conv_transpose2d(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options = {});

}  // namespace hr
