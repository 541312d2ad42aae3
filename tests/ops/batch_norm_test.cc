#include "ops/batch_norm.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "ops/fuse.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

BatchNormState state_of(const Context& cx, int64_t channels, double running_mean = 0, double running_var = 1) {
  const auto filled = [&](double v) { return test::make(cx, {channels}, DType::f32, Values(channels, v)); };
  return {filled(1), filled(0), filled(running_mean), filled(running_var)};
}

// E[x^2] - E[x]^2 in float32 would have an error of up to 8 here.
TEST(BatchNorm, VarianceSurvivesALargeMean) {
  for (const double mean : {0.0, 1e4, -1e6}) {
    SCOPED_TRACE(mean);
    Context cx;
    cx.training = true;
    const int64_t rows = 4 * 33 * 17, channels = 17;
    Philox rng(1, 2, 3);
    Values x(rows * channels);
    for (double& v : x) v = test::rounded(rng.normal(mean, 1), DType::f32);
    Values exact_mean(channels), exact_var(channels);
    for (size_t i = 0; i < x.size(); ++i) exact_mean[i % channels] += x[i] / static_cast<double>(rows);
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = x[i] - exact_mean[i % channels];
      exact_var[i % channels] += d * d;
    }
    BatchNormState state = state_of(cx, channels);
    state.momentum = 1;  // running = batch
    const Tensor tx = test::make(cx, {4, 33, 17, channels}, DType::f32, x);
    const Normalised n = batch_norm(cx, tx, state);
    Values biased = exact_var, unbiased = exact_var, inv_std;
    for (double& v : biased) inv_std.push_back(1 / std::sqrt((v /= static_cast<double>(rows)) + 1e-5));
    for (double& v : unbiased) v /= static_cast<double>(rows - 1);
    // The sums have at most 256 deviations of size ~2 (squares up to ~20), in float32.
    EXPECT_TRUE(test::close(test::values(n.mean), exact_mean, 256 * 4 * 0x1p-24 + std::abs(mean) * 0x1p-24));
    EXPECT_TRUE(test::close(test::values(n.inv_std), inv_std, 256 * 0x1p-24));
    EXPECT_TRUE(test::close(test::values(state.running_var), unbiased, 512 * 0x1p-24));

    // Normalising computes x * scale + shift, and shift contains the float32 rounding of the mean.
    Values y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = (x[i] - exact_mean[i % channels]) * inv_std[i % channels];
    EXPECT_TRUE(test::close(test::values(fuse(cx, {{tx, &n}})), y, 2048 * 0x1p-24 + 3 * std::abs(mean) * 0x1p-24));
  }
}

// A convolution may hand over statistics of parts of any size, each relative to a shift of its own.
TEST(BatchNorm, StatisticsOfPartsReplaceReadingTheTensor) {
  Context cx;
  cx.training = true;
  const int64_t rows = 3 * 7 * 5, channels = 19, parts = 4, first_rows[] = {0, 1, 40, 41, rows};
  const Tensor x =
      test::make(cx, {3, 7, 5, channels}, DType::f32, test::random_values(rows * channels, 5, DType::f32, 90, 110));
  const Values v = test::values(x);
  Values statistics(parts * 4 * channels);
  for (int64_t b = 0; b < parts; ++b) {
    for (int64_t c = 0; c < channels; ++c) {
      double* part = &statistics[b * 4 * channels + c];
      part[channels] = test::rounded(99.5 + static_cast<double>(b), DType::f32);
      for (int64_t r = first_rows[b]; r < first_rows[b + 1]; ++r) {
        const double d = v[r * channels + c] - part[channels];
        part[0] += 1;
        part[2 * channels] += d;
        part[3 * channels] += d * d;
      }
    }
  }
  const BatchNormState own = state_of(cx, channels), given = state_of(cx, channels);
  const Normalised expected = batch_norm(cx, x, own),
                   actual = batch_norm(cx, x, given, test::make(cx, {parts, 4, channels}, DType::f32, statistics));
  const auto expect_close = [](const Tensor& a, const Tensor& b) {
    EXPECT_TRUE(test::close(test::values(a), test::values(b), 1e-6 * test::max_abs(test::values(b))));
  };
  expect_close(actual.mean, expected.mean);
  expect_close(actual.inv_std, expected.inv_std);
  expect_close(given.running_mean, own.running_mean);
  expect_close(given.running_var, own.running_var);
  EXPECT_THROW(batch_norm(cx, x, given, cx.empty({parts, 4, channels + 1}, DType::f32)), Error);
}

TEST(BatchNorm, ConstantChannelsNormaliseToTheBias) {
  Context cx;
  cx.training = true;
  const Tensor x = test::make(cx, {2, 3, 3, 3}, DType::f32, Values(54, 12345.678));
  BatchNormState state = state_of(cx, 3);
  state.bias = test::make(cx, {3}, DType::f32, {1, 2, 3});
  const Normalised n = batch_norm(cx, x, state);
  EXPECT_TRUE(test::close(test::values(n.inv_std), Values(3, 1 / std::sqrt(1e-5)), 1e-4));
  const Tensor y = fuse(cx, {{x, &n}});
  // scale is 316, and the rounding of the shift is 2^-24 of 12345 * 316.
  for (int64_t i = 0; i < 54; ++i)
    EXPECT_NEAR(y.data<float>()[i], static_cast<float>(1 + i % 3), 12346 * 317 * 0x1p-23);
}

TEST(BatchNorm, RunningStatisticsTakeTheUnbiasedVarianceWithMomentum) {
  Context cx;
  cx.training = true;
  BatchNormState state = state_of(cx, 2, 10, 20);
  state.momentum = 0.25;
  // Channel 0: 1, 3 -> mean 2, unbiased variance 2. Channel 1: -4, 4 -> mean 0, unbiased variance 32.
  const Tensor x = test::make(cx, {2, 1, 1, 2}, DType::f32, {1, -4, 3, 4});
  const Normalised n = batch_norm(cx, x, state);
  EXPECT_TRUE(n.batch_statistics);
  EXPECT_EQ(test::values(n.mean), (Values{2, 0}));
  EXPECT_EQ(test::values(state.running_mean), (Values{8, 7.5}));
  EXPECT_EQ(test::values(state.running_var), (Values{15.5, 23}));
  batch_norm(cx, x, state);
  EXPECT_EQ(test::values(state.running_mean), (Values{6.5, 5.625}));
}

TEST(BatchNorm, EvalUsesTheRunningStatisticsAndLeavesThemAlone) {
  Context cx;
  BatchNormState state = state_of(cx, 2, 10, 4 - 1e-5);
  const Tensor x = test::make(cx, {1, 1, 1, 2}, DType::f32, {12, 8});
  const Normalised n = batch_norm(cx, x, state);
  EXPECT_FALSE(n.batch_statistics);
  EXPECT_TRUE(test::close(test::values(fuse(cx, {{x, &n}})), {1, -1}, 20 * 0x1p-24));
  EXPECT_EQ(test::values(state.running_mean), (Values{10, 10}));
}

TEST(BatchNorm, OneValuePerChannelIsAnErrorInTraining) {
  Context cx;
  cx.training = true;
  const BatchNormState state = state_of(cx, 3);
  EXPECT_THROW(batch_norm(cx, cx.zeros({1, 1, 1, 3}, DType::f32), state), Error);
  EXPECT_EQ(test::values(state.running_mean), Values(3, 0)) << "nothing may change on an error";
  EXPECT_THROW(batch_norm(cx, cx.zeros({2, 1, 1, 4}, DType::f32), state), Error) << "four channels";
  EXPECT_THROW(batch_norm(cx, cx.zeros({2, 3}, DType::f32), state), Error);
  cx.training = false;
  EXPECT_NO_THROW(batch_norm(cx, cx.zeros({1, 1, 1, 3}, DType::f32), state));
}

// The gradients of bound parameters overwrite old values, and are added up if a second layer uses them.
TEST(BatchNorm, BoundParametersUsedTwiceAddUp) {
  test::Recording r(true);
  BatchNormState state = state_of(r.cx, 3);
  state.weight.set_requires_grad(true);
  state.bias.set_requires_grad(true);
  const Tensor dweight = test::make(r.cx, {3}, DType::f32, Values(3, 777));
  const Tensor dbias = test::make(r.cx, {3}, DType::f32, Values(3, 777));
  r.tape.bind(state.weight, dweight);
  r.tape.bind(state.bias, dbias);
  Values expected_weight(3), expected_bias(3);
  std::vector<test::Cotangent> outputs;
  for (int k = 0; k < 3; ++k) {
    const Values x = test::random_values(54, 10 + k), dy = test::random_values(54, 20 + k);
    const Tensor tx = test::make(r.cx, {2, 3, 3, 3}, DType::f32, x);
    const Normalised n = batch_norm(r.cx, tx, state);
    outputs.push_back({fuse(r.cx, {{tx, &n}}), test::make(r.cx, {2, 3, 3, 3}, DType::f32, dy)});
    const Values mean = test::values(n.mean), inv_std = test::values(n.inv_std);
    for (size_t i = 0; i < x.size(); ++i) {
      expected_weight[i % 3] += dy[i] * (x[i] - mean[i % 3]) * inv_std[i % 3];
      expected_bias[i % 3] += dy[i];
    }
  }
  r.tape.backward(r.cx, test::weighted_sum(r.cx, outputs));
  EXPECT_TRUE(test::close(test::values(dweight), expected_weight, 54 * 4 * 0x1p-24));
  EXPECT_TRUE(test::close(test::values(dbias), expected_bias, 54 * 4 * 0x1p-24));
}

TEST(BatchNorm, MatchesTheGoldenData) {
  HR_NEEDS_ORACLE("train/layers.safetensors");
  const SafetensorsFile golden(test::oracle("train/layers.safetensors"));
  for (const std::string name : {"bn_train", "bn_train_n1", "bn_eval"}) {
    SCOPED_TRACE(name);
    const auto at = [&](const std::string& what) -> const ArrayView& {
      return golden.at(fmt::format("{}.{}", name, what));
    };
    const auto near = [&](const Tensor& actual, const std::string& what, double limit = 1e-5) {
      const Values expected = test::ours(at(what));
      return test::close(test::values(actual), expected, limit * test::max_abs(expected));
    };
    test::Recording r(name != "bn_eval");
    Tensor x = test::make(r.cx, at("x"));
    BatchNormState state{test::make(r.cx, at("weight")), test::make(r.cx, at("bias")),
                         test::make(r.cx, at("running_mean.before")), test::make(r.cx, at("running_var.before"))};
    const auto dx = test::watch(r.cx, x);
    const auto dweight = test::watch(r.cx, state.weight);
    const auto dbias = test::watch(r.cx, state.bias);
    const Normalised n = batch_norm(r.cx, x, state);
    const Tensor y = fuse(r.cx, {{x, &n}});
    EXPECT_TRUE(near(y, "y"));
    EXPECT_TRUE(near(state.running_mean, "running_mean.after"));
    EXPECT_TRUE(near(state.running_var, "running_var.after"));
    r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, at("dy"))}}));
    EXPECT_TRUE(near(*dx, "dx", name == "bn_train_n1" ? 1e-2 : 1e-5));
    EXPECT_TRUE(near(*dweight, "d_weight"));
    EXPECT_TRUE(near(*dbias, "d_bias"));
  }
}

}  // namespace
}  // namespace hr
