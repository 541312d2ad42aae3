// Copies filters between torch's element order and ours.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "nn/parameters.h"

namespace hr {

// Filters only need matrices to be transposed: torch's [O, I, kh*kw] is O matrices [I, kh*kw], and torch's
// deconvolution [I, O, kh*kw] is one matrix [I, O*kh*kw]; our layout has the transposed matrices. A plain parameter is
// one matrix with one row.
struct Transposition {
  int64_t matrices = 1, rows = 1, columns = 1;  // The size of torch's matrices; ours are [columns, rows].
};
Transposition transposition(const Parameter& p);

// A part of one parameter, for one thread: columns [first, last) of the matrices [from, to). The pieces of a parameter
// take about the same time, and every element belongs to exactly one piece.
struct Piece {
  const Parameter* parameter = nullptr;
  size_t array = 0;  // Identifies the parameter to the caller.
  int64_t from = 0, to = 0, first = 0, last = 0;
};
void cut(const Parameter& p, size_t array, std::vector<Piece>& pieces);

// `torch` need not be aligned, since legacy .pth files place their numbers at any address.
void copy_to_ours(const Piece& piece, const std::byte* torch, float* ours);
void copy_to_torch(const Piece& piece, const float* ours, std::byte* torch);

}  // namespace hr
