#include "nn/permute.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstring>

namespace hr {
namespace {

constexpr int64_t kPiece = 1 << 17;  // Elements per piece: 512 KiB, which takes a fraction of a millisecond.
constexpr int64_t kLine = 16;        // Floats in a cache line.

// Four floats at any address. The compiler's vector type keeps the code below independent of the processor.
using Vec4 = float __attribute__((vector_size(16)));

Vec4 load4(const std::byte* at) {
  Vec4 v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

float load(const std::byte* at) {
  float v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

// Writes past the caches. The slabs are not read before all of them are filled, and a normal store would first read the
// cache line that it overwrites, which is half as much traffic again. `at` is aligned to 16 bytes.
void stream4(std::byte* at, Vec4 v) {
#if defined(__SSE2__)
  _mm_stream_ps(reinterpret_cast<float*>(at), v);
#else
  std::memcpy(at, &v, sizeof v);
#endif
}

// Makes the streamed stores of this thread visible to other threads.
void stream_end() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

void stream_copy(const std::byte* in, std::byte* out, int64_t n) {
  int64_t i = 0;
  if (aligned16(out)) {
    for (; i + 4 <= n; i += 4) stream4(out + i * 4, load4(in + i * 4));
  }
  std::memcpy(out + i * 4, in + i * 4, static_cast<size_t>(n - i) * 4);
}

// Transposes kLine rows of 4 columns of `in` [.., stride]: writes one cache line in each of 4 rows of `out` [..,
// out_stride].
void stream_4_columns(const std::byte* in, int64_t stride, std::byte* out, int64_t out_stride) {
  for (int64_t r = 0; r < kLine; r += 4) {
    const std::byte* from = in + r * stride * 4;
    const Vec4 a = load4(from), b = load4(from + stride * 4), c = load4(from + stride * 8),
               d = load4(from + stride * 12);
    const Vec4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Vec4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    std::byte* to = out + r * 4;
    stream4(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    stream4(to + out_stride * 4, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    stream4(to + out_stride * 8, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    stream4(to + out_stride * 12, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
  }
}

void stream_1_column(const std::byte* in, int64_t stride, std::byte* out) {
  for (int64_t r = 0; r < kLine; r += 4) {
    const std::byte* from = in + r * stride * 4;
    stream4(out + r * 4, Vec4{load(from), load(from + stride * 4), load(from + stride * 8), load(from + stride * 12)});
  }
}

// Transposes [rows, columns] to [columns, rows], for the columns [first, last) of `in`.
void transpose(const std::byte* in, std::byte* out, int64_t rows, int64_t columns, int64_t first, int64_t last) {
  // A tile has kLine rows and kLine columns, so that whole cache lines are read and written.
  for (int64_t tile = first; tile < last; tile += kLine) {
    const int64_t end = std::min(tile + kLine, last);
    int64_t r = 0;
    if (rows % 4 == 0 && aligned16(out)) {
      for (; r + kLine <= rows; r += kLine) {
        int64_t c = tile;
        for (; c + 4 <= end; c += 4)
          stream_4_columns(in + (r * columns + c) * 4, columns, out + (c * rows + r) * 4, rows);
        for (; c < end; ++c) stream_1_column(in + (r * columns + c) * 4, columns, out + (c * rows + r) * 4);
      }
    }
    for (; r < rows; ++r) {
      for (int64_t c = tile; c < end; ++c) std::memcpy(out + (c * rows + r) * 4, in + (r * columns + c) * 4, 4);
    }
  }
}

}  // namespace

Transposition transposition(const Parameter& p) {
  const Shape& s = p.torch_shape;
  const int64_t taps = p.layout == ParameterLayout::plain ? 1 : s[2] * s[3];
  if (p.layout == ParameterLayout::filter && taps > 1) return {s[0], s[1], taps};
  if (p.layout == ParameterLayout::deconv_filter) return {1, s[0], s[1] * taps};
  return {1, 1, numel(s)};  // The order is the same in both layouts.
}

void cut(const Parameter& p, size_t array, std::vector<Piece>& pieces) {
  const Transposition t = transposition(p);
  const int64_t size = t.rows * t.columns;
  if (t.matrices == 1) {
    const int64_t step = std::max<int64_t>(kPiece / std::max<int64_t>(t.rows, 1) / kLine * kLine, kLine);
    for (int64_t c = 0; c < t.columns; c += step) pieces.push_back({&p, array, 0, 1, c, std::min(c + step, t.columns)});
    return;
  }
  const int64_t step = std::max<int64_t>(kPiece / std::max<int64_t>(size, 1), 1);
  for (int64_t m = 0; m < t.matrices; m += step)
    pieces.push_back({&p, array, m, std::min(m + step, t.matrices), 0, t.columns});
}

void copy_to_ours(const Piece& piece, const std::byte* torch, float* ours) {
  const Transposition t = transposition(*piece.parameter);
  auto* out = reinterpret_cast<std::byte*>(ours);
  if (t.rows == 1) {
    stream_copy(torch + piece.first * 4, out + piece.first * 4, piece.last - piece.first);
  } else {
    for (int64_t m = piece.from; m < piece.to; ++m) {
      const int64_t at = m * t.rows * t.columns * 4;
      transpose(torch + at, out + at, t.rows, t.columns, piece.first, piece.last);
    }
  }
  stream_end();
}

void copy_to_torch(const Piece& piece, const float* ours, std::byte* torch) {
  const Transposition t = transposition(*piece.parameter);
  const auto* in = reinterpret_cast<const std::byte*>(ours);
  for (int64_t m = piece.from; m < piece.to; ++m) {
    const int64_t at = m * t.rows * t.columns * 4;
    for (int64_t r = 0; r < t.rows; ++r) {
      for (int64_t c = piece.first; c < piece.last; ++c)
        std::memcpy(torch + at + (r * t.columns + c) * 4, in + at + (c * t.rows + r) * 4, 4);
    }
  }
}

}  // namespace hr
