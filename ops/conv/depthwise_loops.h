// The loops of depthwise_conv2d for 3x3 filters in float32 on the CPU, compiled for each level of instructions.
#pragma once
#include <cstdint>

#include "core/cpu_level.h"

namespace hr::depthwise {

// y [n, out_h, out_w, channels] = act(bias + sum of 3x3 taps of x [n, h, w, channels]). filter [3, 3, channels].
struct Problem {
  const float *x = nullptr, *filter = nullptr, *bias = nullptr;  // bias may be null.
  float* y = nullptr;
  int64_t h = 0, w = 0, channels = 0, out_h = 0, out_w = 0;
  int stride = 1, pad = 1;  // The stride is 1 or 2.
  bool silu = false;
};

// Computes the pixels [begin, end) of outputs, which are numbered through all pictures.
using Loop = void (*)(const Problem&, int64_t begin, int64_t end);
// Returns the loop for an instruction set level, or null if there is none.
Loop loop_at(CpuLevel level);

}  // namespace hr::depthwise
