// The one elementwise op of the network:
//   y[n, h, w, c] = act( sum over terms t of  scale_t[c] * x_t[n, h >> u_t, w >> u_t, c] + shift_t[c] )
// It is BN-apply, BN + ReLU, BN + residual + ReLU, nearest upsampling and HRNet's multi-resolution sum, each in one
// pass over memory. Terms are added left to right, as the reference does.
#pragma once
#include <vector>

#include "core/context.h"
#include "ops/batch_norm.h"

namespace hr {

struct FuseTerm {
  Tensor x;                          // [N, H >> up, W >> up, C]
  const Normalised* norm = nullptr;  // scale and shift; none: x itself
  int up = 0;                        // log2 of nearest upsampling, 0 to 3
};

enum class Act { none, relu };

// 1 to 4 terms; y has the shape of a term with up = 0, or of term 0 upsampled. Error if shapes do not agree.
// Backward: the gradient of y is masked and summed over its fan-out in one pass, reduced for every normalised term
// (torch's batch-norm derivative when the statistics are of the batch), summed over footprints for upsampled ones.
// ReLU's derivative at 0 is 0. ReLU of one normalised tensor that is used once is not masked in a pass of its own: the
// mask is made again from x where that is read anyway.
Tensor fuse(Context& cx, const std::vector<FuseTerm>& terms, Act act = Act::none);

}  // namespace hr
