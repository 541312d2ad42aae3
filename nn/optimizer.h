// The optimiser on a store's slabs, and the learning-rate schedules of the two recipes.
#pragma once
#include <vector>

#include "nn/model.h"
#include "ops/adam.h"

namespace hr {

// Adam, or AdamW with `options.decoupled`. Not thread-safe: one thread at a time, and not while its TrainStep is being
// called. The store must outlive it.
class Optimizer {
 public:
  // `options.lr` is the learning rate of steps that are given none; `options.step` is not used, see set_steps(). The
  // moments take twice the parameters' memory, from cx. Throws Error if the store was not allocated.
  Optimizer(Context& cx, ParameterStore& store, AdamStep options);
  // The same, in the memory that the model lies in.
  explicit Optimizer(Model& model, AdamStep options = {});

  void step(Context& cx, double lr);
  ParameterStore& store() { return *store_; }
  const ParameterStore& store() const { return *store_; }
  const AdamStep& options() const { return options_; }

  // The same with a learning rate [1] f64 that lies on the device: what a captured graph holds. When `loss` ([1] f32,
  // may be undefined) is not finite, nothing is updated and the step is not counted.
  void apply(Context& cx, const Tensor& lr, const Tensor& loss);

  // Steps taken so far. The number lies on the device, since only the device knows which steps in work had a finite
  // loss; reading it waits for them.
  int64_t steps() const;
  void set_steps(int64_t steps);
  Tensor exp_avg, exp_avg_sq;

 private:
  ParameterStore* store_;
  Tensor steps_;  // [1] i64
  AdamStep options_;
};

using Adam = Optimizer;

// Learning rate of one step. Multi-step: lr * gamma^(number of `milestones` <= epoch). The seed's recipe also warms up:
// in epoch 0 the factor rises linearly from 1/1000 to 1 over min(1000, steps_per_epoch - 1) steps.
struct Schedule {
  double lr = 1e-3, gamma = 0.1;
  std::vector<int> milestones{170, 200};
  bool warmup = false;
  double at(int epoch, int64_t step_in_epoch, int64_t steps_per_epoch) const;
};

}  // namespace hr
