#include "nn/optimizer.h"

#include <algorithm>

namespace hr {

Optimizer::Optimizer(Context& cx, ParameterStore& store, AdamStep options)
    : exp_avg(cx.zeros(store.values.shape(), DType::f32)),
      exp_avg_sq(cx.zeros(store.values.shape(), DType::f32)),
      store_(&store),
      options_(options) {}

std::array<float, kAdamNumbers> Optimizer::next(double lr) {
  options_.lr = lr;
  options_.step = ++steps;
  ++store_->version;
  return adam_numbers(options_);
}

void Optimizer::step(Context& cx, double lr) {
  const auto values = next(lr);
  const Tensor numbers = cx.empty({kAdamNumbers}, DType::f32);
  cx.upload(numbers, std::as_bytes(std::span(values)));
  apply(cx, numbers, Tensor());
}

void Optimizer::apply(Context& cx, const Tensor& numbers, const Tensor& loss) {
  adam(cx, store_->values, store_->grads, exp_avg, exp_avg_sq, numbers, loss);
}

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
