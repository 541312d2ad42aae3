#include "ops/conv/pixel_products_loops.h"

#include "ops/conv/vector_loops.h"

namespace hr::pixel_products {
namespace {

#if defined(__x86_64__)

// Computes R left channels by NV vectors of right channels. The sums stay in registers.
template <class V, int R, int NV>
HR_INLINE void multiply_block(const Area& area, const float* left, const float* right, float* out, int64_t out_stride,
                              bool accumulate) {
  constexpr int kCount = Lanes<V>::kCount;
  V sums[R][NV];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sums[r][v] = accumulate ? load<V>(out + r * out_stride + v * kCount) : V{};
  }
  for (int64_t y = 0; y < area.rows; ++y) {
    const float *l = left + y * area.left_row, *u = right + y * area.right_row;
    for (int64_t x = 0; x < area.columns; ++x, l += area.left_step, u += area.right_step) {
      V w[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) w[v] = load<V>(u + v * kCount);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) sums[r][v] += l[r] * w[v];
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) store<V>(out + r * out_stride + v * kCount, sums[r][v]);
  }
}

// Calls multiply_block for a number of left channels that is known only at run time and is at most R.
template <class V, int R, int NV, class... Args>
HR_INLINE void multiply_some(int64_t lefts, const Args&... args) {
  if (lefts == R) return multiply_block<V, R, NV>(args...);
  if constexpr (R > 1) multiply_some<V, R - 1, NV>(lefts, args...);
}

template <class V, int R, int NV>
HR_INLINE void multiply_all(const Area& area, const float* left, int64_t lefts, const float* right, float* out,
                            int64_t out_stride, bool accumulate) {
  const int64_t parts = (lefts + R - 1) / R;
  for (int64_t part = 0; part < parts; ++part) {
    // The parts have equal sizes, because a part with few channels does not fill the pipelines.
    const int64_t begin = part * lefts / parts, count = (part + 1) * lefts / parts - begin;
    multiply_some<V, R, NV>(count, area, left + begin, right, out + begin * out_stride, out_stride, accumulate);
  }
}

template <class V, int R>
HR_INLINE void multiply(const Area& area, const float* left, int64_t lefts, const float* right, int vectors, float* out,
                        int64_t out_stride, bool accumulate) {
  if (vectors == 2) {
    multiply_all<V, R, 2>(area, left, lefts, right, out, out_stride, accumulate);
  } else {
    multiply_all<V, R, 1>(area, left, lefts, right, out, out_stride, accumulate);
  }
}

// This macro compiles the loops for one level with its instructions. The attribute `flatten` inlines everything that
// they call, so that no other function is compiled with instructions that the processor may lack.
#define HR_PIXEL_PRODUCTS_LOOPS(level, V, R, instructions)                                             \
  __attribute__((target(instructions), flatten)) void multiply_##level(                                \
      const Area& area, const float* left, int64_t lefts, const float* right, int vectors, float* out, \
      int64_t out_stride, bool accumulate) {                                                           \
    multiply<V, R>(area, left, lefts, right, vectors, out, out_stride, accumulate);                    \
  }                                                                                                    \
  constexpr Loops loops_##level{Lanes<V>::kCount, multiply_##level};

HR_PIXEL_PRODUCTS_LOOPS(v3, Floats8, 6, HR_INSTRUCTIONS_V3)
HR_PIXEL_PRODUCTS_LOOPS(v4, Floats16, 12, HR_INSTRUCTIONS_V4)
#endif

}  // namespace

const Loops* loops_at(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::v4) return &loops_v4;
  if (level == CpuLevel::v3) return &loops_v3;
#endif
  return nullptr;
}

}  // namespace hr::pixel_products
