// Switches of the CUDA backend for changes whose gain was predicted and not yet measured on a GPU. Each is an
// environment variable, which is read every time that its function is called. Without it the program behaves as if the
// first of the listed words were set. docs/design/gpu.md says what each one does and is expected to gain. The functions
// throw Error if a variable has another value.
#pragma once

namespace hr {

// HRNET_REVERSE = none, elements, sums or both: which of our loops walk the rows from the last to the first. The
// results do not depend on it.
struct ReversedLoops {
  bool elements = false;  // Loops that compute every element.
  bool sums = false;      // Reductions: their blocks, since the order of the rows within a block decides rounding.
};
ReversedLoops reversed_loops();

// HRNET_DEPENDENT_LAUNCH = off, end or start: whether our kernels are launched before the kernel in front of them has
// ended and wait for it themselves (programmatic dependent launch; from sm_90 on). `end` and `start` say when a kernel
// of ours lets the next one be launched: when its blocks end, or when they have begun. The results do not depend on it.
enum class DependentLaunch { off, end, start };
DependentLaunch dependent_launch();

// HRNET_COEFFICIENTS = rows or registers: whether a thread loads the coefficients of its channels again for every row,
// or once, from a grid that is resident as a whole. The results do not depend on it.
bool coefficients_in_registers();

// HRNET_FILTER_SLAB = off or on: whether filter gradients that a library makes in bf16 are collected in one slab and
// widened by one kernel, in place of one kernel for each. Only where one rank trains. The results do not depend on it,
// except that the choice of a convolution's kernel no longer counts the time of widening.
bool filter_gradient_slab();

// HRNET_RELU_BITS = off or on: whether `fuse` writes one bit for each output of a sum in bf16, which says whether ReLU
// let it pass, so that the backward pass need not read the outputs. The results do not depend on it.
bool relu_bits();

// HRNET_BF16_CROPS = off or on: whether crops that the device makes for training in bf16 are written in bf16, in place
// of float32 and a conversion. The results do not depend on it.
bool bf16_crops();

// HRNET_NORM_BACKWARD = centred or folded: whether the gradient of batch norm is a dz + b (x - mean) + d or, with one
// number per channel less, a dz + b x + e. The results differ in their rounding. Only on a GPU.
bool folded_norm_backward();

// HRNET_ADAM_ROUNDS = off or on: whether a training step's Adam also writes the weights in bf16 for the next step, in
// place of a conversion at the start of that step. The results do not depend on it. Only on a GPU.
bool adam_rounds();

// HRNET_EARLY_CROPS = off or on: whether the device makes the pictures and targets of a batch on the stream that copies
// batches, beside the steps before it. The results do not depend on it. Only on a GPU.
bool early_crops();

}  // namespace hr
