#include "ops/joints_loss.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/io/json.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

// The loss as it is defined, joint by joint and sample by sample.
double plain(const Shape& s, const Values& p, const Values& g, const Values& w, JointsLoss kind) {
  const int64_t pixels = s[1] * s[2], joints = s[3];
  double loss = 0;
  for (int64_t n = 0; n < s[0]; ++n) {
    for (int64_t k = 0; k < joints; ++k) {
      const double weight = w[n * joints + k];
      double mean = 0;
      for (int64_t i = 0; i < pixels; ++i) {
        const size_t at = (n * pixels + i) * joints + k;
        const double d = kind == JointsLoss::official ? weight * p[at] - weight * g[at] : p[at] - g[at];
        mean += d * d / static_cast<double>(pixels);
      }
      const auto batch = static_cast<double>(s[0]);
      loss += kind == JointsLoss::official ? 0.5 * mean / batch / static_cast<double>(joints) : weight * mean / batch;
    }
  }
  return loss;
}

TEST(JointsLoss, ValueAndDerivativeAtOddSizes) {
  uint64_t seed = 1;
  for (const Shape& s : {Shape{1, 1, 1, 1}, Shape{3, 1, 1, 17}, Shape{1, 3, 3, 1}, Shape{3, 7, 5, 17},
                         Shape{1, 7, 5, 27}, Shape{2, 1, 3, 123}, Shape{3, 24, 18, 3}}) {
    for (const JointsLoss kind : {JointsLoss::official, JointsLoss::seed}) {
      for (const DType t : {DType::f32, DType::bf16}) {
        SCOPED_TRACE(
            fmt::format("{} {} {}", to_string(s), kind == JointsLoss::official ? "official" : "seed", name_of(t)));
        const Values p = test::random_values(numel(s), ++seed, t), g = test::random_values(numel(s), ++seed);
        Values w = test::random_values(s[0] * s[3], ++seed, DType::f32, 0, 2);
        if (w.size() > 2) w[1] = 0;  // an invisible joint stays in the denominator
        test::Recording r;
        Tensor pred = test::make(r.cx, s, t, p);
        const auto dpred = test::watch(r.cx, pred);
        const Tensor loss = joints_loss(r.cx, pred, test::make(r.cx, s, DType::f32, g),
                                        test::make(r.cx, {s[0], s[3]}, DType::f32, w), kind);
        const double expected = plain(s, p, g, w, kind);
        // The sums have at most 256 positive float32 terms.
        EXPECT_NEAR(*loss.data<float>(), expected, 260 * 0x1p-24 * expected);
        r.tape.backward(r.cx, loss);
        const auto f = [&](const std::vector<Values>& in) { return Values{plain(s, in[0], g, w, kind)}; };
        const Values exact = test::finite_difference(f, {p}, 0, {1});
        EXPECT_TRUE(
            test::close(test::values(*dpred), exact, (test::rounding(t) + 8 * 0x1p-24) * test::max_abs(exact) + 1e-10));
        EXPECT_EQ(dpred->dtype(), t);
      }
    }
  }
}

TEST(JointsLoss, APredictionUsedTwiceReceivesBothGradients) {
  const Shape s{2, 3, 3, 3};
  const Values p = test::random_values(54, 1), g = test::random_values(54, 2), w = test::random_values(6, 3);
  test::Recording r;
  Tensor pred = test::make(r.cx, s, DType::f32, p);
  const auto dpred = test::watch(r.cx, pred);
  const Tensor target = test::make(r.cx, s, DType::f32, g), weight = test::make(r.cx, {2, 3}, DType::f32, w);
  const Tensor a = joints_loss(r.cx, pred, target, weight, JointsLoss::official);
  const Tensor b = joints_loss(r.cx, pred, target, weight, JointsLoss::seed);
  const Tensor two = test::make(r.cx, {1}, DType::f32, {2}), three = test::make(r.cx, {1}, DType::f32, {3});
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{a, two}, {b, three}}));
  const auto f = [&](const std::vector<Values>& in) {
    return Values{2 * plain(s, in[0], g, w, JointsLoss::official) + 3 * plain(s, in[0], g, w, JointsLoss::seed)};
  };
  const Values exact = test::finite_difference(f, {p}, 0, {1});
  EXPECT_TRUE(test::close(test::values(*dpred), exact, 8 * 0x1p-24 * test::max_abs(exact) + 1e-10));
}

TEST(JointsLoss, RefusesWhatDoesNotFit) {
  Context cx;
  const auto zeros = [&](Shape s, DType t = DType::f32) { return cx.zeros(std::move(s), t); };
  const Tensor p = zeros({2, 4, 4, 3}), w = zeros({2, 3});
  EXPECT_THROW(joints_loss(cx, p, zeros({2, 4, 4, 2}), w, JointsLoss::official), Error);
  EXPECT_THROW(joints_loss(cx, p, zeros({2, 4, 4, 3}, DType::bf16), w, JointsLoss::official), Error);
  EXPECT_THROW(joints_loss(cx, p, p, zeros({3, 2}), JointsLoss::official), Error);
  EXPECT_THROW(joints_loss(cx, p, p, zeros({2, 3}, DType::bf16), JointsLoss::official), Error);
  EXPECT_NO_THROW(joints_loss(cx, p, p, w, JointsLoss::official));
}

TEST(JointsLoss, MatchesTheGoldenData) {
  HR_NEEDS_ORACLE("train/train.json");
  const auto json = parse_json_file(test::oracle("train/train.json"));
  for (const std::string name : {"main", "tight"}) {
    const SafetensorsFile batch(test::oracle("train/" + name + "_batch.safetensors"));
    const SafetensorsFile forward(test::oracle("train/" + name + "_forward.safetensors"));
    for (const auto& [what, kind] : {std::pair{"official", JointsLoss::official}, {"seed", JointsLoss::seed}}) {
      SCOPED_TRACE(name + " " + what);
      test::Recording r;
      Tensor pred = test::make(r.cx, forward.at("output"));
      const auto dpred = test::watch(r.cx, pred);
      const Tensor loss = joints_loss(r.cx, pred, test::make(r.cx, batch.at("target")),
                                      test::make(r.cx, batch.at("target_weight")), kind);
      const double expected = json[name.c_str()]["losses"][what].GetDouble();
      EXPECT_NEAR(*loss.data<float>(), expected, 1e-5 * expected);
      r.tape.backward(r.cx, loss);
      const Values exact = test::ours(forward.at(std::string("d_output.") + what));
      EXPECT_TRUE(test::close(test::values(*dpred), exact, 1e-6 * test::max_abs(exact)));
    }
    test::Recording r;
    const Tensor pred = test::make(r.cx, forward.at("output")), target = test::make(r.cx, batch.at("target"));
    const Tensor ones = test::make(r.cx, {pred.dim(0), 17}, DType::f32, Values(pred.dim(0) * 17, 1));
    const double expected = json[name.c_str()]["losses"]["official_unweighted"].GetDouble();
    EXPECT_NEAR(*joints_loss(r.cx, pred, target, ones, JointsLoss::official).data<float>(), expected, 1e-5 * expected);
  }
}

}  // namespace
}  // namespace hr
