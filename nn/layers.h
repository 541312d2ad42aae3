// Layers: parameters plus the ops that use them. nn/model.h shows a network made of them. The network is written down
// once; whether batch norm runs as statistics and `fuse` (training) or is folded into the convolution (inference) is
// decided here.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "nn/model.h"
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
  int kernel = 3, stride = 1;
  int pad = -1;  // -1: kernel / 2, which keeps the size of an image at stride 1 and odd kernels
  bool transposed = false;
  int padding() const { return pad < 0 ? kernel / 2 : pad; }
};

// What follows a convolution.
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
  // The same as `name`.conv.weight and `name`.bn.*.
  ConvBn(Model& model, const std::string& name, ConvShape shape)
      : ConvBn(model.parameters(), name + ".conv", name + ".bn", shape) {}

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
  Folded& fold(Context& cx) const;

  ParameterStore* store_;
  ConvShape shape_;
  Parameter* weight_;
  BatchNorm bn_;
  std::shared_ptr<Folded> folded_;  // inference weights, remade when the store's version moves on
};

// fuse over ConvBn terms.
Tensor fuse_terms(Context& cx, const std::vector<ConvBn::Term>& terms, Act act);

struct ConvOptions {
  bool bias = true;
  bool f32_output = false;   // also under bf16
  bool small_start = false;  // N(0, 0.001) whatever Init says: for a head whose output is almost 0 everywhere
};

// HRNet's and PoseResNet's final_layer: heatmaps are f32 in every precision.
inline constexpr ConvOptions kHeatmapHead{.f32_output = true, .small_start = true};

// A convolution, a bias if wanted, and whatever follows.
class Conv {
 public:
  // Declares `name`.weight and `name`.bias.
  Conv(ParameterStore& store, const std::string& name, ConvShape shape, ConvOptions options = {});
  Conv(Model& model, const std::string& name, ConvShape shape, ConvOptions options = {})
      : Conv(model.parameters(), name, shape, options) {}

  // [N, H, W, in] -> [N, H', W', out]
  Tensor operator()(Context& cx, const Tensor& x, After after = {}) const;

 private:
  struct Packed;

  ParameterStore* store_;
  ConvShape shape_;
  ConvOptions options_;
  Parameter *weight_, *bias_ = nullptr;
  std::shared_ptr<Packed> packed_;  // for inference, remade when the store's version moves on
};

}  // namespace hr
