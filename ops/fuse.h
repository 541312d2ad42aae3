// The one elementwise op of the networks:
//   y[n, h, w, c] = act( sum over terms t of  scale_t[c] * x_t[n, h >> u_t, w >> u_t, c] + shift_t[c] )
// It covers the application of BN, BN + ReLU, BN + residual + ReLU, nearest upsampling and HRNet's multi-resolution
// sum, each in one pass over memory. Terms are added from left to right, as in the reference.
#pragma once
#include <vector>

#include "core/context.h"
#include "ops/batch_norm.h"

namespace hr {

struct FuseTerm {
  Tensor x;                          // [N, H >> up, W >> up, C].
  const Normalised* norm = nullptr;  // Scale and shift. Null: the term is x itself.
  int up = 0;                        // The binary logarithm of the nearest upsampling, 0 to 3.
};

enum class Act { none, relu };

// Takes 1 to 4 terms; y has the shape of a term with up = 0, or of term 0 upsampled. Throws Error if shapes do not
// agree.
// Backward: one pass masks the gradient of y and sums it over the uses of y. It is then reduced for every normalised
// term (torch's derivative of batch norm when the statistics are those of the batch), and summed over the footprint of
// each low-resolution pixel for upsampled terms. The derivative of ReLU at 0 is 0. For ReLU of one normalised tensor
// that is used once there is no separate pass for the mask: it is recomputed from x where x is read anyway.
Tensor fuse(Context& cx, const std::vector<FuseTerm>& terms, Act act = Act::none);

}  // namespace hr
