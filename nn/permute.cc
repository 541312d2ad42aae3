#include "nn/permute.h"

#include <algorithm>
#include <cstring>

namespace hr {
namespace {

constexpr int64_t kPiece = 1 << 17;  // elements: 512 KiB, a fraction of a millisecond

float load(const std::byte* at) {
  float v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

// in [rows, columns] with `in_stride` floats from row to row -> out [columns, rows] with `out_stride`. kColumns: known
// while compiling, so that the loop over the taps of a 3x3 filter unrolls; 0: `columns` counts.
template <int kColumns>
void transpose_tile(const std::byte* in, int64_t in_stride, std::byte* out, int64_t out_stride, int64_t rows,
                    int64_t columns) {
  const int64_t n = kColumns > 0 ? kColumns : columns;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const float v = load(in + (r * in_stride + c) * 4);
      std::memcpy(out + (c * out_stride + r) * 4, &v, 4);
    }
  }
}

// [rows, columns] -> [columns, rows]; columns [first, last) of it. Tiles: a cache line of rows by as many columns.
void transpose(const std::byte* in, std::byte* out, int64_t rows, int64_t columns, int64_t first, int64_t last) {
  if (rows == 1 || columns == 1) {
    const int64_t skip = rows == 1 ? first : 0, n = rows == 1 ? last - first : rows;
    std::memcpy(out + skip * 4, in + skip * 4, static_cast<size_t>(n) * 4);
    return;
  }
  constexpr int64_t kTile = 16;
  for (int64_t c = first; c < last; c += kTile) {
    const int64_t width = std::min(kTile, last - c);
    for (int64_t r = 0; r < rows; r += kTile) {
      const int64_t height = std::min(kTile, rows - r);
      const std::byte* from = in + (r * columns + c) * 4;
      std::byte* to = out + (c * rows + r) * 4;
      if (width == 16) {
        transpose_tile<16>(from, columns, to, rows, height, width);
      } else if (width == 9) {
        transpose_tile<9>(from, columns, to, rows, height, width);
      } else {
        transpose_tile<0>(from, columns, to, rows, height, width);
      }
    }
  }
}

}  // namespace

Transposition transposition(const Parameter& p) {
  const Shape& s = p.torch_shape;
  switch (p.layout) {
    case ParameterLayout::filter:
      return {s[0], s[1], s[2] * s[3]};
    case ParameterLayout::deconv_filter:
      return {1, s[0], s[1] * s[2] * s[3]};
    default:
      return {1, 1, numel(s)};
  }
}

void cut(const Parameter& p, size_t array, std::vector<Piece>& pieces) {
  const Transposition t = transposition(p);
  const int64_t size = t.rows * t.columns;
  if (t.matrices == 1) {
    const int64_t step = std::max<int64_t>(kPiece / std::max<int64_t>(t.rows, 1) / 16 * 16, 16);
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
  for (int64_t m = piece.from; m < piece.to; ++m) {
    const int64_t at = m * t.rows * t.columns * 4;
    transpose(torch + at, out + at, t.rows, t.columns, piece.first, piece.last);
  }
}

void copy_to_torch(const Piece& piece, const float* ours, std::byte* torch) {
  const Transposition t = transposition(*piece.parameter);
  const auto* in = reinterpret_cast<const std::byte*>(ours);
  // The way back is the transposition of [columns, rows]; a piece is rows [first, last) of that: walk its columns
  // whole.
  for (int64_t m = piece.from; m < piece.to; ++m) {
    const int64_t at = m * t.rows * t.columns * 4;
    for (int64_t c = piece.first; c < piece.last; ++c) {
      for (int64_t r = 0; r < t.rows; ++r)
        std::memcpy(torch + at + (r * t.columns + c) * 4, in + at + (c * t.rows + r) * 4, 4);
    }
  }
}

}  // namespace hr
