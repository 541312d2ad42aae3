#include "ops/adam.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/oracle.h"
#include "tests/support/tensors.h"

namespace hr {
namespace {

using test::Values;

// Adam in double, as the papers write it.
struct Plain {
  Values p, m, v;
  void step(const Values& grad, const AdamStep& s) {
    for (size_t i = 0; i < p.size(); ++i) {
      double g = grad[i];
      if (s.decoupled) {
        p[i] -= s.lr * s.weight_decay * p[i];
      } else {
        g += s.weight_decay * p[i];
      }
      m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
      v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
      const auto t = static_cast<double>(s.step);
      p[i] -= s.lr * (m[i] / (1 - std::pow(s.beta1, t))) / (std::sqrt(v[i] / (1 - std::pow(s.beta2, t))) + s.eps);
    }
  }
};

TEST(Adam, FollowsThePapersOverTenSteps) {
  for (const int64_t n : {1, 3, 17, 1023, 1024, 1025, 40000}) {
    for (const AdamStep& options :
         {AdamStep{}, AdamStep{.weight_decay = 1e-2}, AdamStep{.weight_decay = 0.1, .decoupled = true},
          AdamStep{.lr = 1e-2, .beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3}}) {
      SCOPED_TRACE(n);
      Context cx;
      Plain plain{test::random_values(n, 1), Values(n), Values(n)};
      const Tensor p = test::make(cx, {n}, DType::f32, plain.p);
      const Tensor m = cx.zeros({n}, DType::f32), v = cx.zeros({n}, DType::f32);
      for (AdamStep s = options; s.step <= 10; ++s.step) {
        Values grad = test::random_values(n, 10 + s.step);
        // The sizes are from 1e-9 to 10 (eps matters at the small end), with some exact zeros.
        for (int64_t i = 0; i < n; ++i)
          grad[i] = test::rounded(i % 7 == 3 ? 0 : grad[i] * std::pow(10.0, 1 - i % 11), DType::f32);
        const Tensor g = test::make(cx, {n}, DType::f32, grad);
        adam(cx, p, g, m, v, s);
        plain.step(grad, s);
        EXPECT_EQ(test::values(g), grad);
      }
      // Each of ten steps is rounded a few times, at |p| <= 1 + 10 lr.
      EXPECT_TRUE(test::close(test::values(p), plain.p, 2e-6));
      EXPECT_TRUE(test::close(test::values(m), plain.m, 1e-5));
      const Values got = test::values(v);
      for (int64_t i = 0; i < n; ++i) {
        // The bound is relative, because all terms of v are positive. 1 - 0.999f would be off by 2e-5.
        ASSERT_NEAR(got[i], plain.v[i], 5e-6 * plain.v[i] + 1e-30) << i;
      }
    }
  }
}

// With step number and learning rate on the device, the bits are the same as with those of the host. A step without a
// finite loss changes nothing and is not counted.
TEST(Adam, OnTheDeviceCountsWhatHasAFiniteLoss) {
  for (const AdamStep& settings :
       {AdamStep{.weight_decay = 1e-2}, AdamStep{.beta2 = 0.99, .weight_decay = 0.1, .decoupled = true}}) {
    constexpr int64_t n = 33;
    Context cx;
    Tensor p[2], m[2], v[2];
    for (int k = 0; k < 2; ++k) {
      p[k] = test::make(cx, {n}, DType::f32, test::random_values(n, 1));
      m[k] = cx.zeros({n}, DType::f32);
      v[k] = cx.zeros({n}, DType::f32);
    }
    const AdamOnDevice d{cx.zeros({1}, DType::f64), cx.zeros({1}, DType::i64), cx.zeros({1}, DType::f32)};
    for (AdamStep s = settings; s.step <= 10; ++s.step) {
      s.lr = 1e-2 / static_cast<double>(s.step);
      *d.lr.data<double>() = s.lr;
      const Tensor g = test::make(cx, {n}, DType::f32, test::random_values(n, 10 + s.step));
      adam(cx, p[0], g, m[0], v[0], s);
      for (const float loss : {INFINITY, 1.0f, -INFINITY, NAN}) {
        *d.loss.data<float>() = loss;
        adam(cx, p[1], g, m[1], v[1], settings, d);
      }
      EXPECT_EQ(*d.steps.data<int64_t>(), s.step);
      EXPECT_TRUE(test::same_bytes(p[1], p[0]));
      EXPECT_TRUE(test::same_bytes(m[1], m[0]));
      EXPECT_TRUE(test::same_bytes(v[1], v[0]));
    }
  }
}

TEST(Adam, WritesTheRoundedValuesInTheSamePass) {
  for (const bool by_block : {false, true}) {
    constexpr int64_t n = 5 * kAdamBlock;
    Context cx;
    const Values start = test::random_values(n, 1), untouched(n, 7);
    const auto slab = [&](uint64_t seed) { return test::make(cx, {n}, DType::f32, test::random_values(n, seed)); };
    const auto once = [&](float loss, const Tensor& rounded) {
      const Tensor p = test::make(cx, {n}, DType::f32, start), m = slab(2),
                   v = test::make(cx, {n}, DType::f32, untouched);
      AdamOnDevice d{cx.zeros({1}, DType::f64), cx.zeros({1}, DType::i64), cx.zeros({1}, DType::f32), rounded};
      *d.lr.data<double>() = 1e-2;
      *d.loss.data<float>() = loss;
      Tensor blocks = cx.zeros({n / kAdamBlock}, DType::u8);
      blocks.data<uint8_t>()[1] = kAdamFrozen;
      by_block ? adam(cx, p, slab(3), m, v, {}, d, {.blocks = blocks}) : adam(cx, p, slab(3), m, v, {}, d);
      return test::values(p);
    };
    const Values plain = once(1, {});
    const Tensor rounded = test::make(cx, {n}, DType::bf16, untouched);
    EXPECT_EQ(once(1, rounded), plain);
    for (int64_t i = 0; i < n; ++i) {
      const bool frozen = by_block && i / kAdamBlock == 1;
      EXPECT_EQ(test::values(rounded)[i], frozen ? 7 : test::rounded(plain[i], DType::bf16)) << i;
    }
    const Tensor skipped = test::make(cx, {n}, DType::bf16, untouched);
    EXPECT_EQ(once(std::numeric_limits<float>::infinity(), skipped), start);
    EXPECT_EQ(test::values(skipped), untouched);
    EXPECT_THROW(once(1, cx.zeros({n - 1}, DType::bf16)), Error);
    EXPECT_THROW(once(1, cx.zeros({n}, DType::f32)), Error);
  }
}

TEST(Adam, PaddingOfASlabStaysZero) {
  Context cx;
  const Tensor p = cx.zeros({64}, DType::f32), g = cx.zeros({64}, DType::f32);
  const Tensor m = cx.zeros({64}, DType::f32), v = cx.zeros({64}, DType::f32);
  adam(cx, p, g, m, v, {.weight_decay = 0.1, .decoupled = true});
  EXPECT_EQ(test::values(p), Values(64, 0));
}

TEST(Adam, RefusesWhatDoesNotFit) {
  Context cx;
  const Tensor a = cx.zeros({4}, DType::f32), b = cx.zeros({5}, DType::f32);
  EXPECT_THROW(adam(cx, a, b, a, a, {}), Error);
  EXPECT_THROW(adam(cx, a, a, b, a, {}), Error);
  EXPECT_THROW(adam(cx, a, a, a, b, {}), Error);
  EXPECT_THROW(adam(cx, a, a, a, a, {.step = 0}), Error);
}

TEST(Adam, MatchesTheGoldenTrajectories) {
  HR_NEEDS_ORACLE("train/optimizers.safetensors");
  const SafetensorsFile golden(test::oracle("train/optimizers.safetensors"));
  for (const auto& [name, options] :
       {std::pair{"adam", AdamStep{}},
        {"adam_wd", AdamStep{.weight_decay = 1e-2}},
        {"adamw", AdamStep{.weight_decay = 1e-4, .decoupled = true}},
        {"adamw_wd0.1_lr0.01", AdamStep{.lr = 1e-2, .weight_decay = 0.1, .decoupled = true}}}) {
    for (int i = 0; i < 3; ++i) {
      Context cx;
      const ArrayView& p0 = golden.at(fmt::format("p0.{}", i));
      const Shape shape{p0.numel()};
      const Tensor p = test::make(cx, shape, DType::f32, p0.to_f64());
      const Tensor m = cx.zeros(shape, DType::f32), v = cx.zeros(shape, DType::f32);
      for (AdamStep s = options; s.step <= 10; ++s.step) {
        adam(cx, p, test::make(cx, shape, DType::f32, golden.at(fmt::format("grad.{}.{}", s.step - 1, i)).to_f64()), m,
             v, s);
        const std::string key = fmt::format("{}.after{}.{}", name, s.step, i);
        if (!golden.contains(key)) continue;
        const Values expected = golden.at(key).to_f64(), actual = test::values(p);
        for (size_t k = 0; k < expected.size(); ++k)
          EXPECT_NEAR(actual[k], expected[k], 2e-6 * std::max(1.0, std::abs(expected[k]))) << key << " at " << k;
      }
    }
  }
}

}  // namespace
}  // namespace hr
