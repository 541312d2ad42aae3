// Layers: parameters plus the ops that use them. The network is written down once; whether batch norm runs as
// statistics and `fuse` (training) or is folded into the convolution (inference) is decided here.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "nn/parameters.h"
#include "ops/conv/conv2d.h"
#include "ops/fuse.h"

namespace hr {

struct BatchNorm {
  Parameter *weight, *bias;
  Buffer *running_mean, *running_var;
  Counter* num_batches_tracked;

  BatchNorm(ParameterStore& store, const std::string& name, int64_t channels);
  BatchNormState state() const { return {weight->value, bias->value, running_mean->value, running_var->value}; }
};

struct ConvShape {
  int64_t in = 0, out = 0;
  int kernel = 3, stride = 1, pad = 1;
  bool transposed = false;
};

// What follows a ConvBn.
struct After {
  const Tensor* add = nullptr;  // [N, H', W', out], added before the activation
  bool relu = false;
};

// A convolution without bias, batch norm, and whatever follows, in one call.
class ConvBn {
 public:
  // Declares `conv`.weight and `bn`.* in state-dict order; see declare order in the callers: torch lists modules as
  // they were constructed.
  ConvBn(ParameterStore& store, const std::string& conv, const std::string& bn, ConvShape shape);

  // [N, H, W, in] -> [N, H', W', out]
  Tensor operator()(Context& cx, const Tensor& x, After after = {}) const;

  // The same as one term of a sum that the caller fuses. `norm` is empty when batch norm is folded.
  struct Term {
    Tensor x;
    std::optional<Normalised> norm;
    int up = 0;
  };
  Term term(Context& cx, const Tensor& x, int up = 0) const;

 private:
  struct Folded;
  Tensor convolve(Context& cx, const Tensor& x, const Tensor& filter, const Conv2d& options) const;
  Folded& fold(Context& cx) const;

  ParameterStore* store_;
  ConvShape shape_;
  Parameter* weight_;
  BatchNorm bn_;
  std::shared_ptr<Folded> folded_;  // inference weights, remade when the store's version moves on
};

// fuse over ConvBn terms.
Tensor fuse_terms(Context& cx, const std::vector<ConvBn::Term>& terms, Act act);

// A convolution with bias and nothing after it: the heatmap head. Its output is f32 in every precision.
class HeadConv {
 public:
  HeadConv(ParameterStore& store, const std::string& name, ConvShape shape);
  Tensor operator()(Context& cx, const Tensor& x) const;

 private:
  struct Packed;

  ParameterStore* store_;
  ConvShape shape_;
  Parameter *weight_, *bias_;
  std::shared_ptr<Packed> packed_;  // for inference, remade when the store's version moves on
};

}  // namespace hr
