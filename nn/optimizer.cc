#include "nn/optimizer.h"

#include <algorithm>

#include "core/error.h"

namespace hr {
namespace {
ParameterStore& allocated(ParameterStore& store) {
  check(store.values.defined(), "optimiser: the model has no memory yet; call init() or allocate() first");
  return store;
}
}  // namespace

Optimizer::Optimizer(Context& cx, ParameterStore& store, AdamStep options)
    : exp_avg(cx.zeros(allocated(store).values.shape(), DType::f32)),
      exp_avg_sq(cx.zeros(store.values.shape(), DType::f32)),
      store_(&store),
      steps_(cx.zeros({1}, DType::i64)),
      options_(options) {}

Optimizer::Optimizer(Model& model, AdamStep options)
    : exp_avg(allocated(model.parameters()).home().zeros(model.parameters().values.shape(), DType::f32)),
      exp_avg_sq(model.parameters().home().zeros(model.parameters().values.shape(), DType::f32)),
      store_(&model.parameters()),
      steps_(store_->home().zeros({1}, DType::i64)),
      options_(options) {}

void Optimizer::step(Context& cx, double lr) {
  const Tensor rate = cx.empty({1}, DType::f64);
  cx.upload(rate, std::as_bytes(std::span(&lr, 1)));
  apply(cx, rate, Tensor());
}

void Optimizer::apply(Context& cx, const Tensor& lr, const Tensor& loss) {
  adam(cx, store_->values, store_->grads, exp_avg, exp_avg_sq, options_, {lr, steps_, loss});
  ++store_->version;
}

int64_t Optimizer::steps() const {
  int64_t steps = 0;
  store_->home().download(steps_, std::as_writable_bytes(std::span(&steps, 1)));
  return steps;
}

void Optimizer::set_steps(int64_t steps) { store_->home().upload(steps_, std::as_bytes(std::span(&steps, 1))); }

double Schedule::at(int epoch, int64_t step_in_epoch, int64_t steps_per_epoch) const {
  double rate = lr;
  for (const int m : milestones) {
    if (epoch >= m) rate *= gamma;
  }
  const int64_t warmup_steps = std::min<int64_t>(1000, steps_per_epoch - 1);
  if (warmup && epoch == 0 && step_in_epoch < warmup_steps) {
    const double alpha = static_cast<double>(step_in_epoch) / static_cast<double>(warmup_steps);
    rate *= 1e-3 * (1 - alpha) + alpha;
  }
  return rate;
}

}  // namespace hr
