// Mean squared error.
#pragma once
#include "core/context.h"

namespace hr {

// (1 / n) sum over all n elements of (pred - target)^2, a scalar [1] f32; torch.nn.functional.mse_loss. pred is f32 or
// bf16 of any shape, target f32 of the same shape. The gradient is pred's alone. Throws Error if the shapes differ, if
// there are no elements, or if target wants a gradient.
Tensor mse(Context& cx, const Tensor& pred, const Tensor& target);

}  // namespace hr
