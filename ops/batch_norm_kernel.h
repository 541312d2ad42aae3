#pragma once
#include "ops/kernel.h"

namespace hr {

// Sum and sum of squares of x - k, where k is the first row of the block: large means lose nothing in float32.
template <class T>
struct ShiftedMoments {
  using Element = T;
  static constexpr const char* kName = "batch norm: statistics";
  double bytes_per_element() const { return sizeof(T); }
  static constexpr int kSums = 2;
  static constexpr bool kKeepsRow = true;  // k
  const T* x;
  int64_t channels;

  static constexpr int kAhead = 8;
  template <class V>
  struct Column {
    V k;
  };
  template <class V>
  HR_HD Column<V> column(int64_t first, int64_t c) const {
    return {load<V>(x + first * channels + c)};
  }
  template <class V>
  HR_HD V kept(const Column<V>& column) const {
    return column.k;
  }
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD Fetched<V, T> read(int64_t at, int64_t c) const {
    return Fetched<V, T>(x + at + c);
  }
  template <class V>
  HR_HD void one(int64_t, int64_t, const Fetched<V, T>& in, const Column<V>& column, V* terms) const {
    const V d = in.value() - column.k;
    terms[0] = d;
    terms[1] = d * d;
  }
};

// Count, mean and sum of squared deviations; merged as Chan, Golub and LeVeque (1979) do.
struct Moments {
  double n = 0, mean = 0, m2 = 0;
  HR_HD void add(const Moments& o) {
    const double total = n + o.n, d = o.mean - mean;
    mean += d * (o.n / total);
    m2 += o.m2 + d * d * (n * o.n / total);
    n = total;
  }
};

// What normalises, per channel: scale, shift, mean, inv_std [C]; running statistics updated on the way.
struct NormalisedPointers {
  const float *weight, *bias;
  float *running_mean, *running_var;
  double eps, momentum;
  float *scale, *shift, *mean, *inv_std;

  HR_HD void write(int64_t c, double batch_mean, double variance) const {
    const float w = weight[c], b = bias[c];  // before the writes, behind which the compiler may not move them
    const double inverse = 1.0 / ::sqrt(variance + eps), s = w * inverse;
    mean[c] = static_cast<float>(batch_mean);
    inv_std[c] = static_cast<float>(inverse);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(b - batch_mean * s);
  }
};

// The blocks of ShiftedMoments, all about the tensor's first row. In double that costs no digits, and adding is all
// that is left: a chain of merged means would be one of divisions.
struct BlockMoments {
  struct State {
    double sum = 0, squares = 0;
    HR_HD void add(const State& o) {
      sum += o.sum;
      squares += o.squares;
    }
  };
  const float* sums;  // [blocks, 3, channels]: both sums and the block's k
  int64_t channels;
  RowBlocks blocks;

  HR_HD double first(int64_t c) const { return sums[2 * channels + c]; }
  HR_HD State part(int64_t b, int64_t c) const {
    const double n = blocks.rows_of(b);
    const float* block = sums + b * 3 * channels + c;
    const double s = block[0], squares = block[channels], d = block[2 * channels] - first(c);
    return {s + n * d, squares + d * (2 * s + n * d)};
  }
  HR_HD Moments moments(int64_t c, const State& s) const {
    const auto n = static_cast<double>(blocks.rows);
    return {n, first(c) + s.sum / n, s.squares - s.sum * s.sum / n};
  }
};

// Biased where it normalises, unbiased in running_var: torch does the same.
HR_HD void write_statistics(const NormalisedPointers& out, int64_t c, const Moments& m) {
  const double keep = 1 - out.momentum;
  const float old_mean = out.running_mean[c], old_var = out.running_var[c];
  out.write(c, m.mean, m.m2 / m.n);
  out.running_mean[c] = static_cast<float>(keep * old_mean + out.momentum * m.mean);
  out.running_var[c] = static_cast<float>(keep * old_var + out.momentum * m.m2 / (m.n - 1));
}

// Training: merges ShiftedMoments' blocks.
struct BatchStatistics {
  using State = BlockMoments::State;
  BlockMoments blocks;
  NormalisedPointers out;
  HR_HD State part(int64_t b, int64_t c) const { return blocks.part(b, c); }
  HR_HD void finish(int64_t c, const State& s) const { write_statistics(out, c, blocks.moments(c, s)); }
};

// Training on several ranks, first half: this rank's moments [3, channels], to be gathered.
struct RankStatistics {
  using State = BlockMoments::State;
  BlockMoments blocks;
  double* out;
  HR_HD State part(int64_t b, int64_t c) const { return blocks.part(b, c); }
  HR_HD void finish(int64_t c, const State& s) const {
    const Moments m = blocks.moments(c, s);
    out[c] = m.n;
    out[blocks.channels + c] = m.mean;
    out[2 * blocks.channels + c] = m.m2;
  }
};

// Second half: merges the ranks' [ranks, 3, channels].
struct MergedStatistics {
  using State = Moments;
  const double* moments;
  int64_t channels;
  double* count;
  NormalisedPointers out;
  HR_HD Moments part(int64_t rank, int64_t c) const {
    const double* m = moments + rank * 3 * channels + c;
    return {m[0], m[channels], m[2 * channels]};
  }
  HR_HD void finish(int64_t c, const Moments& m) const {
    count[c] = m.n;
    write_statistics(out, c, m);
  }
};

// Inference: the running statistics normalise.
struct RunningStatistics {
  struct State {
    HR_HD void add(const State&) {}
  };
  NormalisedPointers out;
  HR_HD State part(int64_t, int64_t) const { return {}; }
  HR_HD void finish(int64_t c, const State&) const { out.write(c, out.running_mean[c], out.running_var[c]); }
};

// filter[o, i] * scale[o]: batch norm folded into the convolution before it.
struct ScaleFilter {
  using Element = float;
  static constexpr const char* kName = "fold batch norm";
  double bytes_per_element() const { return 8; }
  const float *filter, *scale;
  float* out;
  int64_t per_channel;

  struct Row {
    int64_t first;
    float scale;
  };
  HR_HD Row row(int64_t o) const { return {o * per_channel, scale[o]}; }
  template <class V>
  HR_HD void one(const Row& at, int64_t i) const {
    store<V>(out + at.first + i, load<V>(filter + at.first + i) * Lanes<V>::fill(at.scale));
  }
};

}  // namespace hr
