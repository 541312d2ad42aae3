#pragma once
#include <cmath>

#include "ops/for_each.h"

namespace hr {

struct AdamUpdate {
  static constexpr int64_t kWidth = 1024;
  float *p, *m, *v;
  const float* g;
  // beta's complements come from double: 1 - 0.999f would be off by 5e-5 of itself.
  float beta2, one_minus_beta1, one_minus_beta2, eps, step_size, inv_sqrt_correction2, l2,
      keep;  // keep = 1 - lr * wd when decoupled
  HR_HD void operator()(int64_t row, int64_t c) const {
    const int64_t i = row * kWidth + c;
    const float grad = g[i] + l2 * p[i];
    m[i] = m[i] + one_minus_beta1 * (grad - m[i]);
    v[i] = beta2 * v[i] + one_minus_beta2 * grad * grad;
    p[i] = p[i] * keep - step_size * m[i] / (std::sqrt(v[i]) * inv_sqrt_correction2 + eps);
  }
};

}  // namespace hr
