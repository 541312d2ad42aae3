// A step with a model and a loss of the test's own on a GPU: captured and launched, it gives the same as eager steps
// and as the CPU.
#include <cmath>
#include <optional>

#include "hrnet/train/train_step.h"
#include "nn/layers.h"
#include "ops/elementwise.h"
#include "ops/mse.h"
#include "tests/gpu/pair.h"

namespace hr {
namespace {

class GpuOwnStep : public test::Gpu {};

struct Net : Model {
  ConvBn a{*this, "a", {.in = 8, .out = 16}};
  Conv b{*this, "b", {.in = 16, .out = 8, .kernel = 1}};
  Parameter& gain = parameter("gain", {8}, 1.5f);
  ConvBn unused{*this, "unused", {.in = 8, .out = 8}};
  Tensor operator()(Context& cx, const Tensor& x) {
    const Tensor y = add(cx, b(cx, a(cx, x, {.relu = true})), x);
    return cast(cx, mul(cx, relu(cx, y), gain.value), DType::f32);
  }
};

struct After {
  std::vector<double> losses;
  std::vector<std::vector<std::byte>> bytes;
  std::vector<int64_t> counts;
  test::Values values;
};

// With `graph`, one step object is used, which launches a graph from the third step on. Without it, each step is a new
// object and runs eagerly.
After train(Context cx, bool graph, bool with_nan) {
  constexpr int kSteps = 6;
  const Shape shape{3, 5, 7, 8};
  std::vector<std::vector<float>> x, y;
  for (int i = 0; i < kSteps; ++i) {
    for (auto* list : {&x, &y}) {
      const test::Values v = test::random_values(numel(shape), 10 + 2 * i + (list == &y ? 1 : 0));
      list->emplace_back(v.begin(), v.end());
    }
  }
  if (with_nan) y[4][3] = std::nanf("");
  Net net;
  net.init(cx, 1);
  Adam adam(net, {.lr = 1e-2});
  After after;
  for (int i = 0; i < kSteps; i += graph ? kSteps : 1) {
    TrainStep step(
        cx, adam, [&](Context& c, const Inputs& in) { return mse(c, net(c, cast(c, in["x"], c.precision)), in["y"]); });
    for (int k = i; k < (graph ? kSteps : i + 1); ++k) step.submit({{x[k], shape, "x"}, {y[k], shape, "y"}});
    while (step.pending() > 0) after.losses.push_back(step.wait());
  }
  const ParameterStore& s = net.parameters();
  for (const Tensor& t : {s.values, s.buffers, adam.exp_avg, adam.exp_avg_sq})
    after.bytes.push_back(test::bytes_of(cx, t));
  after.counts = s.counts();
  after.values = test::fetch(cx, s.values);
  return after;
}

// Groups of two steps, the first of which keeps its gradient, with everything that an optimiser may add. `graph`: one
// step object, whose later groups are launches; else a new one for each group, which runs eagerly.
After train_in_groups(Context cx, bool graph) {
  constexpr int kGroups = 4;
  Net net;
  net.init(cx, 1);
  const std::vector<std::string> frozen{"a.conv.*"};
  net.parameters().freeze(frozen);
  Optimizer adam(cx, net.parameters(), {.weight_decay = 0.1, .decoupled = true},
                 {.decay_vectors = false, .clip_norm = 0.05, .ema = 0.9});
  After after;
  std::optional<TrainStep> step;
  for (int group = 0; group < kGroups; ++group) {
    if (!graph || !step) {
      step.emplace(cx, adam, [&](Context& c, const Inputs& in) {
        return mse(c, net(c, cast(c, in["x"], c.precision)), in["y"]);
      });
    }
    for (int part = 0; part < 2; ++part) {
      const Shape shape{3 - part, 5, 7, 8};
      std::vector<std::vector<float>> arrays;
      for (int what = 0; what < 2; ++what) {
        const test::Values v = test::random_values(numel(shape), 100 + 4 * group + 2 * part + what);
        arrays.emplace_back(v.begin(), v.end());
      }
      // One that adds nothing, and one that drops what was kept.
      if ((group == 2 && part == 0) || (group == 3 && part == 1)) arrays[1][3] = std::nanf("");
      const auto what = part == 0 ? TrainStep::Gradients::keep : TrainStep::Gradients::update;
      step->submit({{arrays[0], shape, "x"}, {arrays[1], shape, "y"}}, 1e-2, what);
    }
    while (step->pending() > 0) after.losses.push_back(step->wait());
    after.losses.push_back(step->gradient_norm());
  }
  const ParameterStore& s = net.parameters();
  for (const Tensor& t :
       {s.values, s.buffers, adam.exp_avg, adam.exp_avg_sq, adam.average_values, adam.average_buffers})
    after.bytes.push_back(test::bytes_of(cx, t));
  after.counts = {adam.steps()};
  after.values = test::fetch(cx, adam.average_values);
  return after;
}

TEST_F(GpuOwnStep, GroupsOfStepsEqualEagerOnesAndTheCpu) {
  const After eager = train_in_groups(test::device_context(DType::f32), false);
  const After graph = train_in_groups(test::device_context(DType::f32), true);
  EXPECT_EQ(eager.counts, std::vector<int64_t>{3}) << "the last group updates nothing";
  EXPECT_EQ(graph.counts, eager.counts);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(graph.losses[i], eager.losses[i]) << i;
  for (size_t i = 0; i < eager.bytes.size(); ++i) EXPECT_TRUE(graph.bytes[i] == eager.bytes[i]) << "tensor " << i;
  const After cpu = train_in_groups(Context(), true);
  EXPECT_EQ(cpu.counts, graph.counts);
  EXPECT_TRUE(test::close(graph.values, cpu.values, 1e-3));
}

TEST_F(GpuOwnStep, LaunchesEqualEagerStepsAndTheCpu) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const bool with_nan : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", name_of(t), with_nan));
      const After eager = train(test::device_context(t), false, with_nan);
      const After graph = train(test::device_context(t), true, with_nan);
      for (size_t i = 0; i < eager.losses.size(); ++i) {
        if (with_nan && i == 4) {
          EXPECT_TRUE(std::isnan(graph.losses[i]));
        } else {
          EXPECT_EQ(graph.losses[i], eager.losses[i]) << i;
        }
      }
      for (size_t i = 0; i < eager.bytes.size(); ++i) {
        EXPECT_TRUE(graph.bytes[i] == eager.bytes[i]) << "tensor " << i;
      }
      // One batch norm ran in every step and the other in none, also in launches.
      const int64_t ran = with_nan ? 5 : 6;
      EXPECT_EQ(eager.counts, (std::vector<int64_t>{ran, 0}));
      EXPECT_EQ(graph.counts, (std::vector<int64_t>{ran, 0}));
      if (t == DType::f32) {
        const After cpu = train(Context(), true, with_nan);
        EXPECT_TRUE(test::close(graph.values, cpu.values, 1e-3));
        EXPECT_EQ(graph.counts, cpu.counts);
      }
    }
  }
}

}  // namespace
}  // namespace hr
