// Layers: parameters together with the ops that use them. nn/model.h shows a network made of layers. A network is
// written down once: the layer decides whether batch norm runs as statistics and `fuse` (training) or is folded into
// the convolution (inference).
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
  int pad = -1;  // -1 means kernel / 2, which keeps the image size at stride 1 with an odd kernel
  bool transposed = false;
  int padding() const { return pad < 0 ? kernel / 2 : pad; }
};

// The operations that a layer applies to the output of its convolution.
struct After {
  const Tensor* add = nullptr;   // [N, H', W', out], added before the activation
  bool over_add = false;         // As Conv2d::over_add.
  const Tensor* into = nullptr;  // As Conv2d::into. Only where Context::may_fold().
  bool relu = false;
};

// A convolution without bias, followed by batch norm and by the operations of `After`.
class ConvBn {
 public:
  // Declares `conv`.weight and `bn`.* in the store. PyTorch's state dict lists modules in the order of their
  // construction, so a network must construct its layers in the same order.
  ConvBn(ParameterStore& store, const std::string& conv, const std::string& bn, ConvShape shape);
  // The same with the names `name`.conv.weight and `name`.bn.*.
  ConvBn(Model& model, const std::string& name, ConvShape shape)
      : ConvBn(model.parameters(), name + ".conv", name + ".bn", shape) {}

  // [N, H, W, in] -> [N, H', W', out]
  Tensor operator()(Context& cx, const Tensor& x, After after = {}) const;

  const ConvShape& shape() const { return shape_; }

  // Computes the layer as one term of a sum that the caller passes to fuse_terms(). `norm` is empty when batch norm is
  // folded.
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
  std::shared_ptr<Folded> folded_;  // Weights for inference, made again when the store's version has changed.
};

// Calls `fuse` on the terms.
Tensor fuse_terms(Context& cx, const std::vector<ConvBn::Term>& terms, Act act);

struct ConvOptions {
  bool bias = true;
  bool f32_output = false;  // The output is f32 even under bf16.
  // Initial weights are N(0, 0.001) for every `Init`: for a head whose target is almost 0 everywhere
  bool small_start = false;
};

// The options of HRNet's and PoseResNet's final_layer. Heatmaps are f32 in every precision.
inline constexpr ConvOptions kHeatmapHead{.f32_output = true, .small_start = true};

// A convolution with an optional bias, followed by the operations of `After`.
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
  std::shared_ptr<Packed> packed_;  // Filters packed for inference, made again when the store's version has changed.
};

}  // namespace hr
