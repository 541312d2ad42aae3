// Heatmap regression losses. pred and target [N, h, w, K], joint_weight [N, K] f32.
#pragma once
#include "core/context.h"

namespace hr {

enum class JointsLoss {
  official,  // (1/K) sum_k 0.5 mean_{n,pixels} (w p - w g)^2. The weight w is squared.
  seed,      // (1/N) sum_{n,k} w mean_pixels (p - g)^2
};

// Returns a scalar [1] f32. In both losses invisible joints (weight 0) count in the denominator. Throws Error if shapes
// or types do not fit.
Tensor joints_loss(Context& cx, const Tensor& pred, const Tensor& target, const Tensor& joint_weight, JointsLoss kind);

}  // namespace hr
