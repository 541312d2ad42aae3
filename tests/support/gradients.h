// Tools to test gradients: a scalar to differentiate, access to the gradient of any input, and finite differences in
// double of a reference.
#pragma once
#include <functional>
#include <memory>

#include "ops/elementwise.h"
#include "tests/support/tensors.h"

namespace hr::test {

// A context that records on its own tape.
struct Recording {
  Tape tape;
  Context cx;
  explicit Recording(bool training = false) {
    cx.tape = &tape;
    cx.training = training;
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
};

// Returns the gradient that x has after the backward pass, or an undefined tensor if there is none. Call it before x is
// used.
inline std::shared_ptr<Tensor> watch(Context& cx, Tensor& x) {
  x.set_requires_grad(true);
  auto gradient = std::make_shared<Tensor>();
  cx.tape->record([gradient, id = x.id()](Context& bx) { *gradient = take_gradient(bx, id); });
  return gradient;
}

struct Cotangent {
  Tensor y, dy;
};

// Represents the sum over all y of <dy, y>: its derivative by y is dy. The value itself stays 0.
inline Tensor weighted_sum(Context& cx, std::vector<Cotangent> outputs) {
  Tensor loss = cx.zeros({1}, DType::f32);
  loss.set_requires_grad(true);
  cx.tape->record([outputs = std::move(outputs), id = loss.id()](Context& bx) {
    bx.tape->take(id);
    for (const Cotangent& o : outputs) bx.tape->add(o.y, o.dy);
  });
  return loss;
}

using Function = std::function<Values(const std::vector<Values>&)>;

// Returns d/d inputs[which] of <dy, f(inputs)> for every element, by central differences.
inline Values finite_difference(const Function& f, std::vector<Values> inputs, size_t which, const Values& dy) {
  constexpr double h = 1e-5;  // truncation ~ h^2, rounding ~ 1e-16 / h: both near 1e-10
  const auto value = [&] {
    const Values y = f(inputs);
    EXPECT_EQ(y.size(), dy.size());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
    return sum;
  };
  Values gradient;
  for (double& x : inputs[which]) {
    const double keep = x;
    x = keep + h;
    const double above = value();
    x = keep - h;
    const double below = value();
    x = keep;
    gradient.push_back((above - below) / (2 * h));
  }
  return gradient;
}

}  // namespace hr::test
