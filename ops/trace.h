// A trace of a forward pass: while Context::trace is set, ops report what they compute, in the order in which they run.
// A network is thus written down once, as the function that runs it, and its graph for other programs follows from a
// run (hrnet/export). Values are told apart by Tensor::id().
#pragma once
#include <span>

#include "core/tensor.h"
#include "ops/concat.h"
#include "ops/fuse.h"
#include "ops/max_pool2d.h"

namespace hr {

// conv2d, conv_transpose2d or depthwise_conv2d: y = act(conv(x, filter) + bias? + add?), where silu comes before the
// summand and relu after it.
struct TracedConv {
  const Tensor& x;
  const Tensor& filter;  // [O, kh, kw, I]; of a depthwise convolution [k, k, C].
  const Tensor* bias = nullptr;
  const Tensor* add = nullptr;
  int stride = 1, pad = 0;
  bool transposed = false, depthwise = false, relu = false, silu = false;
  const Tensor& y;
};

// Called by the thread that computes. The references are valid during the call. The ops that the networks need in
// inference report themselves; the result of any other op is a value that the trace has never heard of.
class OpTrace {
 public:
  virtual ~OpTrace() = default;
  virtual void conv(const TracedConv& conv) = 0;
  virtual void batch_norm(const Tensor& x, const BatchNormState& state, const Normalised& result) = 0;
  // A term with a Normalised is the x of that batch norm; Normalised::scale tells which one it is.
  virtual void fuse(std::span<const FuseTerm> terms, Act act, const Tensor& y) = 0;
  virtual void max_pool(const Tensor& x, const MaxPool2d& options, const Tensor& y) = 0;
  virtual void concat(std::span<const ConcatTerm> terms, const Tensor& y) = 0;
  virtual void put_pixels(const Tensor& x, const Tensor& table, const TablePart& part) = 0;
};

}  // namespace hr
