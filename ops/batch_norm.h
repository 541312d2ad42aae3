// The statistics of batch normalisation. The normalised tensor itself exists only in the output of `fuse`, and the
// backward pass of fuse computes the reductions that batch normalisation needs.
#pragma once
#include "core/context.h"

namespace hr {

struct BatchNormState {
  Tensor weight, bias;                // [C] f32, learned.
  Tensor running_mean, running_var;   // [C] f32, updated in training mode.
  double eps = 1e-5, momentum = 0.1;  // torch's convention: running = (1 - momentum) * running + momentum * batch.
};

// A normalised x in the form of an affine map per channel, x * scale + shift, which `fuse` applies.
struct Normalised {
  Tensor scale, shift;  // [C] f32.
  // [C] f32: the statistics in use, those of the batch in training mode and the running ones otherwise.
  Tensor mean, inv_std;
  Tensor weight, bias;  // The learned tensors, whose gradients the backward pass of fuse writes.
  bool batch_statistics = false;
  Comm* ranks = nullptr;  // If not null, the statistics are over the batches of all these ranks,
  Tensor count;           // and this is [C] f64, the number of values per channel.
};

// In training mode mean and biased variance over N, H, W normalise, and the running variance takes the unbiased one, as
// in torch. The sums of each block are shifted by the block's first row, so that large means lose no digits, and merged
// in a fixed order, so that the bits are the same with any number of threads. Throws Error if a channel has only one
// value.
// With cx.sync_bn the counts, means and sums of squared deviations of the ranks are gathered and merged in the order of
// ranks (in double). All ranks then get the statistics of one batch with the samples of all of them. `fuse` adds up the
// two reductions of the backward pass over the ranks; each rank keeps its own gradients of the learned tensors.
// `statistics` are those that conv2d computed together with x (Conv2d::statistics), or undefined: x is read then.
Normalised batch_norm(Context& cx, const Tensor& x, const BatchNormState& state, const Tensor& statistics = {});

// For inference: folds the running statistics into a filter and a bias. The filter [O, kh, kw, I] f32 is multiplied by
// weight * inv_std per output channel; the bias is the shift of the returned Normalised.
struct FoldedFilter {
  Tensor filter, bias;
};
FoldedFilter fold_batch_norm(Context& cx, const Tensor& filter, const BatchNormState& state);
// The same in the memory of `filter` and of state.bias. The rest of `state` becomes the batch norm that changes nothing
// but adds that bias (weight 1, mean 0, variance 1 - eps), so the layer still computes the same function, and folding
// it again changes no bit.
void fold_batch_norm_in_place(Context& cx, const Tensor& filter, const BatchNormState& state);

}  // namespace hr
