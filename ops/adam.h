// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) on flat slabs: one pass over all parameters.
#pragma once
#include <array>

#include "core/context.h"

namespace hr {

struct AdamStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  // true: AdamW, p -= lr * wd * p first; false: wd * p is added to the gradient (torch's Adam)
  int64_t step = 1;        // counts from 1
};

// The factors that one step's arithmetic needs, made in double: what `adam` reads from its tensor of numbers.
constexpr int kAdamNumbers = 8;
std::array<float, kAdamNumbers> adam_numbers(const AdamStep& step);

// All of one length, f32, updated in place: p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps).
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& step);
// The same with numbers [kAdamNumbers] f32 that lie on the device, so that a captured graph can be launched again with
// others. Nothing is updated when `loss` (one f32, may be undefined) is not finite.
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const Tensor& numbers, const Tensor& loss);

}  // namespace hr
