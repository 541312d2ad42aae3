#include "ops/average.h"

#include "core/error.h"
#include "ops/average_kernel.h"
#include "ops/for_each.h"

namespace hr {

void moving_average(Context& cx, std::span<const Averaged> slabs, const Tensor& steps, double decay,
                    const Tensor& valid) {
  const Tensor weight = cx.empty({1}, DType::f32);
  for_each_flat(cx, 1, AverageWeight{.steps = steps.data<int64_t>(), .decay = decay, .weight = weight.data<float>()});
  for (const Averaged& a : slabs) {
    check(a.values.numel() == a.average.numel(), "moving average: there are {} values, but their average has {}",
          a.values.numel(), a.average.numel());
    for_each_flat(cx, a.values.numel(),
                  MovingAverage{.x = a.values.data<float>(),
                                .average = a.average.data<float>(),
                                .weight = weight.data<float>(),
                                .valid = valid.defined() ? valid.data<float>() : nullptr});
  }
}

}  // namespace hr
