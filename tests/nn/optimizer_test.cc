#include "nn/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/io/json.h"
#include "tests/support/oracle.h"
#include "tests/support/tensors.h"

namespace hr {
namespace {

TEST(Schedule, OfficialIsPlainMultiStep) {
  const Schedule s;
  for (const auto& [epoch, lr] :
       {std::pair{0, 1e-3}, {169, 1e-3}, {170, 1e-4}, {199, 1e-4}, {200, 1e-5}, {209, 1e-5}}) {
    for (const int64_t step : {0, 1, 999}) EXPECT_DOUBLE_EQ(s.at(epoch, step, 1000), lr) << epoch;
  }
  // torch's MultiStepLR counts a milestone twice if it is given twice.
  EXPECT_DOUBLE_EQ((Schedule{.lr = 1, .gamma = 0.5, .milestones = {2, 2}}.at(2, 0, 10)), 0.25);
}

TEST(Schedule, SeedWarmsUpOverTheFirstEpoch) {
  const Schedule s{.warmup = true};
  EXPECT_DOUBLE_EQ(s.at(0, 0, 5000), 1e-6);
  EXPECT_DOUBLE_EQ(s.at(0, 500, 5000), 1e-3 * (0.5e-3 + 0.5));
  EXPECT_DOUBLE_EQ(s.at(0, 1000, 5000), 1e-3) << "never more than 1000 steps";
  EXPECT_DOUBLE_EQ(s.at(0, 4, 5), 1e-3) << "a short epoch ends at the full rate";
  EXPECT_DOUBLE_EQ(s.at(0, 0, 1), 1e-3) << "an epoch of one step has no room to warm up";
  EXPECT_DOUBLE_EQ(s.at(1, 0, 5000), 1e-3);
}

TEST(Schedule, SeedMatchesTheGoldenTable) {
  HR_NEEDS_ORACLE("train/train.json");
  const auto json = parse_json_file(test::oracle("train/train.json"));
  const auto& golden = json["seed_lr_used_by_each_step"];
  Schedule s{.gamma = golden["gamma"].GetDouble(), .milestones = {}, .warmup = true};
  for (const auto& m : golden["milestones"].GetArray()) s.milestones.push_back(m.GetInt());
  const int64_t batches = golden["batches_per_epoch"].GetInt64();
  int epoch = 0;
  for (const auto& row : golden["rows_are_epochs"].GetArray()) {
    ASSERT_EQ(static_cast<int64_t>(row.Size()), batches);
    for (int64_t step = 0; step < batches; ++step) {
      const double expected = row[static_cast<unsigned>(step)].GetDouble();
      EXPECT_NEAR(s.at(epoch, step, batches), expected, 1e-12 * expected) << epoch << " " << step;
    }
    ++epoch;
  }
  EXPECT_GT(epoch, 4) << "the table covers both drops";
}

TEST(Schedule, CosinesFallFromTheFullRateToTheFinalShare) {
  using Shape = Schedule::Shape;
  const Schedule whole{.lr = 2, .shape = Shape::cosine, .epochs = 10, .final_share = 0.1};
  EXPECT_DOUBLE_EQ(whole.at(0, 0, 50), 2);
  EXPECT_DOUBLE_EQ(whole.at(5, 0, 50), 2 * (0.1 + 0.9 * 0.5));
  EXPECT_NEAR(whole.at(9, 49, 50), 0.2, 1e-4);
  EXPECT_LT(whole.at(3, 1, 50), whole.at(3, 0, 50)) << "it falls within epochs";
  const Schedule half{.lr = 2, .milestones = {1}, .shape = Shape::flat_cosine, .epochs = 10, .final_share = 0.1};
  EXPECT_DOUBLE_EQ(half.at(0, 0, 50), 2);
  EXPECT_DOUBLE_EQ(half.at(5, 0, 50), 2) << "flat until the middle; milestones are the other schedule's";
  EXPECT_DOUBLE_EQ(half.at(7, 25, 50), 2 * (0.1 + 0.9 * 0.5));
  EXPECT_NEAR(half.at(9, 49, 50), 0.2, 1e-3);
  // An odd number of epochs has its middle within one; a run of one step is no division by zero.
  EXPECT_DOUBLE_EQ((Schedule{.lr = 2, .shape = Shape::flat_cosine, .epochs = 3}.at(1, 1, 2)), 2);
  EXPECT_TRUE(std::isfinite(Schedule{.shape = Shape::flat_cosine, .epochs = 1}.at(0, 0, 1)));
}

TEST(Schedule, WarmsUpOverStepsOfTheRun) {
  const Schedule s{.lr = 1, .milestones = {}, .epochs = 10, .warmup_steps = 30};
  EXPECT_DOUBLE_EQ(s.at(0, 0, 20), 1e-3);
  EXPECT_DOUBLE_EQ(s.at(0, 15, 20), 0.5005);
  EXPECT_DOUBLE_EQ(s.at(1, 5, 20), 1e-3 * (1 - 25.0 / 30) + 25.0 / 30) << "it goes on in the next epoch";
  EXPECT_DOUBLE_EQ(s.at(1, 10, 20), 1);
  const Schedule shortened{.lr = 1, .milestones = {}, .epochs = 10, .warmup_steps = 1000, .short_warmup = true};
  EXPECT_DOUBLE_EQ(shortened.at(0, 5, 20), 0.5005) << "a twentieth of 200 steps";
  EXPECT_DOUBLE_EQ(shortened.at(0, 10, 20), 1);
  EXPECT_EQ(s.warmup_length(20), 30);
  EXPECT_EQ(shortened.warmup_length(20), 10);
  EXPECT_EQ((Schedule{.warmup = true}.warmup_length(20)), 19) << "the seed's is within the first epoch";
  EXPECT_EQ((Schedule{.warmup = true}.warmup_length(5000)), 1000);
  EXPECT_EQ(Schedule{}.warmup_length(20), 0);
}

// Two parameters of which one is a bias, and gradients.
struct Two {
  Context cx;
  ParameterStore store;
  Parameter& filter = store.add_parameter("a.weight", {2, 3, 1, 1}, ParameterLayout::filter, 0, 3);
  Parameter& bias = store.add_parameter("a.bias", {20}, ParameterLayout::plain, 2, 0);
  Two() {
    store.add_buffer("a.running_mean", 3, 0.5f);
    store.allocate(cx, 1, Init::torch);
    for (int64_t i = 0; i < 6; ++i) filter.grad.data<float>()[i] = 3;
    for (int64_t i = 0; i < 20; ++i) bias.grad.data<float>()[i] = 4;
  }
};

TEST(Optimizer, DecaysFiltersAloneWhenAsked) {
  Two all, filters, none;
  const AdamStep decay{.weight_decay = 0.5, .decoupled = true};
  Optimizer a(all.cx, all.store, decay), f(filters.cx, filters.store, decay, {.decay_vectors = false});
  Optimizer n(none.cx, none.store, {});
  a.step(all.cx, 0.1), f.step(filters.cx, 0.1), n.step(none.cx, 0.1);
  EXPECT_EQ(test::values(filters.filter.value), test::values(all.filter.value));
  EXPECT_EQ(test::values(filters.bias.value), test::values(none.bias.value));
  EXPECT_NE(test::values(all.bias.value), test::values(none.bias.value));
}

TEST(Optimizer, ClipsByTheNormOfAllGradientsTogether) {
  Two clipped, scaled;
  const double norm = std::sqrt(6 * 9 + 20 * 16);
  Optimizer c(clipped.cx, clipped.store, {}, {.clip_norm = norm / 4}), s(scaled.cx, scaled.store, {});
  for (Parameter* p : {&scaled.filter, &scaled.bias}) {
    for (int64_t i = 0; i < p->grad.numel(); ++i) p->grad.data<float>()[i] /= 4;
  }
  c.step(clipped.cx, 0.1), s.step(scaled.cx, 0.1);
  EXPECT_NEAR(test::values(c.gradient_norm())[0], norm, 1e-5 * norm);
  EXPECT_TRUE(test::close(test::values(c.exp_avg), test::values(s.exp_avg), 1e-6));
  EXPECT_TRUE(test::close(test::values(c.exp_avg_sq), test::values(s.exp_avg_sq), 1e-6));
  EXPECT_EQ(clipped.bias.grad.data<float>()[0], 4) << "the gradients themselves stay";
  // A norm that is no number updates nothing and does not count.
  clipped.bias.grad.data<float>()[3] = std::nanf("");
  const test::Values before = test::values(clipped.store.values);
  c.step(clipped.cx, 0.1);
  EXPECT_EQ(test::values(clipped.store.values), before);
  EXPECT_EQ(c.steps(), 1);
}

TEST(Optimizer, AveragesFollowValuesAndStatistics) {
  Two t;
  Optimizer o(t.cx, t.store, {}, {.ema = 0.9});
  test::Values values = test::values(t.store.values), statistics = test::values(t.store.buffers);
  EXPECT_EQ(test::values(o.average_values), values) << "they begin with the model";
  for (int step = 1; step <= 3; ++step) {
    t.store.buffers.data<float>()[1] += 1;  // what a forward pass does
    o.step(t.cx, 0.1);
    const double decay = std::min(0.9, (1.0 + step) / (10.0 + step));
    const test::Values now = test::values(t.store.values), moved = test::values(t.store.buffers);
    for (size_t i = 0; i < now.size(); ++i) values[i] += (1 - decay) * (now[i] - values[i]);
    for (size_t i = 0; i < moved.size(); ++i) statistics[i] += (1 - decay) * (moved[i] - statistics[i]);
    EXPECT_TRUE(test::close(test::values(o.average_values), values, 1e-6));
    EXPECT_TRUE(test::close(test::values(o.average_buffers), statistics, 1e-6));
  }
  const test::Values own = test::values(t.store.values), own_statistics = test::values(t.store.buffers);
  const uint64_t version = t.store.version;
  {
    const UseAverage average(o);
    EXPECT_EQ(test::values(t.store.values), test::values(o.average_values));
    EXPECT_EQ(test::values(t.store.buffers), test::values(o.average_buffers));
    EXPECT_GT(t.store.version, version);
  }
  EXPECT_EQ(test::values(t.store.values), own);
  EXPECT_EQ(test::values(t.store.buffers), own_statistics);
  EXPECT_GT(t.store.version, version + 1) << "what was folded meanwhile is old";
}

TEST(Optimizer, FrozenParametersStay) {
  Two t;
  const std::vector<std::string> patterns{"*.weight"};
  EXPECT_EQ(t.store.freeze(patterns), 1);
  Optimizer o(t.cx, t.store, {.weight_decay = 0.5, .decoupled = true});
  const std::vector<float> moments(static_cast<size_t>(o.exp_avg.numel()), 1);
  t.cx.upload(o.exp_avg, std::as_bytes(std::span(moments)));
  const test::Values before = test::values(t.filter.value), bias = test::values(t.bias.value);
  o.step(t.cx, 0.1);
  EXPECT_EQ(test::values(t.filter.value), before);
  EXPECT_NE(test::values(t.bias.value), bias);
}

TEST(ParameterStore, FreezesByPatternsAndRefusesThoseThatFitNothing) {
  const auto frozen = [](const std::vector<std::string>& patterns) {
    Two t;
    try {
      const int count = t.store.freeze(patterns);
      return std::to_string(count) + (t.filter.value.requires_grad() ? "" : " a.weight");
    } catch (const Error& e) {
      EXPECT_EQ(e.field(), "freeze");
      return std::string(e.what());
    }
  };
  EXPECT_EQ(frozen({}), "0");
  EXPECT_EQ(frozen({"a.weight"}), "1 a.weight");
  EXPECT_EQ(frozen({"a.w*"}), "1 a.weight");
  EXPECT_EQ(frozen({"?.*ight"}), "1 a.weight");
  EXPECT_EQ(frozen({"*b*s"}), "1");
  EXPECT_NE(frozen({"a"}).find("matches none of the 2 parameters"), std::string::npos) << frozen({"a"});
  EXPECT_NE(frozen({"a.weight?"}).find("matches none"), std::string::npos);
  EXPECT_NE(frozen({"a.weight", "*bias"}).find("nothing is left to learn"), std::string::npos);
}

TEST(Optimizer, UpdatesEveryParameterAndRaisesTheVersion) {
  Context cx;
  ParameterStore store;
  Parameter& a = store.add_parameter("a", {3}, ParameterLayout::plain, 1, 0);
  Parameter& b = store.add_parameter("b", {20}, ParameterLayout::plain, 2, 0);
  store.allocate(cx, 0);
  for (float* g : {a.grad.data<float>(), b.grad.data<float>()}) g[0] = 1, g[1] = -1;
  Optimizer o(cx, store, {});
  const uint64_t version = store.version;
  o.step(cx, 0.5);
  EXPECT_GT(store.version, version);
  EXPECT_EQ(o.steps(), 1);
  // The first step of Adam is lr * sign(gradient).
  EXPECT_TRUE(test::close(test::values(a.value), {0.5, 1.5, 1}, 1e-6));
  test::Values expected(20, 2);
  expected[0] = 1.5, expected[1] = 2.5;
  EXPECT_TRUE(test::close(test::values(b.value), expected, 1e-6));
}

}  // namespace
}  // namespace hr
