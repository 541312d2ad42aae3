// Ops that treat every element by itself: arithmetic, sums of gradients with fan-out, conversion of element types,
// copies.
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

// Returns the sum of tensors of the same shape and type. A single addend is returned itself, so the result may share
// memory with it and must not be overwritten.
Tensor sum(Context& cx, std::span<const Tensor> addends);

// For backward functions: removes the gradient of the value `id` from the tape and returns it, summed over all uses of
// the value. It is undefined if nothing used the value.
Tensor take_gradient(Context& cx, uint64_t id);

// For backward functions: adds dx, which has the shape and type of x, to the gradient of x. If x is a bound parameter,
// it is added to the gradient slab, otherwise it is kept on the tape. dx may be shared and is never overwritten.
void add_gradient(Context& cx, const Tensor& x, Tensor dx);

// a + b and a * b, element by element; computed in float32, rounded once. b has the shape and type of a, or is [C] f32
// where a is [..., C]: one number per channel, such as a plain parameter. Both have gradients. Throws Error for other
// shapes. HRNet itself sums within `fuse` (ops/fuse.h), which costs fewer passes over memory.
Tensor add(Context& cx, const Tensor& a, const Tensor& b);
Tensor mul(Context& cx, const Tensor& a, const Tensor& b);

// max(x, 0). The derivative at 0 is 0, as torch's is; a NaN stays a NaN.
Tensor relu(Context& cx, const Tensor& x);

// Converts the elements to `dtype` (f32 or bf16, rounded to nearest even). Returns x itself if it has that type
// already. The gradient is converted back to x's type.
Tensor cast(Context& cx, const Tensor& x, DType dtype);

// Writes `from` rounded to bf16 into the existing tensor `to`.
void round_to(Context& cx, const Tensor& from, const Tensor& to);

// Overwrites `to` with `from`, or adds `from` to it if `add` is true. Both are f32 with the same number of elements;
// the shapes may differ.
void copy_or_add(Context& cx, const Tensor& from, const Tensor& to, bool add);

// Writes `from` over `to`, both f32 of equal numel, if `loss` ([1] f32) is infinite or NaN.
void copy_unless_finite(Context& cx, const Tensor& loss, const Tensor& from, const Tensor& to);

}  // namespace hr
