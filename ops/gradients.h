// Operations on a slab of gradients between the backward pass and the optimiser: its norm for clipping, and the mean
// over several batches. They run on the device and read the loss there, so a captured graph can contain them.
#pragma once
#include "core/context.h"
#include "ops/conv/backend.h"

namespace hr {

// Writes three numbers for clipping by the global norm to `result` [3] f32: the norm of `grad` (n elements, a multiple
// of 16), the factor min(1, most / (norm + 1e-6)) by which the gradients are to be multiplied, and a number that is
// finite if both the norm and `loss` ([1] f32, may be undefined) are finite. Squares are summed in float32 within
// blocks of rows, and the sums of the blocks in double. Throws Error if the sizes are others.
void clip_factor(Context& cx, const Tensor& grad, double most, const Tensor& loss, const Tensor& result);

// Average the gradients of several batches, each weighted by its number of samples, so that a short last batch has less
// weight. keep_gradient adds samples * grad to `sum` (n f32, which need not be initialised) and raises `kept` ([1] f32,
// the number of samples kept so far, at first 0). If the loss of the batch is not finite, it changes nothing. Both
// throw Error if the sizes differ.
void keep_gradient(Context& cx, const Tensor& grad, const Tensor& sum, const Tensor& kept, const Tensor& loss,
                   int64_t samples);
// Replaces `grad` by the mean of itself and the gradients kept before, and sets `kept` to 0. If the loss is not finite,
// `grad` is unchanged, but `kept` still becomes 0.
void mean_of_kept(Context& cx, const Tensor& grad, const Tensor& sum, const Tensor& kept, const Tensor& loss,
                  int64_t samples);

// Widens all marked gradients of the slab, and unmarks them. The marks are uploaded if they are others than in the last
// call, which a captured step must not do: its first run, which is not captured, must have had the same marks.
void widen_gradients(Context& cx, HalfGradients& halves);

}  // namespace hr
