#include "ops/conv/row_conv_loops.h"

#include <algorithm>

#include "ops/conv/vector_loops.h"
#include "ops/sigmoid.h"

namespace hr::row_conv {
namespace {

#if defined(__x86_64__)

// Neighbouring pixels share inputs if their runs overlap: with runs of three steps, as those of a 6x6 filter with
// stride 2 have, an input belongs to three pixels. It is then loaded once for all of them. Without
// that, each product of a single vector of channels needs a load, and a processor loads no more numbers per cycle than
// it multiplies.
constexpr int kSharedBy = 3;
// The filters of three products, the sums and an input must fit into the registers, of which there are 16 or 32. Sums
// that share inputs add their products in another order, so the choice must not depend on the number R of pixels.
template <class V, int NV>
constexpr bool kHasSharedInputs = NV == 1 || Lanes<V>::kCount == 16;

template <class V, int R, int NV>
HR_INLINE void add_shared_inputs(const Term& term, const float* x, const float* filters, V (&sums)[R][NV]) {
  constexpr int kCount = Lanes<V>::kCount;
  for (int64_t d = 0; d < term.step; ++d, ++x, filters += NV * kCount) {
    V w[kSharedBy][NV];
#pragma GCC unroll 3
    for (int j = 0; j < kSharedBy; ++j) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) w[j][v] = load<V>(filters + (j * term.step * NV + v) * kCount);
    }
#pragma GCC unroll 26
    for (int i = 0; i < R + kSharedBy - 1; ++i) {
      const float value = x[i * term.step];
#pragma GCC unroll 3
      for (int j = 0; j < kSharedBy; ++j) {
        if (i < j || i - j >= R) continue;
#pragma GCC unroll 2
        for (int v = 0; v < NV; ++v) sums[i - j][v] += value * w[j][v];
      }
    }
  }
}

// Adds the products of R pixels, from `first` on, with NV vectors of output channels. The sums stay in registers. Each
// sum is one chain of operations, whatever R and NV are, so a result depends neither on the division of the work nor on
// the other pixels.
template <class V, int R, int NV>
HR_INLINE void multiply_rows(std::span<const Term> terms, int64_t first, const float* filters, int64_t k0,
                             const Outputs& to) {
  constexpr int kCount = Lanes<V>::kCount, kGroup = 4, kGroups = (R + kGroup - 1) / kGroup;
  const int64_t ks = std::min<int64_t>(NV * kCount, to.k - k0);
  const auto count = [&](int v) { return std::min<int64_t>(kCount, ks - v * kCount); };
  V sums[R][NV];
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v) {
    const V bias = to.bias == nullptr ? V{} : load_count<V>(to.bias + k0 + v * kCount, count(v));
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r) sums[r][v] = bias;
  }
  for (const Term& term : terms) {
    const float* x = term.x + first * term.step;
    if constexpr (kHasSharedInputs<V, NV>) {
      if (term.depth == kSharedBy * term.step) {
        add_shared_inputs<V, R, NV>(term, x, filters, sums);
        filters += term.depth * NV * kCount;
        continue;
      }
    }
    const float* of_group[kGroups];
#pragma GCC unroll 6
    for (int g = 0; g < kGroups; ++g) of_group[g] = x + g * kGroup * term.step;
    const int64_t step = term.step, three_steps = 3 * step;
    for (int64_t d = 0; d < term.depth; ++d, filters += NV * kCount) {
      V w[NV];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) w[v] = load<V>(filters + v * kCount);
#pragma GCC unroll 6
      for (int g = 0; g < kGroups; ++g) {
        // The compiler must not replace the pointers by one for each pixel, which would not fit into registers.
        asm("" : "+r"(of_group[g]));
#pragma GCC unroll 4
        for (int i = 0; i < kGroup; ++i) {
          const int r = g * kGroup + i;
          if (r >= R) continue;
          const float value = of_group[g][i == 3 ? three_steps : i * step];
#pragma GCC unroll 2
          for (int v = 0; v < NV; ++v) sums[r][v] += value * w[v];
        }
        ++of_group[g];
      }
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v) {
    const int64_t k = k0 + v * kCount, n = count(v);
    if (to.coarse != nullptr) {
#pragma GCC unroll 24
      for (int r = 0; r < R; ++r) {
        const int64_t pixel = to.first_pixel + first + r, row = pixel / to.w, column = pixel - row * to.w;
        const int64_t from = (row >> to.up) * (to.w >> to.up) + (column >> to.up);
        sums[r][v] += load_count<V>(to.coarse + from * to.k + k, n);
      }
    }
    const int64_t at = first * to.k + k;
#pragma GCC unroll 24
    for (int r = 0; r < R; ++r) {
      V sum = sums[r][v];
      if (to.act == ConvAct::silu) sum = silu(sum);
      if (to.add != nullptr) sum += load_count<V>(to.add + at + r * to.k, n);
      if (to.act == ConvAct::relu) sum = at_least(sum, V{});
      store_count<V>(to.y + at + r * to.k, sum, n);
    }
  }
}

// Computes `pixels` pixels, at least R, in blocks of R. The last block may overlap with the one before it, so that some
// pixels are computed twice. Where the result replaces the summand, which a second computation would not find any more,
// the last pixels are computed one by one instead.
template <class V, int R, int NV>
HR_INLINE void multiply_blocks(std::span<const Term> terms, int64_t pixels, const float* filters, int64_t k0,
                               const Outputs& to) {
  int64_t first = 0;
  for (; first + R <= pixels; first += R) multiply_rows<V, R, NV>(terms, first, filters, k0, to);
  if (first == pixels) return;
  if (to.add != to.y) return multiply_rows<V, R, NV>(terms, pixels - R, filters, k0, to);
  for (; first < pixels; ++first) multiply_rows<V, 1, NV>(terms, first, filters, k0, to);
}

// Chooses the size of the blocks so that few pixels are computed twice. R is a multiple of 2.
template <class V, int R, int NV>
HR_INLINE void multiply_pixels(std::span<const Term> terms, int64_t pixels, const float* filters, int64_t k0,
                               const Outputs& to) {
  constexpr int kFewer = R - R / 12 - (R < 12 ? 1 : 0), kMuchFewer = R * 3 / 4;
  // In half pixels. A block loads the filters, which takes as long as half a pixel.
  const auto cost = [pixels](int64_t r) { return (pixels + r - 1) / r * (2 * r + 1); };
  if (pixels < R / 2) return multiply_blocks<V, 1, NV>(terms, pixels, filters, k0, to);
  int64_t best = R / 2;
  for (const int r : {kMuchFewer, kFewer, R}) {
    if (pixels >= r && cost(r) <= cost(best)) best = r;
  }
  if (best == R) return multiply_blocks<V, R, NV>(terms, pixels, filters, k0, to);
  if (best == kFewer) return multiply_blocks<V, kFewer, NV>(terms, pixels, filters, k0, to);
  if (best == kMuchFewer) return multiply_blocks<V, kMuchFewer, NV>(terms, pixels, filters, k0, to);
  multiply_blocks<V, R / 2, NV>(terms, pixels, filters, k0, to);
}

template <class V, int Registers>
HR_INLINE void multiply(std::span<const Term> terms, int64_t pixels, const float* filters, int64_t k0, int vectors,
                        const Outputs& to) {
  if (vectors == 2) {
    multiply_pixels<V, Registers / 2, 2>(terms, pixels, filters, k0, to);
  } else {
    multiply_pixels<V, Registers, 1>(terms, pixels, filters, k0, to);
  }
}

// This macro compiles the loops for one level with its instructions. The attribute `flatten` inlines everything that
// they call, so that no other function is compiled with instructions that the processor may lack.
#define HR_ROW_CONV_LOOPS(level, V, Registers, instructions)                                                           \
  __attribute__((target(instructions), flatten)) void multiply_##level(                                                \
      std::span<const Term> terms, int64_t pixels, const float* filters, int64_t k0, int vectors, const Outputs& to) { \
    multiply<V, Registers>(terms, pixels, filters, k0, vectors, to);                                                   \
  }                                                                                                                    \
  constexpr Loops loops_##level{Lanes<V>::kCount, multiply_##level};

HR_ROW_CONV_LOOPS(v3, Floats8, 12, HR_INSTRUCTIONS_V3)
HR_ROW_CONV_LOOPS(v4, Floats16, 24, HR_INSTRUCTIONS_V4)
#endif

}  // namespace

const Loops* loops_at(CpuLevel level) {
#if defined(__x86_64__)
  if (level == CpuLevel::v4) return &loops_v4;
  if (level == CpuLevel::v3) return &loops_v3;
#endif
  return nullptr;
}

}  // namespace hr::row_conv
