#include "ops/mse.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/gradients.h"

namespace hr {
namespace {

using test::Values;

TEST(Mse, LossAndGradientFollowTheFormula) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const Shape& shape : {Shape{1}, Shape{7}, Shape{1, 1}, Shape{5, 3}, Shape{2, 3, 5, 17}, Shape{130, 33}}) {
      SCOPED_TRACE(fmt::format("{} {}", name_of(t), to_string(shape)));
      const int64_t n = numel(shape);
      test::Recording r;
      const Values p = test::random_values(n, 1, t), g = test::random_values(n, 2);
      const test::Function f = [&](const std::vector<Values>& in) {
        double sum = 0;
        for (size_t i = 0; i < g.size(); ++i) sum += (in[0][i] - g[i]) * (in[0][i] - g[i]);
        return Values{sum / static_cast<double>(n)};
      };
      Tensor pred = test::make(r.cx, shape, t, p);
      const auto dpred = test::watch(r.cx, pred);
      const Tensor loss = mse(r.cx, pred, test::make(r.cx, shape, DType::f32, g));
      EXPECT_EQ(loss.shape(), Shape{1});
      const double expected = f({p})[0];
      EXPECT_NEAR(test::values(loss)[0], expected, 1e-6 * expected);
      r.tape.backward(r.cx, loss);
      EXPECT_EQ(dpred->dtype(), t);
      const Values gradient = test::finite_difference(f, {p}, 0, {1.0});
      EXPECT_TRUE(
          test::close(test::values(*dpred), gradient, (3 * test::rounding(t) + 1e-8) * test::max_abs(gradient) + 1e-9));
    }
  }
}

TEST(Mse, RefusesWhatHasNoMeanOrNoGradient) {
  Context cx;
  const Tensor a = cx.zeros({2, 3}, DType::f32), other = cx.zeros({3, 2}, DType::f32);
  EXPECT_THROW(mse(cx, a, other), Error);
  EXPECT_THROW(mse(cx, a, cx.zeros({2, 3}, DType::bf16)), Error);
  EXPECT_THROW(mse(cx, cx.zeros({0, 3}, DType::f32), cx.zeros({0, 3}, DType::f32)), Error);
  Tensor learns = cx.zeros({2, 3}, DType::f32);
  learns.set_requires_grad(true);
  EXPECT_THROW(mse(cx, a, learns), Error);
}

}  // namespace
}  // namespace hr
