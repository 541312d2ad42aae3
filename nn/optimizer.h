// The optimiser of a parameter store, the moving average of its weights, and the learning-rate schedules.
#pragma once
#include <optional>
#include <vector>

#include "nn/model.h"
#include "ops/adam.h"

namespace hr {

// What a recipe may add to Adam's step. With the defaults the step is Adam's, bit for bit.
struct OptimizerExtras {
  bool decay_vectors = true;  // False: no weight decay on parameters of one dimension, which are norms and biases.
  double clip_norm = 0;       // Limit of the gradient's global norm; 0: it is not clipped.
  double ema = 0;             // Decay of the moving average of the weights; 0: there is none.
};

// Adam, or AdamW with `options.decoupled`. Not thread-safe: use it from one thread at a time, and not while a TrainStep
// that trains with it is being called. The store must outlive it.
class Optimizer {
 public:
  // `options.lr` is the learning rate of steps for which none is given. `options.step` is not used; see set_steps().
  // The two moments are allocated from cx and take twice the memory of the parameters. Parameters that do not require a
  // gradient (freeze() in nn/parameters.h) are not changed. Throws Error if the store is not allocated, or if an extra
  // is out of range.
  Optimizer(Context& cx, ParameterStore& store, AdamStep options, OptimizerExtras extras = {});
  // The same without extras, with the moments in the memory of the model.
  explicit Optimizer(Model& model, AdamStep options = {});

  void step(Context& cx, double lr);
  ParameterStore& store() { return *store_; }
  const ParameterStore& store() const { return *store_; }
  const AdamStep& options() const { return options_; }
  const OptimizerExtras& extras() const { return extras_; }

  // One step with a learning rate ([1] f64) that lies on the device, as a captured graph needs it. If `loss` ([1] f32,
  // may be undefined) is not finite, nothing is updated and the step is not counted.
  void apply(Context& cx, const Tensor& lr, const Tensor& loss);

  // Number of steps taken so far. It lies on the device, since only the device knows which of the submitted steps had a
  // finite loss. Reading it waits for these steps.
  int64_t steps() const;
  void set_steps(int64_t steps);
  Tensor exp_avg, exp_avg_sq;

  // The moving averages of the store's values and of its running statistics, laid out like these; undefined without
  // `extras.ema`. Each update that is not skipped moves them (ops/average.h). They start as copies of what the store
  // holds when the optimiser is made. After loading other weights call restart_average(), which copies again.
  Tensor average_values, average_buffers;
  bool averages() const { return average_values.defined(); }
  void restart_average();

  // Norm of the last step's gradient before it was clipped, [1] f32; undefined without `extras.clip_norm`. If it is
  // infinite or NaN, the step updated nothing.
  Tensor gradient_norm() const { return clipping_.defined() ? clipping_.view({1}) : Tensor(); }

 private:
  ParameterStore* store_;
  Tensor steps_;  // [1] i64
  AdamStep options_;
  OptimizerExtras extras_;
  Tensor blocks_;    // [slab / kAdamBlock] u8; undefined if all parameters are treated alike.
  Tensor clipping_;  // [3] f32 of clip_factor (ops/gradients.h).
};

using Adam = Optimizer;

// While this object exists, the model holds the averaged weights and running statistics, for validation and for saving.
// The counters of batch norm stay those of the model. Do not train meanwhile. Does nothing if there are no averages.
class UseAverage {
 public:
  explicit UseAverage(Optimizer& optimizer);
  ~UseAverage();
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  ParameterStore& store_;
  Tensor values_, buffers_;  // Copies of the model's values and buffers, which the destructor restores.
};

// Learning rate of one step, that is one update of the weights. multi_step: lr * gamma^(number of `milestones` <=
// epoch). The other shapes fall from lr to lr * final_share along half a cosine, over all `epochs` (cosine) or over
// their second half (flat_cosine). With warmup_steps it is multiplied by a factor that rises linearly from 1/1000 to 1
// over the first warmup_steps steps of the run; short_warmup limits them to a twentieth of the run. With `warmup`, as
// in the seed's recipe, the factor rises in epoch 0 over min(1000, steps_per_epoch - 1) steps.
struct Schedule {
  enum class Shape { multi_step, cosine, flat_cosine };
  double lr = 1e-3, gamma = 0.1;
  std::vector<int> milestones{170, 200};
  bool warmup = false;  // Enables the warm-up of the seed's recipe in epoch 0.
  Shape shape = Shape::multi_step;
  int epochs = 210;
  double final_share = 0.05;
  int64_t warmup_steps = 0;
  bool short_warmup = false;
  double at(int epoch, int64_t step_in_epoch, int64_t steps_per_epoch) const;
  // The steps over which the factor really rises, from the first step of the run on; 0: there is no warm-up.
  int64_t warmup_length(int64_t steps_per_epoch) const;
};

}  // namespace hr
