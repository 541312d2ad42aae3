#include "ops/conv/depthwise_loops.h"

#include <algorithm>

#include "ops/conv/vector_loops.h"
#include "ops/sigmoid.h"

namespace hr::depthwise {
namespace {

#if defined(__x86_64__)

// A vector of channels of one row of outputs, with the three rows of inputs that it needs.
template <class V>
struct Line {
  const float* rows[3];  // The pixel of column 0; null if the row lies outside of the picture.
  V taps[9];
  V bias;
  float* y;
  int64_t count;  // The number of channels, at most the lanes of V.
};

// Computes N neighbouring outputs from column x on. The inputs of a column are loaded once for all outputs that use
// them. With `Edge`, inputs may lie outside of the picture and count as zero.
template <class V, int N, int Stride, bool Edge>
HR_INLINE void outputs(const Problem& p, const Line<V>& line, int64_t x) {
  constexpr int kColumns = (N - 1) * Stride + 3;
  const int64_t left = x * Stride - p.pad;
  V sums[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) sums[i] = line.bias;
#pragma GCC unroll 3
  for (int r = 0; r < 3; ++r) {
    const float* row = line.rows[r];
#pragma GCC unroll 16
    for (int c = 0; c < kColumns; ++c) {
      V in{};
      if (!Edge || (row != nullptr && left + c >= 0 && left + c < p.w)) {
        in = load_count<V>(row + (left + c) * p.channels, line.count);
      }
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) {
        const int tap = c - i * Stride;
        if (tap >= 0 && tap < 3) sums[i] += in * line.taps[r * 3 + tap];
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    const V sum = p.silu ? silu(sums[i]) : sums[i];
    store_count<V>(line.y + (x + i) * p.channels, sum, line.count);
  }
}

// Computes the outputs [begin, end) of a row.
template <class V, int Stride>
HR_INLINE void part_of_row(const Problem& p, const Line<V>& line, int64_t begin, int64_t end) {
  constexpr int kOutputs = 4;
  if (end - begin < kOutputs) {
    for (int64_t x = begin; x < end; ++x) outputs<V, 1, Stride, true>(p, line, x);
    return;
  }
  const bool whole = line.rows[0] != nullptr && line.rows[1] != nullptr && line.rows[2] != nullptr;
  for (int64_t first = begin; first < end; first += kOutputs) {
    // The last outputs may be computed twice.
    const int64_t x = std::min(first, end - kOutputs), left = x * Stride - p.pad;
    if (whole && left >= 0 && left + (kOutputs - 1) * Stride + 3 <= p.w) {
      outputs<V, kOutputs, Stride, false>(p, line, x);
    } else {
      outputs<V, kOutputs, Stride, true>(p, line, x);
    }
  }
}

template <class V>
HR_INLINE void run_of_outputs(const Problem& p, int64_t begin, int64_t end) {
  constexpr int kCount = Lanes<V>::kCount;
  for (int64_t c = 0; c < p.channels; c += kCount) {
    Line<V> line;
    line.count = std::min<int64_t>(kCount, p.channels - c);
    line.bias = p.bias == nullptr ? V{} : load_count<V>(p.bias + c, line.count);
    for (int tap = 0; tap < 9; ++tap) line.taps[tap] = load_count<V>(p.filter + tap * p.channels + c, line.count);
    for (int64_t at = begin; at < end;) {
      const int64_t row = at / p.out_w, x = at - row * p.out_w, x_end = std::min(p.out_w, x + end - at);
      const int64_t n = row / p.out_h, top = (row - n * p.out_h) * p.stride - p.pad;
      line.y = p.y + row * p.out_w * p.channels + c;
      for (int r = 0; r < 3; ++r) {
        const bool exists = top + r >= 0 && top + r < p.h;
        line.rows[r] = exists ? p.x + (n * p.h + top + r) * p.w * p.channels + c : nullptr;
      }
      p.stride == 1 ? part_of_row<V, 1>(p, line, x, x_end) : part_of_row<V, 2>(p, line, x, x_end);
      at += x_end - x;
    }
  }
}

#define HR_DEPTHWISE_LOOP(level, V, instructions)                                                                  \
  __attribute__((target(instructions), flatten)) void loop_##level(const Problem& p, int64_t begin, int64_t end) { \
    run_of_outputs<V>(p, begin, end);                                                                              \
  }

HR_DEPTHWISE_LOOP(v3, Floats8, HR_INSTRUCTIONS_V3)
HR_DEPTHWISE_LOOP(v4, Floats16, HR_INSTRUCTIONS_V4)
#endif

}  // namespace

Loop loop_at(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::v4) return loop_v4;
  if (level == CpuLevel::v3) return loop_v3;
#endif
  return nullptr;
}

}  // namespace hr::depthwise
