// What happens to a slab of gradients between the backward pass and the optimiser: its norm, and the mean over several
// batches. All of it runs on the device and depends on the loss there, so a captured graph can hold it.
#pragma once
#include "core/context.h"

namespace hr {

// For clipping by the global norm, in three numbers [3] f32: the norm of `grad` (n elements, a multiple of 16), the
// factor min(1, most / (norm + 1e-6)) that the gradients are to be multiplied by, and a number that is finite if both
// the norm and `loss` ([1] f32, may be undefined) are. Squares are summed in float32 within blocks of rows and in
// double over them. Throws Error if the sizes differ from these.
void clip_factor(Context& cx, const Tensor& grad, double most, const Tensor& loss, const Tensor& result);

// Gradients of several batches, averaged by their numbers of samples, so that a short last batch counts for what it is.
// sum: n f32, whatever it holds at first; kept: [1] f32, the samples kept so far, 0 at first. `loss` is that of the
// batch. If it is not finite, keep_gradient changes nothing.
void keep_gradient(Context& cx, const Tensor& grad, const Tensor& sum, const Tensor& kept, const Tensor& loss,
                   int64_t samples);
// `grad` becomes the mean of what is kept and of itself, and nothing is kept any more. If the loss is not finite,
// `grad` stays as it is and what was kept is dropped all the same.
void mean_of_kept(Context& cx, const Tensor& grad, const Tensor& sum, const Tensor& kept, const Tensor& loss,
                  int64_t samples);

}  // namespace hr
