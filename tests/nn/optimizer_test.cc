#include "nn/optimizer.h"

#include <gtest/gtest.h>

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
