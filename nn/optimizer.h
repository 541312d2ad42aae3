// The optimiser on a store's slabs, and the learning-rate schedules of the two recipes.
#pragma once
#include <vector>

#include "nn/parameters.h"
#include "ops/adam.h"

namespace hr {

class Optimizer {
 public:
  // `options.lr` and `options.step` are set by the steps.
  Optimizer(Context& cx, ParameterStore& store, AdamStep options);

  void step(Context& cx, double lr);
  const ParameterStore& store() const { return *store_; }

  // The same in two halves, since a captured graph holds only the second: the numbers of the next step, and the update
  // with numbers that lie on the device. Nothing is updated when `loss` (may be undefined) is not finite.
  std::array<float, kAdamNumbers> next(double lr);
  void apply(Context& cx, const Tensor& numbers, const Tensor& loss);

  int64_t steps = 0;  // taken so far
  Tensor exp_avg, exp_avg_sq;

 private:
  ParameterStore* store_;
  AdamStep options_;
};

// Learning rate of one step. Multi-step: lr * gamma^(number of `milestones` <= epoch). The seed's recipe also warms up:
// in epoch 0 the factor rises linearly from 1/1000 to 1 over min(1000, steps_per_epoch - 1) steps.
struct Schedule {
  double lr = 1e-3, gamma = 0.1;
  std::vector<int> milestones{170, 200};
  bool warmup = false;
  double at(int epoch, int64_t step_in_epoch, int64_t steps_per_epoch) const;
};

}  // namespace hr
