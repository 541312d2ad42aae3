#pragma once
#include "ops/adam_step.h"
#include "ops/finite.h"
#include "ops/kernel.h"

namespace hr {

// The factors of one step, computed in double. On a GPU they lie in device memory, because a captured graph stores
// addresses and not values that change.
struct AdamNumbers {
  // 1 - beta is computed in double, because 1 - 0.999f in float has a relative error of 5e-5.
  float beta2, one_minus_beta1, one_minus_beta2, eps, step_size, inv_sqrt_correction2, l2;
  float keep;  // 1 - lr * weight_decay if weight decay is decoupled.

  HR_HD static AdamNumbers of(const AdamStep& s) {
    const auto t = static_cast<double>(s.step);
    return {.beta2 = static_cast<float>(s.beta2),
            .one_minus_beta1 = static_cast<float>(1 - s.beta1),
            .one_minus_beta2 = static_cast<float>(1 - s.beta2),
            .eps = static_cast<float>(s.eps),
            .step_size = static_cast<float>(s.lr / (1 - ::pow(s.beta1, t))),
            .inv_sqrt_correction2 = static_cast<float>(1 / ::sqrt(1 - ::pow(s.beta2, t))),
            .l2 = static_cast<float>(s.decoupled ? 0 : s.weight_decay),
            .keep = static_cast<float>(s.decoupled ? 1 - s.lr * s.weight_decay : 1)};
  }
};

// Runs on one element: counts the step and computes its numbers. Only the device knows the number of the step, because
// it depends on whether earlier steps had a finite loss, and these may still be running when the host submits this one.
struct CountAdamStep {
  using Element = float;
  static constexpr const char* kName = "Adam: numbers of the step";
  double bytes_per_element() const { return sizeof(AdamNumbers) + 24; }
  AdamStep settings;
  const double* lr;
  const float* loss;  // If this is not finite, the step does not count. Null: it always counts.
  int64_t* steps;
  AdamNumbers* numbers;

  template <class V>
  HR_HD void one(int64_t) const {
    if (loss != nullptr && !is_finite(*loss)) return;
    AdamStep s = settings;
    s.lr = *lr;
    s.step = ++*steps;
    *numbers = AdamNumbers::of(s);
  }
};

struct AdamUpdate {
  using Element = float;
  static constexpr const char* kName = "Adam";
  double bytes_per_element() const { return 7 * sizeof(float) + (rounded != nullptr ? sizeof(bf16) : 0); }
  float *p, *m, *v;
  const float* g;
  const AdamNumbers* numbers;
  const float* loss;        // If this is not finite, the step is skipped. Null: it is never skipped.
  bf16* rounded = nullptr;  // Also receives the new values, rounded, if it is not null.

  template <class V>
  HR_HD void one(int64_t i) const {
    if (loss != nullptr && !is_finite(*loss)) return;
    update<V>(i, load<V>(g + i), numbers->l2, numbers->keep);
  }

  template <class V>
  HR_HD void update(int64_t i, const V& gradient, float l2, float keep) const {
    const AdamNumbers& s = *numbers;
    const auto fill = [](float x) { return Lanes<V>::fill(x); };
    const V before = load<V>(p + i);
    const V grad = gradient + fill(l2) * before;
    V first = load<V>(m + i), second = load<V>(v + i);
    first = first + fill(s.one_minus_beta1) * (grad - first);
    second = fill(s.beta2) * second + fill(s.one_minus_beta2) * grad * grad;
    store<V>(m + i, first);
    store<V>(v + i, second);
    const V denominator = square_root(second) * fill(s.inv_sqrt_correction2) + fill(s.eps);
    const V after = before * fill(keep) - fill(s.step_size) * first / denominator;
    store<V>(p + i, after);
    if (rounded != nullptr) store<V>(rounded + i, after);
  }
};

// The same step if the optimiser treats parameters differently or if the gradient is scaled. One access never covers
// parts of two blocks, because a block is as long as the widest access.
struct AdamUpdateByBlock {
  using Element = float;
  static constexpr const char* kName = "Adam by parameter";
  double bytes_per_element() const { return all.bytes_per_element(); }
  AdamUpdate all;
  const uint8_t* blocks;  // One number with AdamBlock bits per kAdamBlock elements; null if no bit is set anywhere.
  const float* scale;     // One number by which the gradient is multiplied; null stands for 1.

  template <class V>
  HR_HD void one(int64_t i) const {
    if (all.loss != nullptr && !is_finite(*all.loss)) return;
    const int bits = blocks != nullptr ? blocks[i / kAdamBlock] : 0;
    if ((bits & kAdamFrozen) != 0) return;
    const bool decays = (bits & kAdamNoDecay) == 0;
    V gradient = load<V>(all.g + i);
    if (scale != nullptr) gradient = Lanes<V>::fill(*scale) * gradient;
    all.update<V>(i, gradient, decays ? all.numbers->l2 : 0.0f, decays ? all.numbers->keep : 1.0f);
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH_FLAT(CountAdamStep)
HR_FOR_EACH_FLAT(AdamUpdate)
HR_FOR_EACH_FLAT(AdamUpdateByBlock)

}  // namespace hr
