// Max pooling, [N, H, W, C] -> [N, H', W', C]. Padding counts as -infinity.
#pragma once
#include "core/context.h"

namespace hr {

struct MaxPool2d {
  int kernel = 3, stride = 2, pad = 1;
};

// Backward: the first maximum in row-major order within the window receives the gradient, as in torch. Throws Error if
// the window does not fit.
Tensor max_pool2d(Context& cx, const Tensor& x, const MaxPool2d& options = {});

}  // namespace hr
