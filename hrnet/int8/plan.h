// The pieces of work and the places of activations of a network with 8-bit integers, for inputs of one shape.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hrnet/int8/graph.h"

namespace hr {

struct Int8Plan {
  static constexpr size_t kOutside = ~size_t{0};

  int64_t n = 0, h = 0, w = 0;
  std::vector<Int8Layout> layouts;  // By value. Floats are dense; their border is not used.
  // By value: where it begins in the arena. Two values share memory if neither the nodes nor the levels from the one
  // that makes a value to the last one that reads it overlap. So the nodes can be computed in their order, and branches
  // of the network also at the same time. Inputs and results of heads are kOutside, because they are tensors.
  std::vector<size_t> offsets;
  size_t bytes = 0;  // Of the arena.
  // By node: the pieces of its result. The borders of a result of bytes are `n` more pieces. 0 for heads.
  std::vector<int64_t> pieces;

  const Int8Layout& layout(int v) const { return layouts[static_cast<size_t>(v)]; }
};

// convs are the convolutions of bytes, by node. Throws Error if the sizes of a node's operands do not agree for this
// input, or if a result would have no pixels.
Int8Plan plan_int8(const Int8Graph& graph, const std::vector<std::unique_ptr<Int8Conv>>& convs, int64_t n, int64_t h,
                   int64_t w);

// The rows of a result that a piece of a sum, a pooling, a concatenation or a convolution of floats computes.
int64_t rows_per_piece(const Int8Layout& layout);

}  // namespace hr
