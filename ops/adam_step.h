// The settings of one Adam step, for the host and for kernels.
#pragma once
#include <cstdint>

namespace hr {

struct AdamStep {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  // true: AdamW, p -= lr * wd * p first; false: wd * p is added to the gradient (torch's Adam)
  int64_t step = 1;        // counts from 1
};

}  // namespace hr
