// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) on flat slabs: one pass over all parameters.
#pragma once
#include "core/context.h"

namespace hr {

struct AdamStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  // true: AdamW, p -= lr * wd * p first; false: wd * p is added to the gradient (torch's Adam)
  int64_t step = 1;        // counts from 1
};

// All of one length, f32, updated in place: p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps).
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& step);

}  // namespace hr
