// The order of work and the places of activations of a network with 8-bit integers, for inputs of one shape.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hrnet/int8/graph.h"

namespace hr {

struct Int8Plan {
  // A part of a level: all pieces of one node, or the borders of its result, one piece for each image.
  struct Job {
    size_t node = 0;
    bool border = false;
    int64_t end = 0;  // The job's pieces are those from the end of the job before to this one.
  };
  struct Level {
    std::vector<Job> jobs;
  };
  static constexpr size_t kOutside = ~size_t{0};

  int64_t n = 0, h = 0, w = 0;
  std::vector<Int8Layout> layouts;  // By value. Floats are dense; their border is not used.
  // By value: where it begins in the arena. Values whose lifetimes do not overlap share memory. Inputs and results of
  // heads are kOutside, because they are tensors of the call.
  std::vector<size_t> offsets;
  size_t bytes = 0;  // Of the arena.
  std::vector<Level> levels;

  const Int8Layout& layout(int v) const { return layouts[static_cast<size_t>(v)]; }
};

// convs are the convolutions of bytes, by node. Throws Error if the sizes of a node's operands do not agree for this
// input, or if a result would have no pixels.
Int8Plan plan_int8(const Int8Graph& graph, const std::vector<std::unique_ptr<Int8Conv>>& convs, int64_t n, int64_t h,
                   int64_t w);

// The rows of a result that a piece of a sum, a pooling, a concatenation or a convolution of floats computes.
int64_t rows_per_piece(const Int8Layout& layout);

}  // namespace hr
