// The bytes and operations of a convolution, for profiles.
#pragma once
#include "ops/conv/backend.h"

namespace hr {

// A pass reads or writes two activations and the filter.
inline double conv_bytes(const ConvGeometry& g) {
  const double in = static_cast<double>(g.n * g.h * g.w * g.ci),
               out = static_cast<double>(g.n * g.out_h() * g.out_w() * g.co);
  return (in + out + static_cast<double>(g.co * g.kh * g.kw * g.ci)) * static_cast<double>(size_of(g.src));
}

// A multiplication and an addition count as two operations.
inline double conv_operations(const ConvGeometry& g) {
  const int64_t pixels = g.transposed ? g.h * g.w : g.out_h() * g.out_w();
  return 2.0 * static_cast<double>(g.n * pixels * g.co * g.kh * g.kw * g.ci);
}

}  // namespace hr
