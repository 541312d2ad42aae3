// The two loops under every hand-written op. A kernel is a functor on (row, channel); these run it on the CPU: rows are
// cut into fixed blocks for the threads, channels into vectors. The same functors run on a GPU with one thread per
// (row, channel).
//
// A kernel has row(r), which does the index arithmetic of row r once, and one<V>(at, c), which computes the channels
// from c on that a V holds (ops/lanes.h).
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/parallel.h"
#include "ops/lanes.h"

namespace hr {

// Rows per block. Fixed, so that sums come out with the same bits whatever the number of threads.
constexpr int64_t kBlockRows = 256;

// f.one<V>(f.row(r), c) for every row r in [0, rows) and channel c in [0, channels).
template <class F>
void for_each(int64_t rows, int64_t channels, const F& f) {
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  parallel_for(blocks, rows * channels, [&](int64_t block) {
    const int64_t end = std::min(rows, (block + 1) * kBlockRows);
    for (int64_t row = block * kBlockRows; row < end; ++row) {
      const auto at = f.row(row);
      int64_t c = 0;
      for (; c + 16 <= channels; c += 16) f.template one<Floats16>(at, c);
      if (c + 8 <= channels) {
        f.template one<Floats8>(at, c);
        c += 8;
      }
      for (; c < channels; ++c) f.template one<float>(at, c);
    }
  });
}

namespace detail {
// Sums over the rows of one block for `Vectors` neighbouring V of channels; several at once hide the adds' latency.
template <class V, int Vectors, class F>
void reduce_lanes(const F& f, int64_t begin, int64_t end, int64_t c0, int64_t channels, float* partial) {
  constexpr int kCount = Lanes<V>::kCount;
  V sums[Vectors][F::kSums] = {};
  for (int64_t row = begin; row < end; ++row) {
    const auto at = f.row(row);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      V terms[F::kSums];
      f.template one<V>(at, c0 + v * kCount, terms);
      for (int s = 0; s < F::kSums; ++s) sums[v][s] += terms[s];
    }
  }
  for (int v = 0; v < Vectors; ++v) {
    for (int s = 0; s < F::kSums; ++s) store<V>(partial + s * channels + c0 + v * kCount, sums[v][s]);
  }
}
}  // namespace detail

// f.one<V>(at, c, terms) gives F::kSums numbers (and may write outputs). Returns their sums over each block of
// kBlockRows rows as [blocks][kSums][channels]; callers merge the blocks in order, in double.
template <class F>
std::vector<float> reduce_rows(int64_t rows, int64_t channels, const F& f) {
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  std::vector<float> partial(static_cast<size_t>(blocks * F::kSums * channels));
  parallel_for(blocks, rows * channels, [&](int64_t block) {
    const int64_t begin = block * kBlockRows, end = std::min(rows, begin + kBlockRows);
    float* out = partial.data() + block * F::kSums * channels;
    int64_t c = 0;
    for (; c + 64 <= channels; c += 64) detail::reduce_lanes<Floats16, 4>(f, begin, end, c, channels, out);
    for (; c + 32 <= channels; c += 32) detail::reduce_lanes<Floats16, 2>(f, begin, end, c, channels, out);
    for (; c + 16 <= channels; c += 16) detail::reduce_lanes<Floats16, 1>(f, begin, end, c, channels, out);
    for (; c + 8 <= channels; c += 8) detail::reduce_lanes<Floats8, 1>(f, begin, end, c, channels, out);
    for (; c < channels; ++c) detail::reduce_lanes<float, 1>(f, begin, end, c, channels, out);
  });
  return partial;
}

// Sums of reduce_rows over all blocks, in double and in block order: [kSums][channels].
inline std::vector<double> merge_blocks(const std::vector<float>& partial, int64_t sums_times_channels) {
  std::vector<double> total(static_cast<size_t>(sums_times_channels));
  const float* block = partial.data();
  for (size_t done = 0; done < partial.size(); done += total.size(), block += total.size()) {
    for (size_t i = 0; i < total.size(); ++i) total[i] += block[i];
  }
  return total;
}

}  // namespace hr
