// An OpTrace records a forward pass: while Context::trace is set, ops report what they compute, in the order in which
// they run. The forward function is therefore the only definition of a network, and its graph for other programs is
// recorded from one run of it (hrnet/export). Tensor::id() identifies values.
#pragma once
#include <span>

#include "core/tensor.h"
#include "ops/concat.h"
#include "ops/fuse.h"
#include "ops/max_pool2d.h"

namespace hr {

// Describes a call of conv2d, conv_transpose2d or depthwise_conv2d: y = act(conv(x, filter) + bias? + add?). SiLU is
// applied before `add` is added, ReLU after it.
struct TracedConv {
  const Tensor& x;
  const Tensor& filter;  // Its shape is [O, kh, kw, I], or [k, k, C] for a depthwise convolution.
  const Tensor* bias = nullptr;
  const Tensor* add = nullptr;
  int stride = 1, pad = 0;
  bool transposed = false, depthwise = false, relu = false, silu = false;
  const Tensor& y;
};

// The ops call these functions on the thread that runs the forward pass. The references are valid only during the call.
// All ops that the networks use in inference report themselves; any other op leaves no record, so its result is a value
// that the trace does not know.
class OpTrace {
 public:
  virtual ~OpTrace() = default;
  virtual void conv(const TracedConv& conv) = 0;
  virtual void batch_norm(const Tensor& x, const BatchNormState& state, const Normalised& result) = 0;
  // A term with a Normalised refers to the input x of that batch norm; Normalised::scale identifies the batch norm.
  virtual void fuse(std::span<const FuseTerm> terms, Act act, const Tensor& y) = 0;
  virtual void max_pool(const Tensor& x, const MaxPool2d& options, const Tensor& y) = 0;
  virtual void concat(std::span<const ConcatTerm> terms, const Tensor& y) = 0;
  virtual void put_pixels(const Tensor& x, const Tensor& table, const TablePart& part) = 0;
};

}  // namespace hr
