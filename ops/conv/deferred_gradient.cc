#include "ops/conv/deferred_gradient.h"

#include "ops/conv/cost.h"
#include "ops/for_each.h"

namespace hr {

DeferredDataGradient::DeferredDataGradient(const ConvGeometry& geometry, Shape x_shape, Tensor dy, Tensor filter,
                                           Tensor rounded)
    : geometry_(geometry),
      x_shape_(std::move(x_shape)),
      dy_(std::move(dy)),
      filter_(std::move(filter)),
      rounded_(std::move(rounded)) {}

ConvFilter DeferredDataGradient::filter() const {
  return {filter_.data<float>(), rounded_.defined() ? rounded_.data<bf16>() : nullptr};
}

Tensor DeferredDataGradient::compute(Context& cx) {
  Tensor dx = cx.empty(x_shape_, geometry_.src);
  const Profiled profiled(cx, "convolution: data gradient", conv_bytes(geometry_), conv_operations(geometry_));
  conv_backend(cx).backward_data(cx, geometry_, dy_.raw(), filter(), dx.raw());
  dy_.reset();
  return dx;
}

DeferredDataGradient::Result DeferredDataGradient::compute(Context& cx, Tensor add, GradientEpilogue epilogue) {
  Result result{.dx = add.defined() && add.unique() ? add : cx.empty(x_shape_, geometry_.src)};
  epilogue.add = add.defined() ? add.raw() : nullptr;
  const int tensors =
      (epilogue.add != nullptr ? 1 : 0) + (epilogue.mask != nullptr ? 1 : 0) + (epilogue.normalised != nullptr ? 1 : 0);
  const Profiled profiled(cx, "convolution: data gradient, mask + sums",
                          conv_bytes(geometry_) + tensors * static_cast<double>(result.dx.bytes()),
                          conv_operations(geometry_));
  result.sums =
      conv_backend(cx).backward_data_with_epilogue(cx, geometry_, dy_.raw(), filter(), result.dx.raw(), epilogue);
  dy_.reset();
  return result;
}

}  // namespace hr
