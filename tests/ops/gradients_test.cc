#include "ops/gradients.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "ops/adam.h"
#include "ops/average.h"
#include "tests/support/tensors.h"

namespace hr {
namespace {

using test::Values;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

Tensor one(const Context& cx, double value) { return test::make(cx, {1}, DType::f32, {value}); }

TEST(ClipFactor, IsTorchsForSlabsOfAnySize) {
  for (const int64_t n : {16, 48, 4096, 16 * 40'001}) {
    SCOPED_TRACE(n);
    Context cx;
    const Values g = test::random_values(n, 3);
    const Tensor grad = test::make(cx, {n}, DType::f32, g), result = cx.zeros({3}, DType::f32);
    const double norm = test::norm(g);
    for (const double most : {norm / 7, norm * 2}) {
      clip_factor(cx, grad, most, one(cx, 0.5), result);
      const Values got = test::values(result);
      EXPECT_NEAR(got[0], norm, 1e-6 * norm);
      EXPECT_NEAR(got[1], std::min(1.0, most / (norm + 1e-6)), 1e-6);
      EXPECT_TRUE(std::isfinite(got[2]));
    }
  }
}

TEST(ClipFactor, TellsWhenTheNormOrTheLossIsNotFinite) {
  Context cx;
  const Tensor result = cx.zeros({3}, DType::f32);
  Values g(32, 1);
  clip_factor(cx, test::make(cx, {32}, DType::f32, g), 1, one(cx, kInfinite), result);
  EXPECT_FALSE(std::isfinite(test::values(result)[2]));
  EXPECT_TRUE(std::isfinite(test::values(result)[0]));
  g[7] = std::nan("");
  clip_factor(cx, test::make(cx, {32}, DType::f32, g), 1, one(cx, 0), result);
  EXPECT_TRUE(std::isnan(test::values(result)[0]));
  EXPECT_FALSE(std::isfinite(test::values(result)[2]));
  EXPECT_THROW(clip_factor(cx, cx.zeros({17}, DType::f32), 1, {}, result), Error);
}

TEST(KeptGradients, AreAveragedBySamples) {
  Context cx;
  constexpr int64_t n = 48;
  const Values a = test::random_values(n, 1), b = test::random_values(n, 2), c = test::random_values(n, 3);
  // The memory of the sum may hold anything at first.
  const Tensor sum = test::make(cx, {n}, DType::f32, Values(n, kInfinite)), kept = cx.zeros({1}, DType::f32);
  const Tensor last = test::make(cx, {n}, DType::f32, c);
  keep_gradient(cx, test::make(cx, {n}, DType::f32, a), sum, kept, one(cx, 1), 4);
  keep_gradient(cx, test::make(cx, {n}, DType::f32, Values(n, 1e9)), sum, kept, one(cx, std::nan("")), 4);
  keep_gradient(cx, test::make(cx, {n}, DType::f32, b), sum, kept, one(cx, 1), 4);
  EXPECT_EQ(test::values(kept)[0], 8) << "the one with the loss that is no number does not count";
  mean_of_kept(cx, last, sum, kept, one(cx, 1), 2);
  Values expected(n);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = (4 * a[i] + 4 * b[i] + 2 * c[i]) / 10;
  EXPECT_TRUE(test::close(test::values(last), expected, 1e-6));
  EXPECT_EQ(test::values(kept)[0], 0);
  // Nothing is kept any more: a gradient alone is its own mean, to the bit.
  const Tensor alone = test::make(cx, {n}, DType::f32, a);
  mean_of_kept(cx, alone, sum, kept, one(cx, 1), 3);
  EXPECT_EQ(test::values(alone), a);
}

TEST(KeptGradients, AreDroppedByAnUpdateWhoseLossIsNotFinite) {
  Context cx;
  const Values a = test::random_values(16, 1);
  const Tensor sum = cx.zeros({16}, DType::f32), kept = cx.zeros({1}, DType::f32);
  const Tensor grad = test::make(cx, {16}, DType::f32, a);
  keep_gradient(cx, grad, sum, kept, one(cx, 1), 4);
  mean_of_kept(cx, grad, sum, kept, one(cx, kInfinite), 4);
  EXPECT_EQ(test::values(grad), a);
  EXPECT_EQ(test::values(kept)[0], 0);
}

TEST(MovingAverage, GrowsIntoItsDecay) {
  Context cx;
  Values average = test::random_values(40, 1);
  const Tensor held = test::make(cx, {40}, DType::f32, average);
  for (const int64_t t : {1, 2, 100, 1'000'000}) {
    const Values x = test::random_values(40, static_cast<uint64_t>(t) + 5);
    const Tensor steps = cx.zeros({1}, DType::i64);
    *steps.data<int64_t>() = t;
    const Averaged slabs[] = {{test::make(cx, {40}, DType::f32, x), held}};
    moving_average(cx, slabs, steps, 0.99, one(cx, kInfinite));  // changes nothing
    moving_average(cx, slabs, steps, 0.99, t == 2 ? Tensor() : one(cx, 3));
    const double decay = std::min(0.99, (1.0 + static_cast<double>(t)) / (10.0 + static_cast<double>(t)));
    for (size_t i = 0; i < x.size(); ++i) average[i] = decay * average[i] + (1 - decay) * x[i];
    EXPECT_TRUE(test::close(test::values(held), average, 1e-6)) << t;
  }
}

// Three blocks: as the others, without decay, frozen. The gradient is scaled as it is read.
TEST(Adam, TreatsBlocksAsTheirBitsSay) {
  for (const bool decoupled : {false, true}) {
    Context cx;
    constexpr int64_t n = 3 * kAdamBlock;
    const Values p0 = test::random_values(n, 1), g0 = test::random_values(n, 2), m0 = test::random_values(n, 3);
    const auto run = [&](double decay, double factor, const Tensor& blocks, const Tensor& scale) {
      Values g = g0;
      for (double& v : g) v *= factor;
      const Tensor p = test::make(cx, {n}, DType::f32, p0), m = test::make(cx, {n}, DType::f32, m0);
      const Tensor v = cx.zeros({n}, DType::f32), lr = cx.zeros({1}, DType::f64), steps = cx.zeros({1}, DType::i64);
      *lr.data<double>() = 0.1;
      const AdamStep settings{.weight_decay = decay, .decoupled = decoupled};
      const Tensor grad = test::make(cx, {n}, DType::f32, g);
      if (blocks.defined()) {
        adam(cx, p, grad, m, v, settings, {lr, steps, {}}, {.blocks = blocks, .scale = scale});
      } else {
        adam(cx, p, grad, m, v, settings, {lr, steps, {}});
      }
      return std::array{test::values(p), test::values(m), test::values(v)};
    };
    const Tensor blocks = cx.zeros({3}, DType::u8);
    blocks.data<uint8_t>()[1] = kAdamNoDecay;
    blocks.data<uint8_t>()[2] = kAdamNoDecay | kAdamFrozen;
    const auto got = run(0.5, 1, blocks, one(cx, 0.25));
    const auto with = run(0.5, 0.25, {}, {}), without = run(0, 0.25, {}, {});
    const Values* before[] = {&p0, &m0, nullptr};
    for (int what = 0; what < 3; ++what) {
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        const double frozen = before[what] != nullptr ? (*before[what])[i] : 0;
        EXPECT_EQ(got[what][i], i < 16 ? with[what][i] : i < 32 ? without[what][i] : frozen) << what << " " << i;
      }
    }
    EXPECT_NE(with[0], without[0]);
    EXPECT_THROW(run(0, 1, cx.zeros({2}, DType::u8), {}), Error);
  }
}

}  // namespace
}  // namespace hr
