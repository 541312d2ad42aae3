// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) on flat slabs: one pass over all parameters.
#pragma once
#include "core/context.h"
#include "ops/adam_step.h"

namespace hr {

// All of one length, f32, updated in place: p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps).
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& step);

// What of a step lies on the device, so that a captured graph can be launched again with another learning rate and
// step number.
struct AdamOnDevice {
  Tensor lr;     // [1] f64
  Tensor steps;  // [1] i64: steps taken so far; this one is counted
  Tensor loss;   // [1] f32: if it is not finite nothing is updated and the step is not counted; may be undefined
};
// The same with `lr` and `step` of `settings` replaced by those.
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& settings, const AdamOnDevice& on_device);

}  // namespace hr
