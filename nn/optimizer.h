// The optimiser on a store's slabs, the moving average of the weights, and the learning-rate schedules.
#pragma once
#include <optional>
#include <vector>

#include "nn/model.h"
#include "ops/adam.h"

namespace hr {

// What a recipe may add to Adam's step. The defaults add nothing: the step is then Adam's, bit for bit.
struct OptimizerExtras {
  bool decay_vectors = true;  // false: weight decay leaves out parameters of one dimension, which are norms and biases
  double clip_norm = 0;       // the gradient's global norm is at most this; 0: it is not clipped
  double ema = 0;             // decay of the moving average of the weights; 0: there is none
};

// Adam, or AdamW with `options.decoupled`. Not thread-safe: one thread at a time, and not while its TrainStep is being
// called. The store must outlive it.
class Optimizer {
 public:
  // `options.lr` is the learning rate of steps that are given none; `options.step` is not used, see set_steps(). The
  // moments take twice the parameters' memory, from cx. Throws Error if the store was not allocated.
  // Parameters that do not require a gradient (freeze() in nn/parameters.h) stay as they are.
  Optimizer(Context& cx, ParameterStore& store, AdamStep options, OptimizerExtras extras = {});
  // The same, in the memory that the model lies in.
  explicit Optimizer(Model& model, AdamStep options = {});

  void step(Context& cx, double lr);
  ParameterStore& store() { return *store_; }
  const ParameterStore& store() const { return *store_; }
  const AdamStep& options() const { return options_; }
  const OptimizerExtras& extras() const { return extras_; }

  // The same with a learning rate [1] f64 that lies on the device: what a captured graph holds. When `loss` ([1] f32,
  // may be undefined) is not finite, nothing is updated and the step is not counted.
  void apply(Context& cx, const Tensor& lr, const Tensor& loss);

  // Steps taken so far. The number lies on the device, since only the device knows which steps in work had a finite
  // loss; reading it waits for them.
  int64_t steps() const;
  void set_steps(int64_t steps);
  Tensor exp_avg, exp_avg_sq;

  // The moving averages of the store's values and of its running statistics, laid out like these; undefined without
  // `extras.ema`. Each update moves them (ops/average.h), unless it is skipped. They begin with what the store holds
  // when the optimiser is made, and again with every call of restart_average(), for weights that are loaded afterwards.
  Tensor average_values, average_buffers;
  bool averages() const { return average_values.defined(); }
  void restart_average();

  // The norm of the last step's gradient before it was clipped, [1] f32; undefined without `extras.clip_norm`. If it is
  // infinite or NaN, the step updated nothing.
  Tensor gradient_norm() const { return clipping_.defined() ? clipping_.view({1}) : Tensor(); }

 private:
  ParameterStore* store_;
  Tensor steps_;  // [1] i64
  AdamStep options_;
  OptimizerExtras extras_;
  Tensor blocks_;    // [slab / kAdamBlock] u8; undefined if all parameters are treated alike
  Tensor clipping_;  // [3] f32 of clip_factor (ops/gradients.h)
};

using Adam = Optimizer;

// While it lives, the model holds the averaged weights and running statistics: what is validated and published. The
// counters of batch norm are the model's own. Training must not go on meanwhile. Does nothing if there are no averages.
class UseAverage {
 public:
  explicit UseAverage(Optimizer& optimizer);
  ~UseAverage();
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  ParameterStore& store_;
  Tensor values_, buffers_;  // the model's own
};

// Learning rate of one step, an update of the weights. multi_step: lr * gamma^(number of `milestones` <= epoch).
// The others fall from lr to lr * final_share along half a cosine, over all `epochs` (cosine) or over their second half
// (flat_cosine). warmup_steps: the factor rises linearly from 1/1000 to 1 over so many steps of the run, at most a
// twentieth of it with short_warmup. The seed's recipe warms up in epoch 0, over min(1000, steps_per_epoch - 1) steps.
struct Schedule {
  enum class Shape { multi_step, cosine, flat_cosine };
  double lr = 1e-3, gamma = 0.1;
  std::vector<int> milestones{170, 200};
  bool warmup = false;  // the seed's
  Shape shape = Shape::multi_step;
  int epochs = 210;
  double final_share = 0.05;
  int64_t warmup_steps = 0;
  bool short_warmup = false;
  double at(int epoch, int64_t step_in_epoch, int64_t steps_per_epoch) const;
};

}  // namespace hr
