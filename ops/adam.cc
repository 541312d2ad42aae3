#include "ops/adam.h"

#include <cmath>

#include "ops/adam_kernel.h"
#include "ops/dispatch.h"
#include "ops/for_each.h"

namespace hr {
namespace {

constexpr int64_t kNumbers = sizeof(AdamNumbers) / sizeof(float);

AdamUpdate make_update(const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
                       const Tensor& numbers, const Tensor& loss, const Tensor& rounded) {
  const int64_t n = param.numel();
  check(grad.numel() == n && exp_avg.numel() == n && exp_avg_sq.numel() == n,
        "adam: slabs of {}, {}, {} and {} elements differ", n, grad.numel(), exp_avg.numel(), exp_avg_sq.numel());
  check(!rounded.defined() || (rounded.numel() == n && rounded.dtype() == DType::bf16),
        "adam: expected {} rounded values in bf16, got {} in {}", n, rounded.defined() ? rounded.numel() : 0,
        rounded.defined() ? name_of(rounded.dtype()) : "");
  return {.p = param.data<float>(),
          .m = exp_avg.data<float>(),
          .v = exp_avg_sq.data<float>(),
          .g = grad.data<float>(),
          .numbers = static_cast<const AdamNumbers*>(numbers.raw()),
          .loss = loss.defined() ? loss.data<float>() : nullptr,
          .rounded = rounded.defined() ? rounded.data<bf16>() : nullptr};
}

// The numbers of the step, made on the device.
Tensor count_step(Context& cx, const AdamStep& settings, const AdamOnDevice& d) {
  check(d.lr.numel() == 1 && d.steps.numel() == 1, "adam: expected one learning rate and one step number, got {}, {}",
        d.lr.numel(), d.steps.numel());
  Tensor numbers = cx.empty({kNumbers}, DType::f32);
  for_each_flat(cx, 1,
                CountAdamStep{.settings = settings,
                              .lr = d.lr.data<double>(),
                              .loss = d.loss.defined() ? d.loss.data<float>() : nullptr,
                              .steps = d.steps.data<int64_t>(),
                              .numbers = static_cast<AdamNumbers*>(numbers.raw())});
  return numbers;
}

}  // namespace

void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& step) {
  check(step.step >= 1, "adam: steps count from 1, got {}", step.step);
  const Tensor numbers = cx.empty({kNumbers}, DType::f32);
  const AdamNumbers values = AdamNumbers::of(step);
  cx.upload(numbers, std::as_bytes(std::span(&values, 1)));
  for_each_flat(cx, param.numel(), make_update(param, grad, exp_avg, exp_avg_sq, numbers, Tensor(), Tensor()));
}

void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& settings, const AdamOnDevice& d) {
  const Tensor numbers = count_step(cx, settings, d);
  for_each_flat(cx, param.numel(), make_update(param, grad, exp_avg, exp_avg_sq, numbers, d.loss, d.rounded));
}

void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& settings, const AdamOnDevice& d, const AdamByBlock& by) {
  const int64_t n = param.numel();
  check(!by.blocks.defined() || by.blocks.numel() * kAdamBlock == n,
        "adam: {} blocks of {} elements do not fit a slab of {}", by.blocks.defined() ? by.blocks.numel() : 0,
        kAdamBlock, n);
  const Tensor numbers = count_step(cx, settings, d);
  for_each_flat(cx, n,
                AdamUpdateByBlock{.all = make_update(param, grad, exp_avg, exp_avg_sq, numbers, d.loss, d.rounded),
                                  .blocks = by.blocks.defined() ? by.blocks.data<uint8_t>() : nullptr,
                                  .scale = by.scale.defined() ? by.scale.data<float>() : nullptr});
}

}  // namespace hr
