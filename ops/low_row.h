// The index arithmetic of nearest upsampling: from a pixel of the output to the pixel of the input.
#pragma once
#include "ops/lanes.h"

namespace hr {

// Returns the row of the low-resolution tensor that belongs to row (n, y, x) of the high-resolution one. Row numbers
// fit into 32 bits (fuse checks this), because a GPU divides those in a quarter of the time.
HR_HD int64_t low_row(int64_t row, uint32_t h, uint32_t w, int up) {
  if (up == 0) return row;
  const auto r = static_cast<uint32_t>(row);
  const uint32_t line = r / w, x = r - line * w, n = line / h, y = line - n * h;
  return (n * (h >> up) + (y >> up)) * (w >> up) + (x >> up);
}

}  // namespace hr
