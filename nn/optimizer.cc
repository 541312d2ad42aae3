#include "nn/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "ops/average.h"
#include "ops/elementwise.h"
#include "ops/gradients.h"

namespace hr {
namespace {
ParameterStore& allocated(ParameterStore& store) {
  check(store.values.defined(), "optimiser: the model has no memory yet; call init() or allocate() first");
  return store;
}

// Returns the bits of all blocks of the slabs; an undefined tensor if no parameter is treated differently.
Tensor make_blocks(const Context& cx, const ParameterStore& store, const OptimizerExtras& extras) {
  std::vector<uint8_t> bits(static_cast<size_t>(store.values.numel() / kAdamBlock));
  bool any = false;
  for (const Parameter& p : store.parameters()) {
    const bool plain = extras.decay_vectors || p.torch_shape.size() > 1;
    const int mine = (plain ? 0 : kAdamNoDecay) | (p.value.requires_grad() ? 0 : kAdamFrozen);
    any = any || mine != 0;
    const int64_t begin = p.value.data<float>() - store.values.data<float>();
    for (int64_t at = begin; at < begin + p.value.numel(); at += kAdamBlock)
      bits[static_cast<size_t>(at / kAdamBlock)] = static_cast<uint8_t>(mine);
  }
  if (!any) return {};
  Tensor blocks = cx.empty({static_cast<int64_t>(bits.size())}, DType::u8);
  cx.upload(blocks, std::as_bytes(std::span(bits)));
  return blocks;
}
}  // namespace

Optimizer::Optimizer(Context& cx, ParameterStore& store, AdamStep options, OptimizerExtras extras)
    : exp_avg(cx.zeros(allocated(store).values.shape(), DType::f32)),
      exp_avg_sq(cx.zeros(store.values.shape(), DType::f32)),
      store_(&store),
      steps_(cx.zeros({1}, DType::i64)),
      options_(options),
      extras_(extras) {
  check(extras.ema >= 0 && extras.ema < 1 && extras.clip_norm >= 0,
        "optimiser: expected ema from 0 to below 1 and clip_norm of 0 or more, got {} and {}", extras.ema,
        extras.clip_norm);
  blocks_ = make_blocks(cx, store, extras);
  if (extras.clip_norm > 0) clipping_ = cx.zeros({3}, DType::f32);
  if (extras.ema > 0) {
    average_values = cx.empty(store.values.shape(), DType::f32);
    average_buffers = cx.empty(store.buffers.shape(), DType::f32);
    restart_average();
  }
}

Optimizer::Optimizer(Model& model, AdamStep options)
    : exp_avg(allocated(model.parameters()).home().zeros(model.parameters().values.shape(), DType::f32)),
      exp_avg_sq(model.parameters().home().zeros(model.parameters().values.shape(), DType::f32)),
      store_(&model.parameters()),
      steps_(store_->home().zeros({1}, DType::i64)),
      options_(options) {
  blocks_ = make_blocks(store_->home(), *store_, extras_);
}

void Optimizer::restart_average() {
  if (!averages()) return;
  Context home = store_->home();
  copy_or_add(home, store_->values, average_values, false);
  copy_or_add(home, store_->buffers, average_buffers, false);
}

void Optimizer::step(Context& cx, double lr) {
  const Tensor rate = cx.empty({1}, DType::f64);
  cx.upload(rate, std::as_bytes(std::span(&lr, 1)));
  apply(cx, rate, Tensor());
}

void Optimizer::apply(Context& cx, const Tensor& lr, const Tensor& loss) {
  ParameterStore& store = *store_;
  ++store.version;
  Tensor valid = loss;
  AdamByBlock by{.blocks = blocks_};
  if (clipping_.defined()) {
    clip_factor(cx, store.grads, extras_.clip_norm, loss, clipping_);
    by.scale = clipping_.view({1}, 1);
    valid = clipping_.view({1}, 2);
  }
  const AdamOnDevice on_device{lr, steps_, valid, store.rounded_with_update()};
  if (by.blocks.defined() || by.scale.defined()) {
    adam(cx, store.values, store.grads, exp_avg, exp_avg_sq, options_, on_device, by);
  } else {
    adam(cx, store.values, store.grads, exp_avg, exp_avg_sq, options_, on_device);
  }
  if (!averages()) return;
  const Averaged slabs[] = {{store.values, average_values}, {store.buffers, average_buffers}};
  moving_average(cx, slabs, steps_, extras_.ema, valid);
}

UseAverage::UseAverage(Optimizer& optimizer) : store_(optimizer.store()) {
  if (!optimizer.averages()) return;
  Context home = store_.home();
  values_ = home.empty(store_.values.shape(), DType::f32);
  buffers_ = home.empty(store_.buffers.shape(), DType::f32);
  copy_or_add(home, store_.values, values_, false);
  copy_or_add(home, store_.buffers, buffers_, false);
  copy_or_add(home, optimizer.average_values, store_.values, false);
  copy_or_add(home, optimizer.average_buffers, store_.buffers, false);
  ++store_.version;
}

UseAverage::~UseAverage() {
  if (!values_.defined()) return;
  try {
    Context home = store_.home();
    copy_or_add(home, values_, store_.values, false);
    copy_or_add(home, buffers_, store_.buffers, false);
  } catch (const Error&) {
    // The device has failed. The next use of the model reports that.
  }
  ++store_.version;
}

int64_t Optimizer::steps() const {
  int64_t steps = 0;
  store_->home().download(steps_, std::as_writable_bytes(std::span(&steps, 1)));
  return steps;
}

void Optimizer::set_steps(int64_t steps) { store_->home().upload(steps_, std::as_bytes(std::span(&steps, 1))); }

double Schedule::at(int epoch, int64_t step_in_epoch, int64_t steps_per_epoch) const {
  double rate = lr;
  const auto step = static_cast<double>(epoch * steps_per_epoch + step_in_epoch);
  const auto all = static_cast<double>(epochs * steps_per_epoch);
  if (shape == Shape::multi_step) {
    for (const int m : milestones) {
      if (epoch >= m) rate *= gamma;
    }
  } else {
    const double begin = shape == Shape::cosine ? 0 : all / 2;
    const double way = std::clamp((step - begin) / std::max(1.0, all - begin), 0.0, 1.0);
    rate *= final_share + (1 - final_share) * 0.5 * (1 + std::cos(std::numbers::pi * way));
  }
  const auto length = static_cast<double>(warmup_length(steps_per_epoch));
  if (step < length) {
    const double alpha = step / length;
    rate *= 1e-3 * (1 - alpha) + alpha;
  }
  return rate;
}

int64_t Schedule::warmup_length(int64_t steps_per_epoch) const {
  if (warmup_steps > 0) {
    return short_warmup ? std::min(warmup_steps, epochs * steps_per_epoch / 20) : warmup_steps;
  }
  return warmup ? std::min<int64_t>(1000, steps_per_epoch - 1) : 0;
}

}  // namespace hr
