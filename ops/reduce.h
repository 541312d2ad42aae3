// Sums over a tensor.
#pragma once
#include "core/context.h"

namespace hr {

// y[c] = sum of x[..., c] over everything before the last dim; y [C] f32.
void column_sum(Context& cx, const Tensor& x, const Tensor& y);

}  // namespace hr
