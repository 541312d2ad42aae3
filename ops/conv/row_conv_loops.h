// The arithmetic of ops/conv/row_conv, compiled for each level of instructions.
#pragma once
#include <cstdint>
#include <span>

#include "core/cpu_level.h"
#include "ops/conv/backend.h"

namespace hr::row_conv {

// A term contributes `depth` neighbouring numbers to each output pixel. Those of the next output pixel begin `step`
// numbers further on. A row of a filter is a term, and so is one of several inputs whose channels are joined.
struct Term {
  const float* x = nullptr;
  int64_t step = 0, depth = 0;
};

// The outputs of a run of pixels: y[pixel, k] = act(sum + bias[k]? + coarse[...]? + add?) by the formula of ConvAct.
struct Outputs {
  const float* bias = nullptr;
  const float* add = nullptr;  // It lies like y.
  ConvAct act = ConvAct::none;
  float* y = nullptr;
  int64_t k = 0;  // The number of output channels, and the distance between two pixels of y.

  // A part of the sum that has been computed on a map with fewer pixels, or null. Pixel p of a map of `w` columns, here
  // first_pixel + i, receives the values of the pixel (y >> up, x >> up), which has k channels, too.
  const float* coarse = nullptr;
  int64_t first_pixel = 0, w = 0;
  int up = 0;
};

struct Loops {
  int lanes = 0;  // A vector holds this many output channels. A block of output channels has two vectors or one.

  // Computes `pixels` outputs for the block of `vectors` vectors of output channels that begins at channel k0. The
  // filters of a block are [sum of the depths, vectors * lanes], and zero for channels from k on.
  void (*multiply)(std::span<const Term> terms, int64_t pixels, const float* filters, int64_t k0, int vectors,
                   const Outputs& to);
};

// Returns the loops for an instruction set level, or null if there are none.
const Loops* loops_at(CpuLevel level);

}  // namespace hr::row_conv
