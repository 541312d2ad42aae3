#include "ops/conv/int8_loops.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/cpu_level.h"
#include "ops/conv/int8_silu.h"

#if defined(__x86_64__)
// GCC 12 warns of the undefined operands in its own header (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#endif

// This file is compiled without the contraction of multiplications and additions (ops/CMakeLists.txt), because a fused
// operation rounds once and would give other bits than the paths without it.
#define HR_INLINE inline __attribute__((always_inline))

namespace hr::int8 {
namespace {

// Adding this to a number from 0 to 255 rounds it to the nearest integer, which is then in the lowest byte.
constexpr float kRound = 8388608.0F;

void finish(const Problem& p, int64_t n, int64_t y, int64_t x, int64_t k, int32_t sum) {
  const int64_t at = n * p.out_image + y * p.out_row + x * p.out_pixel + k;
  float v = static_cast<float>(sum) * p.scale[k];
  if (p.silu) v = silu(v) * p.silu_scale[k];
  if (p.add_u8 != nullptr) v = v + static_cast<float>(p.add_u8[at]) * p.add_scale[k];
  if (p.add_f32 != nullptr) v = v + p.add_f32[((n * p.out_h + y) * p.out_w + x) * p.k + k] * p.add_scale[k];
  if (p.silu) v = v + p.silu_offset[k];
  // The comparisons are those of the vector instructions, for which the maximum of -0 and 0 is the second operand.
  const float positive = v > 0.0F ? v : 0.0F;
  if (p.y_u8 != nullptr) {
    const float limited = positive < 255.0F ? positive : 255.0F;
    p.y_u8[at] = static_cast<uint8_t>(std::bit_cast<uint32_t>(limited + kRound));
  } else {
    p.y_f32[at] = p.relu ? positive : v;
  }
}

void loop_plain(const Problem& p, int64_t n, int64_t y0, int64_t y1, int64_t block) {
  const int64_t k0 = block * kBlock, ks = std::min<int64_t>(kBlock, p.k - k0);
  const int8_t* weights = p.weights + block * p.tap_rows * p.steps * kBlock * 4;
  for (int64_t y = y0; y < y1; ++y) {
    for (int64_t x = 0; x < p.out_w; ++x) {
      int32_t sums[kBlock];
      for (int64_t k = 0; k < kBlock; ++k) sums[k] = p.bias[k0 + k];
      const int8_t* w = weights;
      for (int64_t r = 0; r < p.tap_rows; ++r) {
        const uint8_t* in = p.x + n * p.image_step + y * p.row_step + x * p.pixel_step + r * p.tap_row_step;
        for (int64_t s = 0; s < p.steps; ++s, w += kBlock * 4, in += 4) {
          for (int64_t k = 0; k < kBlock; ++k) {
            for (int64_t i = 0; i < 4; ++i) sums[k] += static_cast<int32_t>(in[i]) * w[k * 4 + i];
          }
        }
      }
      for (int64_t k = 0; k < ks; ++k) finish(p, n, y, x, k0 + k, sums[k]);
    }
  }
}

#if defined(__x86_64__)
#define HR_AVX2 __attribute__((target("avx2,bmi,bmi2")))
#define HR_VNNI __attribute__((target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,bmi,bmi2")))

// A group of pixels in a row of the output.
struct Group {
  int64_t y = 0, x = 0;
};

// The rows of taps that are computed.
struct Rows {
  int64_t begin = 0, end = 0;
};

// Returns the rows of taps of which some are inside of the picture, for outputs in the rows [first, last].
HR_INLINE Rows rows_inside(const Problem& p, int64_t first, int64_t last) {
  return {std::clamp<int64_t>(-(last * p.row_stride + p.first_row), 0, p.tap_rows),
          std::clamp<int64_t>(p.in_h - (first * p.row_stride + p.first_row), 0, p.tap_rows)};
}

HR_INLINE const uint8_t* input_of(const Problem& p, int64_t n, Group g) {
  return p.x + n * p.image_step + g.y * p.row_step + g.x * p.pixel_step;
}

// Adds the products of four neighbouring bytes. GCC 12 copies the sums of the intrinsic from register to register and
// to the stack, which halves the speed; it does not do that with the instruction itself.
HR_VNNI HR_INLINE void add_products(__m512i& sum, __m512i bytes, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
}

// Multiplies G groups of pixels by V vectors of 16 output channels. The sums stay in registers.
template <int G, int V>
HR_VNNI HR_INLINE void multiply_vnni(const Problem& p, const uint8_t* const (&base)[G], const int8_t* w, int64_t k0,
                                     Rows rows, __m512i (&sums)[G * kGroup][V]) {
  const int64_t pixel = p.pixel_step;
#pragma GCC unroll 12
  for (int i = 0; i < G * kGroup; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sums[i][v] = _mm512_loadu_si512(p.bias + k0 + v * 16);
  }
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const uint8_t* in[G];
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) in[g] = base[g] + r * p.tap_row_step;
    for (int64_t s = 0; s < p.steps; ++s) {
      __m512i u[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) u[v] = _mm512_loadu_si512(w + v * 64);
      w += kBlock * 4;
#pragma GCC unroll 4
      for (int g = 0; g < G; ++g) {
        // The compiler must not replace the four pointers by one for each pixel, which would not fit into registers.
        asm("" : "+r"(in[g]));
#pragma GCC unroll 3
        for (int i = 0; i < kGroup; ++i) {
          int32_t four;
          std::memcpy(&four, in[g] + i * pixel, 4);
          const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) add_products(sums[g * kGroup + i][v], x, u[v]);
        }
        in[g] += 4;
      }
    }
  }
}

// The same operations as those of silu() in int8_silu.h.
HR_VNNI HR_INLINE __m512 silu_vnni(__m512 v) {
  const auto number = [](float x) HR_VNNI { return _mm512_set1_ps(x); };
  const __m512 limited = _mm512_min_ps(_mm512_max_ps(v, number(-kSiluMost)), number(kSiluMost));
  const __m512 t = _mm512_mul_ps(limited, number(kMinusLog2E));
  const __m512 shifted = _mm512_add_ps(t, number(kSiluRound));
  const __m512 r = _mm512_sub_ps(t, _mm512_sub_ps(shifted, number(kSiluRound)));
  __m512 power = number(kPower5);
  power = _mm512_add_ps(_mm512_mul_ps(power, r), number(kPower4));
  power = _mm512_add_ps(_mm512_mul_ps(power, r), number(kPower3));
  power = _mm512_add_ps(_mm512_mul_ps(power, r), number(kPower2));
  power = _mm512_add_ps(_mm512_mul_ps(power, r), number(kPower1));
  power = _mm512_add_ps(_mm512_mul_ps(power, r), number(1.0F));
  const __m512i exponent =
      _mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23), _mm512_set1_epi32(kOneBits));
  return _mm512_div_ps(v, _mm512_add_ps(number(1.0F), _mm512_mul_ps(power, _mm512_castsi512_ps(exponent))));
}

// Loads the numbers of V vectors of output channels.
template <int V>
HR_VNNI HR_INLINE void load_channels(const float* from, __m512 (&to)[V]) {
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) to[v] = _mm512_loadu_ps(from + v * 16);
}

// The results of G groups of pixels and V vectors of output channels. With `Whole` all of them exist, so that no
// vector needs a mask, whose stores are slow. Otherwise channels beyond the last one are masked, and so are pixels
// beyond the end of a row.
template <int G, int V, bool Whole>
struct Block {
  static constexpr int kPixels = G * kGroup;
  const Problem& p;
  int64_t k0;
  int64_t at[G], dense[G];  // Of the first pixel of each group, in bytes and in a dense summand.
  bool inside[kPixels];
  __mmask16 channels[V];

  HR_VNNI HR_INLINE Block(const Problem& problem, int64_t n, const Group (&groups)[4], int64_t first)
      : p(problem), k0(first) {
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) {
      at[g] = n * p.out_image + groups[g].y * p.out_row + groups[g].x * p.out_pixel + k0;
      dense[g] = ((n * p.out_h + groups[g].y) * p.out_w + groups[g].x) * p.k + k0;
    }
    if constexpr (!Whole) {
#pragma GCC unroll 12
      for (int i = 0; i < kPixels; ++i) inside[i] = groups[i / kGroup].x + i % kGroup < p.out_w;
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        const int64_t count = std::clamp<int64_t>(p.k - k0 - v * 16, 0, 16);
        channels[v] = static_cast<__mmask16>((1U << count) - 1);
      }
    }
  }
  HR_VNNI HR_INLINE __mmask16 mask(int i, int v) const { return inside[i] ? channels[v] : __mmask16{0}; }
  HR_VNNI HR_INLINE int64_t byte_of(int i) const { return at[i / kGroup] + i % kGroup * p.out_pixel; }
  HR_VNNI HR_INLINE int64_t dense_of(int i) const { return dense[i / kGroup] + i % kGroup * p.k; }
  HR_VNNI HR_INLINE __m512i bytes(int i, int v) const {
    const uint8_t* const from = p.add_u8 + byte_of(i) + v * 16;
    if constexpr (Whole) return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask(i, v), from));
  }
  HR_VNNI HR_INLINE __m512 floats(int i, int v) const {
    const float* const from = p.add_f32 + dense_of(i) + v * 16;
    if constexpr (Whole) return _mm512_loadu_ps(from);
    return _mm512_maskz_loadu_ps(mask(i, v), from);
  }
};

// Rounds to integers from 0 to 255; a NaN becomes 0. Numbers above 255 are limited before, because those beyond 32 bits
// would become negative.
HR_VNNI HR_INLINE __m512i rounded_vnni(__m512 v) {
  return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(255.0F), v));
}

// Two pixels at a time, whose four vectors are packed into one of 64 bytes.
template <int G, int V>
HR_VNNI HR_INLINE void store_bytes(const Block<G, V, true>& block, const __m512 (&values)[G * kGroup][V]) {
  static_assert(V == 2);
  // Packing works within quarters of a register, so the groups of four channels are put in order afterwards.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#pragma GCC unroll 6
  for (int i = 0; i < G * kGroup; i += 2) {
    const int j = std::min(i + 1, G * kGroup - 1);
    const __m512i first = _mm512_packs_epi32(rounded_vnni(values[i][0]), rounded_vnni(values[i][1]));
    const __m512i second = j == i ? first : _mm512_packs_epi32(rounded_vnni(values[j][0]), rounded_vnni(values[j][1]));
    const __m512i both = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(first, second));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block.p.y_u8 + block.byte_of(i)), _mm512_castsi512_si256(both));
    if (j == i) continue;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block.p.y_u8 + block.byte_of(j)),
                        _mm512_extracti64x4_epi64(both, 1));
  }
}

template <int G, int V>
HR_VNNI HR_INLINE void store_bytes(const Block<G, V, false>& block, const __m512 (&values)[G * kGroup][V]) {
#pragma GCC unroll 12
  for (int i = 0; i < G * kGroup; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const __m512i positive = _mm512_max_epi32(rounded_vnni(values[i][v]), _mm512_setzero_si512());
      _mm_mask_storeu_epi8(block.p.y_u8 + block.byte_of(i) + v * 16, block.mask(i, v), _mm512_cvtepi32_epi8(positive));
    }
  }
}

template <int G, int V, bool Whole>
HR_VNNI HR_INLINE void store_floats(const Block<G, V, Whole>& block, const __m512 (&values)[G * kGroup][V]) {
  const __m512 zero = _mm512_setzero_ps();
#pragma GCC unroll 12
  for (int i = 0; i < G * kGroup; ++i) {
    float* const to = block.p.y_f32 + block.byte_of(i);
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const __m512 value = block.p.relu ? _mm512_max_ps(values[i][v], zero) : values[i][v];
      if constexpr (Whole) {
        _mm512_storeu_ps(to + v * 16, value);
      } else {
        _mm512_mask_storeu_ps(to + v * 16, block.mask(i, v), value);
      }
    }
  }
}

// The epilogue consists of passes over the registers, so that each question is asked once for all of them.
template <int G, int V, bool Whole>
HR_VNNI HR_INLINE void finish_vnni(const Block<G, V, Whole>& block, const __m512i (&sums)[G * kGroup][V]) {
  const Problem& p = block.p;
  const int64_t k0 = block.k0;
  __m512 values[G * kGroup][V], scale[V], add_scale[V];
  load_channels(p.scale + k0, scale);
#pragma GCC unroll 12
  for (int i = 0; i < G * kGroup; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) values[i][v] = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i][v]), scale[v]);
  }
  if (p.silu) {
    __m512 silu_scale[V];
    load_channels(p.silu_scale + k0, silu_scale);
#pragma GCC unroll 12
    for (int i = 0; i < G * kGroup; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) values[i][v] = _mm512_mul_ps(silu_vnni(values[i][v]), silu_scale[v]);
    }
  }
  load_channels(p.add_scale + k0, add_scale);
  if (p.add_u8 != nullptr) {
#pragma GCC unroll 12
    for (int i = 0; i < G * kGroup; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v)
        values[i][v] = _mm512_add_ps(values[i][v], _mm512_mul_ps(_mm512_cvtepi32_ps(block.bytes(i, v)), add_scale[v]));
    }
  }
  if (p.add_f32 != nullptr) {
#pragma GCC unroll 12
    for (int i = 0; i < G * kGroup; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v)
        values[i][v] = _mm512_add_ps(values[i][v], _mm512_mul_ps(block.floats(i, v), add_scale[v]));
    }
  }
  if (p.silu) {
    __m512 offset[V];
    load_channels(p.silu_offset + k0, offset);
#pragma GCC unroll 12
    for (int i = 0; i < G * kGroup; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) values[i][v] = _mm512_add_ps(values[i][v], offset[v]);
    }
  }
  if (p.y_u8 != nullptr) {
    store_bytes(block, values);
  } else {
    store_floats(block, values);
  }
}

template <int G, int V>
HR_VNNI HR_INLINE void groups_vnni(const Problem& p, int64_t n, const Group (&groups)[4], const int8_t* w, int64_t k0) {
  // The groups are in the order of their rows.
  const Rows rows = rows_inside(p, groups[0].y, groups[G - 1].y);
  const uint8_t* base[G];
#pragma GCC unroll 4
  for (int g = 0; g < G; ++g) base[g] = input_of(p, n, groups[g]);
  __m512i sums[G * kGroup][V];
  multiply_vnni<G, V>(p, base, w + rows.begin * p.steps * kBlock * 4, k0, rows, sums);
  if constexpr (V == 2) {
    bool whole = p.k - k0 >= V * 16;
#pragma GCC unroll 4
    for (int g = 0; g < G; ++g) whole = whole && groups[g].x + kGroup <= p.out_w;
    if (whole) return finish_vnni(Block<G, V, true>(p, n, groups, k0), sums);
  }
  finish_vnni(Block<G, V, false>(p, n, groups, k0), sums);
}

template <int V>
HR_VNNI HR_INLINE void loop_vnni_of(const Problem& p, int64_t n, int64_t y0, int64_t y1, int64_t block) {
  const int8_t* w = p.weights + block * p.tap_rows * p.steps * kBlock * 4;
  const int64_t k0 = block * kBlock, in_row = (p.out_w + kGroup - 1) / kGroup, all = (y1 - y0) * in_row;
  Group next{y0, 0};
  for (int64_t done = 0; done < all; done += 4) {
    const int64_t count = std::min<int64_t>(4, all - done);
    Group groups[4];
    for (int64_t g = 0; g < count; ++g) {
      groups[g] = next;
      next.x += kGroup;
      if (next.x >= p.out_w) next = {next.y + 1, 0};
    }
    if (count == 4) groups_vnni<4, V>(p, n, groups, w, k0);
    if (count == 3) groups_vnni<3, V>(p, n, groups, w, k0);
    if (count == 2) groups_vnni<2, V>(p, n, groups, w, k0);
    if (count == 1) groups_vnni<1, V>(p, n, groups, w, k0);
  }
}

HR_VNNI void loop_vnni(const Problem& p, int64_t n, int64_t y0, int64_t y1, int64_t block) {
  if (p.k - block * kBlock > 16) {
    loop_vnni_of<2>(p, n, y0, y1, block);
  } else {
    loop_vnni_of<1>(p, n, y0, y1, block);
  }
}

// The instruction that multiplies unsigned and signed bytes (vpmaddubsw) limits its sums to 16 bits, so it is not
// exact. The bytes are widened to 16 bits instead: the bytes 0 and 2 of four inputs are multiplied in one instruction,
// and the bytes 1 and 3 in another one.
HR_AVX2 HR_INLINE void group_avx2(const Problem& p, int64_t n, Group group, const int8_t* w, int64_t k0) {
  constexpr int kVectors = 2, kLanes = 8;
  const uint8_t* base = input_of(p, n, group);
  __m256i sums[kGroup][kVectors];
#pragma GCC unroll 3
  for (int i = 0; i < kGroup; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
      sums[i][v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p.bias + k0 + v * kLanes));
  }
  const __m256i low = _mm256_set1_epi16(0xff);
  for (int64_t r = 0; r < p.tap_rows; ++r) {
    const uint8_t* in = base + r * p.tap_row_step;
    for (int64_t s = 0; s < p.steps; ++s, in += 4, w += kBlock * 4) {
      __m256i even[kVectors], odd[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + v * 32));
        even[v] = _mm256_srai_epi16(_mm256_slli_epi16(both, 8), 8);
        odd[v] = _mm256_srai_epi16(both, 8);
      }
#pragma GCC unroll 3
      for (int i = 0; i < kGroup; ++i) {
        int32_t four;
        std::memcpy(&four, in + i * p.pixel_step, 4);
        const __m256i x = _mm256_set1_epi32(four), x_even = _mm256_and_si256(x, low), x_odd = _mm256_srli_epi16(x, 8);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
          sums[i][v] = _mm256_add_epi32(sums[i][v], _mm256_madd_epi16(x_even, even[v]));
          sums[i][v] = _mm256_add_epi32(sums[i][v], _mm256_madd_epi16(x_odd, odd[v]));
        }
      }
    }
  }
  const int64_t ks = std::min<int64_t>(kVectors * kLanes, p.k - k0);
  for (int i = 0; i < kGroup && group.x + i < p.out_w; ++i) {
    int32_t lanes[kVectors * kLanes];
    for (int v = 0; v < kVectors; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes + v * kLanes), sums[i][v]);
    }
    for (int64_t k = 0; k < ks; ++k) finish(p, n, group.y, group.x + i, k0 + k, lanes[k]);
  }
}

HR_AVX2 void loop_avx2(const Problem& p, int64_t n, int64_t y0, int64_t y1, int64_t block) {
  const int8_t* w = p.weights + block * p.tap_rows * p.steps * kBlock * 4;
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t k0 = block * kBlock + half * 16;
    if (k0 >= p.k) break;
    for (int64_t y = y0; y < y1; ++y) {
      for (int64_t x = 0; x < p.out_w; x += kGroup) group_avx2(p, n, {y, x}, w + half * 64, k0);
    }
  }
}
#endif

}  // namespace

bool has_path(Path path) {
#if defined(__x86_64__)
  if (path == Path::vnni) return cpu_level() >= CpuLevel::v4 && __builtin_cpu_supports("avx512vnni");
  if (path == Path::avx2) return cpu_level() >= CpuLevel::v3;
#endif
  return path == Path::plain;
}

Path best_path() {
  if (has_path(Path::vnni)) return Path::vnni;
  return has_path(Path::avx2) ? Path::avx2 : Path::plain;
}

Loop loop_of(Path path) {
#if defined(__x86_64__)
  if (path == Path::vnni) return loop_vnni;
  if (path == Path::avx2) return loop_avx2;
#endif
  return loop_plain;
}

}  // namespace hr::int8
