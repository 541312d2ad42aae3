// Batch normalisation's statistics. The normalised tensor itself exists only inside `fuse`'s output, and fuse's
// backward pass computes the reductions that batch normalisation needs.
#pragma once
#include "core/context.h"

namespace hr {

struct BatchNormState {
  Tensor weight, bias;                // [C] f32, learned
  Tensor running_mean, running_var;   // [C] f32, updated in training mode
  double eps = 1e-5, momentum = 0.1;  // torch's convention: running = (1 - momentum) running + momentum batch
};

// x normalised, as an affine map per channel still to be applied: x * scale + shift.
struct Normalised {
  Tensor scale, shift;   // [C] f32
  Tensor mean, inv_std;  // [C] f32, what normalises: of the batch in training mode, running otherwise
  Tensor weight, bias;   // the learned tensors, whose gradients fuse's backward writes
  bool batch_statistics = false;
  Comm* ranks = nullptr;  // the statistics are over the batches of all of these,
  Tensor count;           // [C] f64: this many values each
};

// Training mode: mean and biased variance over N, H, W normalise; the running variance takes the unbiased one (torch
// does the same). Per-block sums are shifted by the block's first row, so that large means lose nothing, and merged in
// a fixed order: the same bits with any number of threads. Error if a channel has one value only.
// With cx.sync_bn the ranks' counts, means and sums of squared deviations are gathered and merged in the order of ranks
// (in double), so that all ranks get the same statistics: those of one batch with everybody's samples. `fuse` adds up
// the backward pass's two reductions over the ranks; the learned tensors' gradients stay each rank's own.
Normalised batch_norm(Context& cx, const Tensor& x, const BatchNormState& state);

// For inference: the running statistics as a filter and a bias. filter [O, kh, kw, I] f32 times weight * inv_std per
// output channel; the bias is the returned Normalised's shift.
struct FoldedFilter {
  Tensor filter, bias;
};
FoldedFilter fold_batch_norm(Context& cx, const Tensor& filter, const BatchNormState& state);

}  // namespace hr
