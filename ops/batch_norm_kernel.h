#pragma once
#include "ops/kernel.h"

namespace hr {

// Computes the sum and the sum of squares of x - k, where k is the first row of the block, so that large means lose no
// digits in float32.
template <class T>
struct ShiftedMoments {
  using Element = T;
  static constexpr const char* kName = "batch norm: statistics";
  double bytes_per_element() const { return sizeof(T); }
  static constexpr int kSums = 2;
  const T* x;
  int64_t channels, block;  // `block` is block_rows(rows), a power of two.

  static constexpr int kAhead = 4;
  struct Row {
    const T *x, *first;
  };
  HR_HD Row row(int64_t r) const { return {x + r * channels, x + (r & -block) * channels}; }
  template <class V>
  HR_HD Fetched<V, T> read(const Row& at, int64_t c) const {
    return Fetched<V, T>(at.x + c);
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c, const Fetched<V, T>& in, V* terms) const {
    const V d = in.value() - load<V>(at.first + c);
    terms[0] = d;
    terms[1] = d * d;
  }
};

// Count, mean and sum of squared deviations, merged by the formula of Chan, Golub and LeVeque (1979).
struct Moments {
  double n = 0, mean = 0, m2 = 0;
  HR_HD void add(const Moments& o) {
    const double total = n + o.n, d = o.mean - mean;
    mean += d * (o.n / total);
    m2 += o.m2 + d * d * (n * o.n / total);
    n = total;
  }
};

// The results per channel: scale, shift, mean and inv_std [C], and the updated running statistics.
struct NormalisedPointers {
  const float *weight, *bias;
  float *running_mean, *running_var;
  double eps, momentum;
  float *scale, *shift, *mean, *inv_std;

  HR_HD void write(int64_t c, double batch_mean, double variance) const {
    const double inverse = 1.0 / ::sqrt(variance + eps), s = weight[c] * inverse;
    mean[c] = static_cast<float>(batch_mean);
    inv_std[c] = static_cast<float>(inverse);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(bias[c] - batch_mean * s);
  }
};

// Sums of differences to a shift that is common to all parts, and of their squares.
struct ShiftedSums {
  double sum = 0, squares = 0;
  HR_HD void add(const ShiftedSums& o) {
    sum += o.sum;
    squares += o.squares;
  }
};

// Adds the blocks of ShiftedMoments, all relative to the first row of the tensor. In double this costs no digits. It
// replaces a chain of merged means, in which every step would have a division, by additions.
template <class T>
struct BlockMoments {
  using State = ShiftedSums;
  const T* x;
  const float* sums;  // [blocks, 2, channels].
  int64_t rows, channels, block;

  HR_HD State part(int64_t b, int64_t c) const {
    const int64_t left = rows - b * block;
    const auto n = static_cast<double>(left < block ? left : block);
    const double s = sums[b * 2 * channels + c], squares = sums[(b * 2 + 1) * channels + c];
    const double d = static_cast<double>(to_float(x[b * block * channels + c])) - to_float(x[c]);
    return {s + n * d, squares + d * (2 * s + n * d)};
  }
  HR_HD Moments moments(int64_t c, const State& s) const {
    const auto n = static_cast<double>(rows);
    return {n, to_float(x[c]) + s.sum / n, s.squares - s.sum * s.sum / n};
  }
};

// The same for the statistics that a convolution computed together with its result (ConvBackend), all relative to the
// shift of the first part.
struct PartMoments {
  using State = ShiftedSums;
  const float* parts;  // [parts, 4, channels].
  int64_t rows, channels;

  HR_HD State part(int64_t b, int64_t c) const {
    const float* at = parts + b * 4 * channels + c;
    const double n = at[0], s = at[2 * channels], squares = at[3 * channels];
    const double d = static_cast<double>(at[channels]) - parts[channels + c];
    return {s + n * d, squares + d * (2 * s + n * d)};
  }
  HR_HD Moments moments(int64_t c, const State& s) const {
    const auto n = static_cast<double>(rows);
    return {n, parts[channels + c] + s.sum / n, s.squares - s.sum * s.sum / n};
  }
};

// The biased variance normalises, the unbiased one goes into running_var, as in torch.
HR_HD void write_statistics(const NormalisedPointers& out, int64_t c, const Moments& m) {
  const double keep = 1 - out.momentum;
  out.running_mean[c] = static_cast<float>(keep * out.running_mean[c] + out.momentum * m.mean);
  out.running_var[c] = static_cast<float>(keep * out.running_var[c] + out.momentum * m.m2 / (m.n - 1));
  out.write(c, m.mean, m.m2 / m.n);
}

// Training: merges the blocks of ShiftedMoments, or the parts of a convolution.
template <class Blocks>
struct BatchStatistics {
  using State = ShiftedSums;
  Blocks blocks;
  NormalisedPointers out;
  HR_HD State part(int64_t b, int64_t c) const { return blocks.part(b, c); }
  HR_HD void finish(int64_t c, const State& s) const { write_statistics(out, c, blocks.moments(c, s)); }
};

// Training on several ranks, first half: writes this rank's moments [3, channels], which are then gathered.
template <class Blocks>
struct RankStatistics {
  using State = ShiftedSums;
  Blocks blocks;
  double* out;
  HR_HD State part(int64_t b, int64_t c) const { return blocks.part(b, c); }
  HR_HD void finish(int64_t c, const State& s) const {
    const Moments m = blocks.moments(c, s);
    out[c] = m.n;
    out[blocks.channels + c] = m.mean;
    out[2 * blocks.channels + c] = m.m2;
  }
};

// Training on several ranks, second half: merges the moments of all ranks [ranks, 3, channels].
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

// Inference: uses the running statistics.
struct RunningStatistics {
  struct State {
    HR_HD void add(const State&) {}
  };
  NormalisedPointers out;
  HR_HD State part(int64_t, int64_t) const { return {}; }
  HR_HD void finish(int64_t c, const State&) const { out.write(c, out.running_mean[c], out.running_var[c]); }
};

// Computes filter[o, i] * scale[o], which folds batch norm into the convolution before it.
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

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_REDUCE_ROWS(ShiftedMoments<float>)
HR_REDUCE_ROWS(ShiftedMoments<bf16>)
HR_FOR_COLUMNS(BatchStatistics<BlockMoments<float>>)
HR_FOR_COLUMNS(BatchStatistics<BlockMoments<bf16>>)
HR_FOR_COLUMNS(BatchStatistics<PartMoments>)
HR_FOR_COLUMNS(RankStatistics<BlockMoments<float>>)
HR_FOR_COLUMNS(RankStatistics<BlockMoments<bf16>>)
HR_FOR_COLUMNS(RankStatistics<PartMoments>)
HR_FOR_COLUMNS(MergedStatistics)
HR_FOR_COLUMNS(RunningStatistics)
HR_FOR_EACH(ScaleFilter)

}  // namespace hr
