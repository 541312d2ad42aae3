// The two loops under every hand-written op. A kernel is a functor on (row, channel); these run it on the CPU: rows are
// cut into fixed blocks for the threads, the channel loop is the vector loop. The same functors run on a GPU with one
// thread per few channels.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/dtype.h"
#include "core/parallel.h"

#ifdef __CUDACC__
#define HR_HD __host__ __device__ __forceinline__
#else
#define HR_HD inline __attribute__((always_inline))
#endif

namespace hr {

HR_HD float to_float(float v) { return v; }
HR_HD float to_float(bf16 v) { return static_cast<float>(v); }
template <class T>
HR_HD T from_float(float v) {
  return static_cast<T>(v);
}

// Rows per block. Fixed, so that sums come out with the same bits whatever the number of threads.
constexpr int64_t kBlockRows = 256;

// f(row, c) for every row in [0, rows) and channel in [0, channels).
template <class F>
void for_each(int64_t rows, int64_t channels, const F& f) {
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  parallel_for(blocks, rows * channels, [&](int64_t block) {
    const int64_t end = std::min(rows, (block + 1) * kBlockRows);
    for (int64_t row = block * kBlockRows; row < end; ++row) {
#pragma GCC ivdep
      for (int64_t c = 0; c < channels; ++c) f(row, c);
    }
  });
}

namespace detail {
template <int Width, class F>
void reduce_lanes(const F& f, int64_t begin, int64_t end, int64_t c0, int64_t channels, float* partial) {
  float sums[F::kSums][Width] = {};
  for (int64_t row = begin; row < end; ++row) {
#pragma GCC ivdep
    for (int j = 0; j < Width; ++j) {
      float terms[F::kSums];
      f(row, c0 + j, terms);
      for (int s = 0; s < F::kSums; ++s) sums[s][j] += terms[s];
    }
  }
  for (int s = 0; s < F::kSums; ++s) {
    for (int j = 0; j < Width; ++j) partial[s * channels + c0 + j] = sums[s][j];
  }
}
}  // namespace detail

// f(row, c, terms) gives F::kSums numbers (and may write outputs). Returns their sums over each block of kBlockRows
// rows as [blocks][kSums][channels]; callers merge the blocks in order, in double.
template <class F>
std::vector<float> reduce_rows(int64_t rows, int64_t channels, const F& f) {
  const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  std::vector<float> partial(static_cast<size_t>(blocks * F::kSums * channels));
  parallel_for(blocks, rows * channels, [&](int64_t block) {
    const int64_t begin = block * kBlockRows, end = std::min(rows, begin + kBlockRows);
    float* out = partial.data() + block * F::kSums * channels;
    int64_t c = 0;
    for (; c + 32 <= channels; c += 32) detail::reduce_lanes<32>(f, begin, end, c, channels, out);
    for (; c + 8 <= channels; c += 8) detail::reduce_lanes<8>(f, begin, end, c, channels, out);
    for (; c < channels; ++c) detail::reduce_lanes<1>(f, begin, end, c, channels, out);
  });
  return partial;
}

// Sums of reduce_rows over all blocks, in double and in block order: [kSums][channels].
inline std::vector<double> merge_blocks(const std::vector<float>& partial, int64_t sums_times_channels) {
  std::vector<double> total(static_cast<size_t>(sums_times_channels));
  for (size_t i = 0; i < partial.size(); ++i) total[i % static_cast<size_t>(sums_times_channels)] += partial[i];
  return total;
}

}  // namespace hr
