// The data gradient of a convolution that waits on the tape until the gradient of its input is taken. `fuse` knows it
// and lets the convolution add the other addend, apply the mask of ReLU and compute the sums of batch norm.
#pragma once
#include "ops/conv/backend.h"

namespace hr {

class DeferredDataGradient final : public DeferredAddend {
 public:
  // `rounded` is the filter rounded to bf16, or undefined (Conv2d::rounded). `dy` has the type geometry.src.
  DeferredDataGradient(const ConvGeometry& geometry, Shape x_shape, Tensor dy, Tensor filter, Tensor rounded);

  Tensor compute(Context& cx) override;

  // Computes the gradient together with `epilogue`, whose `add` is set here. `add` is the only other addend, or
  // undefined; its memory is used for dx if nothing else shares it. The tensors to which the epilogue points must live
  // until this returns.
  struct Result {
    Tensor dx;
    Tensor sums;  // [parts, 2, ci] f32; undefined if the epilogue asks for none.
  };
  Result compute(Context& cx, Tensor add, GradientEpilogue epilogue);

 private:
  ConvFilter filter() const;
  ConvGeometry geometry_;
  Shape x_shape_;
  Tensor dy_, filter_, rounded_;
};

}  // namespace hr
