// Filters between torch's element order and ours, in tiles that stay in the processor's registers and first cache.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "nn/parameters.h"

namespace hr {

// A filter is a stack of matrices that only need transposing: torch's [O, I, kh*kw] are O matrices [I, kh*kw], and a
// deconvolution's [I, O, kh*kw] is one matrix [I, O*kh*kw]; ours has the transposes. A plain one is one matrix of one
// row.
struct Transposition {
  int64_t matrices = 1, rows = 1, columns = 1;  // torch's; ours are [columns, rows]
};
Transposition transposition(const Parameter& p);

// One parameter, cut into pieces of about the same work for threads: columns [first, last) of matrices
// [from, to). Every element belongs to exactly one piece.
struct Piece {
  const Parameter* parameter = nullptr;
  size_t array = 0;  // the caller's number
  int64_t from = 0, to = 0, first = 0, last = 0;
};
void cut(const Parameter& p, size_t array, std::vector<Piece>& pieces);

// `torch` need not be aligned: legacy .pth files place their numbers anywhere.
void copy_to_ours(const Piece& piece, const std::byte* torch, float* ours);
void copy_to_torch(const Piece& piece, const float* ours, std::byte* torch);

}  // namespace hr
