// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019) on flat slabs: one pass over all parameters.
#pragma once
#include "core/context.h"
#include "ops/adam_step.h"

namespace hr {

// Updates one step. All tensors have the same length, are f32 and are updated in place. With m_hat = m / (1 - beta1^t)
// and v_hat = v / (1 - beta2^t): p -= lr * m_hat / (sqrt(v_hat) + eps). Throws Error if lengths or types differ.
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& step);

// The parts of a step that lie on the device, so that a captured graph can be launched again with another learning rate
// and step number.
struct AdamOnDevice {
  Tensor lr;     // [1] f64.
  Tensor steps;  // [1] i64: the steps taken so far. This function counts the current one.
  Tensor loss;   // [1] f32. If it is not finite, nothing is updated and the step is not counted. May be undefined.
  // Like `param`, but bf16: receives the new values, rounded as round_to() does. If nothing is updated, neither is
  // this. Elements of frozen blocks are left out. May be undefined.
  Tensor rounded = {};
};
// Settings that differ between parameters, and a factor for all gradients. Either tensor may be undefined.
struct AdamByBlock {
  Tensor blocks;  // [n / kAdamBlock] u8, the bits of ops/adam_step.h.
  Tensor scale;   // [1] f32. The gradients are multiplied by it when they are read; the slab of gradients is unchanged.
};
// Computes the same step, but with the learning rate and the step number on the device in place of those in `settings`.
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& settings, const AdamOnDevice& on_device);
// Computes the same step with settings per block. Also throws Error if the number of blocks is not n / kAdamBlock.
void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& settings, const AdamOnDevice& on_device, const AdamByBlock& by_block);

}  // namespace hr
