#pragma once
#include "ops/kernel.h"

namespace hr {

// The numbers of one step. On a GPU they lie in device memory: a captured graph bakes addresses, not values.
struct AdamNumbers {
  // beta's complements come from double: 1 - 0.999f would be off by 5e-5 of itself.
  float beta2, one_minus_beta1, one_minus_beta2, eps, step_size, inv_sqrt_correction2, l2;
  float keep;  // 1 - lr * wd when decoupled
};

struct AdamUpdate {
  using Element = float;
  static constexpr const char* kName = "Adam";
  double bytes_per_element() const { return 7 * sizeof(float); }
  float *p, *m, *v;
  const float* g;
  const AdamNumbers* numbers;
  const float* loss;  // the step is skipped when this is not finite; null: never

  template <class V>
  HR_HD void one(int64_t i) const {
    if (loss != nullptr && !(*loss - *loss == 0.0f)) return;
    const AdamNumbers& s = *numbers;
    const auto fill = [](float x) { return Lanes<V>::fill(x); };
    const V before = load<V>(p + i);
    const V grad = load<V>(g + i) + fill(s.l2) * before;
    V first = load<V>(m + i), second = load<V>(v + i);
    first = first + fill(s.one_minus_beta1) * (grad - first);
    second = fill(s.beta2) * second + fill(s.one_minus_beta2) * grad * grad;
    store<V>(m + i, first);
    store<V>(v + i, second);
    const V denominator = square_root(second) * fill(s.inv_sqrt_correction2) + fill(s.eps);
    store<V>(p + i, before * fill(s.keep) - fill(s.step_size) * first / denominator);
  }
};

}  // namespace hr
