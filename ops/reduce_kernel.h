#pragma once
#include "ops/kernel.h"

namespace hr {

// Sums over the rows, which is the gradient of a bias.
template <class T>
struct ColumnSum {
  using Element = T;
  static constexpr const char* kName = "gradient of a bias";
  double bytes_per_element() const { return sizeof(T); }
  static constexpr int kSums = 1;
  const T* x;
  int64_t channels;
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, V* terms) const {
    terms[0] = load<V>(x + at + c);
  }
};

struct ColumnTotal {
  struct State {
    double sum = 0;
    HR_HD void add(const State& o) { sum += o.sum; }
  };
  const float* sums;  // [blocks, 1, channels]
  int64_t channels;
  float* y;
  HR_HD State part(int64_t block, int64_t c) const { return {sums[block * channels + c]}; }
  HR_HD void finish(int64_t c, const State& s) const { y[c] = static_cast<float>(s.sum); }
};

// Adds the sums of the blocks for each column, in double. The results [columns] stay in double, because they are added
// up in double too.
struct ColumnTotalInDouble {
  struct State {
    double sum = 0;
    HR_HD void add(const State& o) { sum += o.sum; }
  };
  const float* sums;  // [blocks, 1, channels]
  int64_t channels;
  double* totals;  // [channels]
  HR_HD State part(int64_t block, int64_t c) const { return {sums[block * channels + c]}; }
  HR_HD void finish(int64_t c, const State& s) const { totals[c] = s.sum; }
};

// y = scale * sum of the totals, in their order: one number.
struct ScaledTotal {
  struct State {
    double sum = 0;
    HR_HD void add(const State& o) { sum += o.sum; }
  };
  const double* totals;
  double scale;
  float* y;
  HR_HD State part(int64_t c, int64_t) const { return {totals[c]}; }
  HR_HD void finish(int64_t, const State& s) const { *y = static_cast<float>(scale * s.sum); }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_REDUCE_ROWS(ColumnSum<float>)
HR_REDUCE_ROWS(ColumnSum<bf16>)
HR_FOR_COLUMNS(ColumnTotal)
HR_FOR_COLUMNS(ColumnTotalInDouble)
HR_FOR_COLUMNS(ScaledTotal)

}  // namespace hr
