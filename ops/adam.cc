#include "ops/adam.h"

#include <bit>
#include <cmath>

#include "ops/adam_kernel.h"
#include "ops/dispatch.h"
#include "ops/for_each.h"

namespace hr {

static_assert(sizeof(AdamNumbers) == kAdamNumbers * sizeof(float));

std::array<float, kAdamNumbers> adam_numbers(const AdamStep& s) {
  check(s.step >= 1, "adam: steps count from 1, got {}", s.step);
  const auto t = static_cast<double>(s.step);
  return std::bit_cast<std::array<float, kAdamNumbers>>(
      AdamNumbers{.beta2 = static_cast<float>(s.beta2),
                  .one_minus_beta1 = static_cast<float>(1 - s.beta1),
                  .one_minus_beta2 = static_cast<float>(1 - s.beta2),
                  .eps = static_cast<float>(s.eps),
                  .step_size = static_cast<float>(s.lr / (1 - std::pow(s.beta1, t))),
                  .inv_sqrt_correction2 = static_cast<float>(1 / std::sqrt(1 - std::pow(s.beta2, t))),
                  .l2 = static_cast<float>(s.decoupled ? 0 : s.weight_decay),
                  .keep = static_cast<float>(s.decoupled ? 1 - s.lr * s.weight_decay : 1)});
}

void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const AdamStep& step) {
  const Tensor numbers = cx.empty({kAdamNumbers}, DType::f32);
  const auto values = adam_numbers(step);
  cx.upload(numbers, std::as_bytes(std::span(values)));
  adam(cx, param, grad, exp_avg, exp_avg_sq, numbers, Tensor());
}

void adam(Context& cx, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq,
          const Tensor& numbers, const Tensor& loss) {
  const int64_t n = param.numel();
  check(grad.numel() == n && exp_avg.numel() == n && exp_avg_sq.numel() == n,
        "adam: slabs of {}, {}, {} and {} elements differ", n, grad.numel(), exp_avg.numel(), exp_avg_sq.numel());
  check(numbers.numel() == kAdamNumbers, "adam: expected {} numbers, got {}", kAdamNumbers, numbers.numel());
  for_each_flat(cx, n,
                AdamUpdate{.p = param.data<float>(),
                           .m = exp_avg.data<float>(),
                           .v = exp_avg_sq.data<float>(),
                           .g = grad.data<float>(),
                           .numbers = static_cast<const AdamNumbers*>(numbers.raw()),
                           .loss = loss.defined() ? loss.data<float>() : nullptr});
}

}  // namespace hr
