// The optimiser of a parameter store, and the learning-rate schedules of the two recipes.
#pragma once
#include <vector>

#include "nn/model.h"
#include "ops/adam.h"

namespace hr {

// Adam, or AdamW with `options.decoupled`. Not thread-safe: use it from one thread at a time, and not while a TrainStep
// that trains with it is being called. The store must outlive it.
class Optimizer {
 public:
  // `options.lr` is the learning rate of steps for which none is given. `options.step` is not used; see set_steps().
  // The two moments are allocated from cx and take twice the memory of the parameters. Throws Error if the store is not
  // allocated.
  Optimizer(Context& cx, ParameterStore& store, AdamStep options);
  // The same, with the moments in the memory of the model.
  explicit Optimizer(Model& model, AdamStep options = {});

  void step(Context& cx, double lr);
  ParameterStore& store() { return *store_; }
  const ParameterStore& store() const { return *store_; }
  const AdamStep& options() const { return options_; }

  // One step with a learning rate ([1] f64) that lies on the device, as a captured graph needs it. If `loss` ([1] f32,
  // may be undefined) is not finite, nothing is updated and the step is not counted.
  void apply(Context& cx, const Tensor& lr, const Tensor& loss);

  // Number of steps taken so far. It lies on the device, since only the device knows which of the submitted steps had a
  // finite loss. Reading it waits for these steps.
  int64_t steps() const;
  void set_steps(int64_t steps);
  Tensor exp_avg, exp_avg_sq;

 private:
  ParameterStore* store_;
  Tensor steps_;  // [1] i64
  AdamStep options_;
};

using Adam = Optimizer;

// Learning rate of one step: lr * gamma^(number of `milestones` <= epoch). With `warmup`, as in the seed's recipe, it
// is multiplied in epoch 0 by a factor that rises linearly from 1/1000 to 1 over min(1000, steps_per_epoch - 1) steps.
struct Schedule {
  double lr = 1e-3, gamma = 0.1;
  std::vector<int> milestones{170, 200};
  bool warmup = false;
  double at(int epoch, int64_t step_in_epoch, int64_t steps_per_epoch) const;
};

}  // namespace hr
