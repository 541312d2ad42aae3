// The filter gradient of convolutions in float32 on the CPU by the direct sum: for each tap of the filter, the products
// of all channels of dy with all channels of x, added up over the pixels. Used for 1x1 convolutions and for those with
// a stride, for which Winograd's method has nothing.
#pragma once
#include "ops/conv/backend.h"
#include "ops/conv/pixel_products_loops.h"

namespace hr {

// Thread-safe. It computes with the OpenMP threads of the caller. The results do not depend on the number of threads.
class PixelProducts {
 public:
  // The loops use the instructions of `level`, which the processor must have.
  explicit PixelProducts(CpuLevel level = cpu_level());

  // Returns whether there are loops for the level, which must be AVX2 or more, and whether they compute this
  // convolution: in float32, not transposed, and with input channels that fill whole vectors.
  bool supports(const ConvGeometry& g) const;

  // Computes dfilter as ConvBackend's function of the same name does, without a bias. supports(g) must be true. Memory
  // for partial sums comes from cx.
  void backward_filter(const Context& cx, const ConvGeometry& g, const float* x, const float* dy, float* dfilter) const;

 private:
  struct Piece;
  void compute(const ConvGeometry& g, const float* x, const float* dy, const Piece& piece, float* sums) const;

  const pixel_products::Loops* loops_;
};

}  // namespace hr
