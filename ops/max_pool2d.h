// Max pooling, [N, H, W, C] -> [N, H', W', C]; padding counts as -infinity.
#pragma once
#include "core/context.h"

namespace hr {

struct MaxPool2d {
  int kernel = 3, stride = 2, pad = 1;
};

// Backward: the first maximum in row-major window order takes the gradient, as torch does.
Tensor max_pool2d(Context& cx, const Tensor& x, const MaxPool2d& options = {});

}  // namespace hr
