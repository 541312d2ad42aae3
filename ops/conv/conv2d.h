// 2-d convolution and its transpose, [N, H, W, I] -> [N, H', W', O].
#pragma once
#include <span>

#include "ops/concat.h"
#include "ops/conv/backend.h"

namespace hr {

struct Conv2d {
  int stride = 1, pad = 0;
  const Tensor* bias = nullptr;  // [O] f32.
  // Inference epilogue: y = relu?(conv + bias? + add?), or with silu y = v sigmoid(v) + add? for v = conv + bias?.
  // Training uses `fuse` for this; if a tape is recording, these options throw Error.
  const Tensor* add = nullptr;  // Has the shape and type of y.
  // The caller does not read `add` again. Where no other tensor shares its memory and the backend allows it, y takes
  // that memory, which saves memory and the time to fetch it into the caches.
  bool over_add = false;
  // If not null, y is this memory, for example some pictures of a larger tensor. Has the shape and type of y. Not while
  // a tape records, and only where writes_into() is true.
  const Tensor* into = nullptr;
  bool relu = false, silu = false;
  PackedFilters* packed = nullptr;  // Keeps reordered filters. Only for filters that never change.
  bool f32_output = false;          // Heatmaps leave the network in float32, under bf16 too.
  const Tensor* rounded = nullptr;  // The filter rounded to bf16, if the caller keeps it.
  // If not null, receives the statistics of y for batch_norm() where the backend computes them in the same pass, and
  // an undefined tensor elsewhere. Not together with a bias or the inference epilogue.
  Tensor* statistics = nullptr;
};

// Cross-correlation as in torch.nn.functional.conv2d (groups 1, dilation 1). filter [O, kh, kw, I] f32 is converted to
// the type of x; H' = (H + 2 pad - kh) / stride + 1. Throws Error if channels do not match or the output would be
// empty.
Tensor conv2d(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options = {});

// Returns whether Conv2d::into is possible for an x of this type. It is not where x is converted to f32 and y back.
bool writes_into(const Context& cx, DType type);

// Returns whether conv2d(cx, terms, ...) reads the terms from their places, without making their concatenation. It does
// so for float32 on a CPU with AVX2, if neither a tape nor a trace records.
bool joins_terms(Context& cx, std::span<const ConcatTerm> terms);
// The 1x1 convolution of concat(cx, terms), for inference; `add` must be null. Throws Error as concat() and conv2d()
// do.
Tensor conv2d(Context& cx, std::span<const ConcatTerm> terms, const Tensor& filter, const Conv2d& options);

// torch.nn.functional.conv_transpose2d with output_padding 0. filter is [O, kh, kw, I] (torch stores [I, O, kh, kw]);
// H' = (H - 1) stride - 2 pad + kh. Throws Error if channels do not match or the output would be empty.
Tensor conv_transpose2d(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options = {});

}  // namespace hr
