// A model: parameters, and a forward function that its owner writes. Layers are members. They declare their parameters
// when they are constructed, so the state dict lists them in the order of the members, as in PyTorch:
//   struct MyNet : hr::Model {
//     hr::ConvBn a{*this, "a", {.in = 3, .out = 32, .stride = 2}}, b{*this, "b", {.in = 32, .out = 64}};
//     hr::Conv head{*this, "head", {.in = 64, .out = 17, .kernel = 1}};
//     hr::Tensor forward(hr::Context& cx, const hr::Tensor& x) {  // [N, H, W, 3] -> [N, H/2, W/2, 17]
//       return head(cx, b(cx, a(cx, x, {.relu = true}), {.relu = true}));
//     }
//   };
//   MyNet net;
//   net.init(cx, 1);
#pragma once
#include <string>

#include "nn/parameters.h"

namespace hr {

// Not thread-safe: only one thread at a time may use a model, for inference too, since layers keep folded and packed
// weights. It cannot be copied or moved, since its layers refer to it.
class Model {
 public:
  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Allocates memory on cx's device and sets the initial values, which depend only on the seed and not on the device.
  // Call it once, after all layers were constructed and before any other use. The memory belongs to cx.allocator, which
  // the model keeps alive.
  void init(Context& cx, uint64_t seed = 0, Init how = Init::torch) { store_.allocate(cx, seed, how); }

  ParameterStore& parameters() { return store_; }
  const ParameterStore& parameters() const { return store_; }

 protected:
  // Declares a free tensor of the model, which is trained, saved and loaded under its name. All elements start at
  // `initial`.
  Parameter& parameter(std::string name, Shape shape, float initial) {
    return store_.add_parameter(std::move(name), std::move(shape), ParameterLayout::plain, initial, 0);
  }

  ~Model() = default;  // Protected, since models are never destroyed through this type.
  ParameterStore store_;
};

}  // namespace hr
