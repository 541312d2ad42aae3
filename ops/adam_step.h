// The settings of one Adam step, for the host and for kernels.
#pragma once
#include <cstdint>

namespace hr {

struct AdamStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  // True: AdamW, which first applies p -= lr * weight_decay * p. False: weight_decay * p is added to the gradient
  // (torch's Adam).
  bool decoupled = false;
  int64_t step = 1;  // Counted from 1.
};

// A slab is divided into blocks of this many elements, and all elements of a block belong to one parameter. The bits of
// a block say what the optimiser leaves out.
constexpr int64_t kAdamBlock = 16;
constexpr int kAdamNoDecay = 1;  // There is no weight decay.
constexpr int kAdamFrozen = 2;   // Value and moments are not changed.

}  // namespace hr
