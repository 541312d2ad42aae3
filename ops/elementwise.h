// Ops that treat every element by itself: arithmetic, sums of gradients with fan-out, conversion of element types,
// copies.
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

// Sum of tensors of one shape and dtype. A single addend is returned as it is (shared, do not write to it).
Tensor sum(Context& cx, std::span<const Tensor> addends);

// For a backward function: takes the whole gradient of the value `id`; undefined if nothing used it.
Tensor take_gradient(Context& cx, uint64_t id);

// For a backward function: dx is one more addend of the gradient of x, a tensor of x's shape and type. It goes to the
// bound gradient of a parameter, or to the tape; others may hold it, so it is never written to.
void add_gradient(Context& cx, const Tensor& x, Tensor dx);

// a + b and a * b, element by element; computed in float32, rounded once. b has the shape and type of a, or is [C] f32
// where a is [..., C]: one number per channel, such as a plain parameter. Both have gradients. Throws Error for other
// shapes. HRNet itself sums within `fuse` (ops/fuse.h), which costs fewer passes over memory.
Tensor add(Context& cx, const Tensor& a, const Tensor& b);
Tensor mul(Context& cx, const Tensor& a, const Tensor& b);

// max(x, 0). The derivative at 0 is 0, as torch's is; a NaN stays a NaN.
Tensor relu(Context& cx, const Tensor& x);

// Elements converted to `dtype` (f32 <-> bf16, to nearest even); the same tensor if it has that type already. The
// gradient is converted back to x's type.
Tensor cast(Context& cx, const Tensor& x, DType dtype);

// `to` = `from` rounded to bf16; both exist already.
void round_to(Context& cx, const Tensor& from, const Tensor& to);

// Writes `from` (any shape of equal numel) over or onto `to`; both f32.
void copy_or_add(Context& cx, const Tensor& from, const Tensor& to, bool add);

// Writes `from` over `to`, both f32 of equal numel, if `loss` ([1] f32) is infinite or NaN.
void copy_unless_finite(Context& cx, const Tensor& loss, const Tensor& from, const Tensor& to);

}  // namespace hr
