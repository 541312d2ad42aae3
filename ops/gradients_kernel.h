#pragma once
#include "ops/finite.h"
#include "ops/kernel.h"

namespace hr {

// Sums the squares of a gradient by columns; the slab is treated as rows of 16 elements.
struct SquaredGradient {
  using Element = float;
  static constexpr const char* kName = "norm of the gradient";
  double bytes_per_element() const { return sizeof(float); }
  static constexpr int kSums = 1;
  const float* g;
  int64_t columns;
  HR_HD int64_t row(int64_t r) const { return r * columns; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, V* terms) const {
    const V x = load<V>(g + at + c);
    terms[0] = x * x;
  }
};

// norm = sqrt(sum of the totals), factor = min(1, most / (norm + 1e-6)) as torch.nn.utils.clip_grad_norm_ has it.
struct ClipFactor {
  struct State {
    double sum = 0;
    HR_HD void add(const State& o) { sum += o.sum; }
  };
  const double* totals;
  double most;
  const float* loss;  // One number, or null.
  float *norm, *factor;
  float* valid;  // The result is finite exactly if the loss and the norm are.
  HR_HD State part(int64_t c, int64_t) const { return {totals[c]}; }
  HR_HD void finish(int64_t, const State& s) const {
    const double length = ::sqrt(s.sum), wanted = most / (length + 1e-6);
    *norm = static_cast<float>(length);
    *factor = static_cast<float>(wanted < 1 ? wanted : 1);
    *valid = !is_finite(*norm) ? *norm : loss != nullptr ? *loss : 0.0f;
  }
};

// sum = sum + samples * g, or samples * g if nothing has been kept so far.
struct KeepGradient {
  using Element = float;
  static constexpr const char* kName = "gradient, kept";
  double bytes_per_element() const { return 3 * sizeof(float); }
  const float* g;
  float* sum;
  const float *kept, *loss;  // One number each: the samples kept so far, the loss of the step.
  float samples;
  template <class V>
  HR_HD void one(int64_t i) const {
    if (!is_finite(*loss)) return;
    const V mine = Lanes<V>::fill(samples) * load<V>(g + i);
    store<V>(sum + i, *kept > 0 ? load<V>(sum + i) + mine : mine);
  }
};

// g = (sum + samples * g) / (kept + samples); g is unchanged if nothing has been kept.
struct MeanOfKept {
  using Element = float;
  static constexpr const char* kName = "gradient, mean of those kept";
  double bytes_per_element() const { return 3 * sizeof(float); }
  float* g;
  const float *sum, *kept, *loss;
  float samples;
  template <class V>
  HR_HD void one(int64_t i) const {
    if (!is_finite(*loss) || !(*kept > 0)) return;
    const V all = load<V>(sum + i) + Lanes<V>::fill(samples) * load<V>(g + i);
    store<V>(g + i, all / Lanes<V>::fill(*kept + samples));
  }
};

// Computes one element: the number of samples that are kept after the step. A step with `update` uses the kept
// gradients up.
struct CountKept {
  using Element = float;
  static constexpr const char* kName = "gradient, samples kept";
  double bytes_per_element() const { return 3 * sizeof(float); }
  float* kept;
  const float* loss;
  float samples;
  bool update;
  template <class V>
  HR_HD void one(int64_t) const {
    if (update) {
      *kept = 0;
    } else if (is_finite(*loss)) {
      *kept += samples;
    }
  }
};

// grads = half where the mark of the block of 16 elements is set.
struct WidenMarked {
  using Element = bf16;
  static constexpr const char* kName = "filter gradients, widened";
  double bytes_per_element() const { return sizeof(bf16) + sizeof(float) + 1.0 / 16; }
  const bf16* half;
  const uint8_t* marks;
  float* grads;
  template <class V>
  HR_HD void one(int64_t i) const {
    if (marks[i / 16] != 0) store<V>(grads + i, load<V>(half + i));
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_REDUCE_ROWS(SquaredGradient)
HR_FOR_COLUMNS(ClipFactor)
HR_FOR_EACH_FLAT(KeepGradient)
HR_FOR_EACH_FLAT(MeanOfKept)
HR_FOR_EACH_FLAT(CountKept)
HR_FOR_EACH_FLAT(WidenMarked)

}  // namespace hr
