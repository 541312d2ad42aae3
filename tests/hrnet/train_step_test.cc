// The training step as a user of the library sees it: with a network, a loss and inputs of the user's own.
#include "hrnet/train/train_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "hrnet/model/model.h"
#include "hrnet/train/pose_step.h"
#include "nn/layers.h"
#include "ops/elementwise.h"
#include "ops/mse.h"
#include "tests/support/gradients.h"

namespace hr {
namespace {

using test::Values;

template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Net : Model {
  ConvBn a{*this, "a", {.in = 2, .out = 5}};
  Conv b{*this, "b", {.in = 5, .out = 1, .kernel = 1}};
  ConvBn unused{*this, "unused", {.in = 2, .out = 3}};
  Tensor operator()(Context& cx, const Tensor& x) { return b(cx, a(cx, x, {.relu = true})); }
};

std::vector<float> numbers(size_t n, uint64_t seed) {
  const Values v = test::random_values(static_cast<int64_t>(n), seed);
  return {v.begin(), v.end()};
}

const std::vector<float> kX = numbers(3 * 5 * 7 * 2, 1), kY = numbers(3 * 5 * 7, 2);
StepBatch batch() { return {{kX, {3, 5, 7, 2}, "x"}, {kY, {3, 5, 7, 1}, "y"}}; }

LossFunction loss_of(Net& net) {
  return [&net](Context& cx, const Inputs& in) { return mse(cx, net(cx, in["x"]), in["y"]); };
}

TEST(TrainStep, IsForwardBackwardAndAdamByHand) {
  Context cx;
  Net by_hand, net;
  by_hand.init(cx, 1);
  net.init(cx, 1);
  Adam adam(net, {.lr = 1e-2}), own(by_hand, {.lr = 1e-2});
  TrainStep step(cx, adam, loss_of(net));
  test::Recording r(true);
  by_hand.parameters().bind(r.tape);
  const Tensor x = test::make(r.cx, {3, 5, 7, 2}, DType::f32, Values(kX.begin(), kX.end()));
  const Tensor y = test::make(r.cx, {3, 5, 7, 1}, DType::f32, Values(kY.begin(), kY.end()));
  for (int i = 0; i < 4; ++i) {
    const Tensor loss = mse(r.cx, by_hand(r.cx, x), y);
    r.tape.backward(r.cx, loss);
    own.step(r.cx, 1e-2);
    EXPECT_EQ(step(batch()), *loss.data<float>()) << i;
    EXPECT_EQ(test::values(net.parameters().values), test::values(by_hand.parameters().values)) << i;
    EXPECT_EQ(test::values(net.parameters().buffers), test::values(by_hand.parameters().buffers)) << i;
  }
  EXPECT_EQ(adam.steps(), 4);
}

// A network without batch norm, for which the parts of a batch do not depend on each other.
struct Plain : Model {
  Conv a{*this, "a", {.in = 2, .out = 5}}, b{*this, "b", {.in = 5, .out = 1, .kernel = 1}};
  Tensor operator()(Context& cx, const Tensor& x) { return b(cx, relu(cx, a(cx, x))); }
};

StepBatch samples(int64_t from, int64_t to) {
  const auto x = std::span(kX).subspan(static_cast<size_t>(from * 70), static_cast<size_t>((to - from) * 70));
  const auto y = std::span(kY).subspan(static_cast<size_t>(from * 35), static_cast<size_t>((to - from) * 35));
  return {{x, {to - from, 5, 7, 2}, "x"}, {y, {to - from, 5, 7, 1}, "y"}};
}

TEST(TrainStep, KeptGradientsMakeTheUpdateOfTheWholeBatch) {
  using Gradients = TrainStep::Gradients;
  Context cx;
  Plain whole, parts;
  whole.init(cx, 1), parts.init(cx, 1);
  Adam adam(whole, {}), other(parts, {});
  const auto loss = [](Plain& net) {
    return [&net](Context& c, const Inputs& in) { return mse(c, net(c, in["x"]), in["y"]); };
  };
  TrainStep step(cx, adam, loss(whole)), steps(cx, other, loss(parts));
  for (int i = 0; i < 3; ++i) {
    const Values before = test::values(parts.parameters().values);
    const double all = step(batch(), 1e-2);
    steps.submit(samples(0, 2), 1e-2, Gradients::keep);
    EXPECT_EQ(test::values(parts.parameters().values), before) << "a step that keeps updates nothing";
    steps.submit(samples(2, 3), 1e-2);  // fewer samples than the first
    const double first = steps.wait(), second = steps.wait();
    EXPECT_NEAR((2 * first + second) / 3, all, 1e-5 * all);
    EXPECT_TRUE(test::close(test::values(other.exp_avg), test::values(adam.exp_avg), 1e-5)) << i;
    EXPECT_EQ(other.steps(), i + 1);
  }
  // Steps by themselves are what they were, with the kept ones gone.
  Plain fresh;
  fresh.init(cx, 1);
  fresh.parameters().home().upload(fresh.parameters().values,
                                   std::as_bytes(std::span(parts.parameters().values.data<float>(),
                                                           static_cast<size_t>(parts.parameters().values.numel()))));
  Adam third(fresh, {});
  third.set_steps(other.steps());
  for (const auto& [to, from] : {std::pair{third.exp_avg, other.exp_avg}, {third.exp_avg_sq, other.exp_avg_sq}})
    cx.upload(to, std::as_bytes(std::span(from.data<float>(), static_cast<size_t>(from.numel()))));
  TrainStep alone(cx, third, loss(fresh));
  EXPECT_EQ(steps(batch(), 1e-2), alone(batch(), 1e-2));
  EXPECT_EQ(test::values(parts.parameters().values), test::values(fresh.parameters().values));
}

TEST(TrainStep, ALossThatIsNotFiniteAddsNothingToTheKeptAndDropsThemWhenItShouldUpdate) {
  using Gradients = TrainStep::Gradients;
  Context cx;
  Plain net, clean;
  net.init(cx, 1), clean.init(cx, 1);
  Optimizer adam(cx, net.parameters(), {}, {.ema = 0.5}), other(cx, clean.parameters(), {}, {.ema = 0.5});
  const auto loss = [](Plain& n) {
    return [&n](Context& c, const Inputs& in) { return mse(c, n(c, in["x"]), in["y"]); };
  };
  TrainStep step(cx, adam, loss(net)), good(cx, other, loss(clean));
  StepBatch bad = samples(0, 1);
  std::vector<float> infinite(35, INFINITY);
  bad.arrays[1].bytes = std::as_bytes(std::span(infinite));
  const Values start = test::values(net.parameters().values);
  step.submit(samples(1, 3), 1e-2, Gradients::keep);
  step.submit(bad, 1e-2);  // drops what was kept
  step.submit(samples(0, 1), 1e-2, Gradients::keep);
  step.submit(bad, 1e-2, Gradients::keep);
  EXPECT_EQ(test::values(net.parameters().values), start);
  EXPECT_EQ(test::values(adam.average_values), start);
  EXPECT_EQ(adam.steps(), 0);
  step.submit(samples(1, 2), 1e-2);
  good.submit(samples(0, 1), 1e-2, Gradients::keep);
  good.submit(samples(1, 2), 1e-2);
  EXPECT_EQ(test::values(net.parameters().values), test::values(clean.parameters().values));
  EXPECT_EQ(test::values(adam.average_values), test::values(other.average_values));
  EXPECT_EQ(adam.steps(), 1);
}

TEST(TrainStep, AGradientThatIsNotFiniteUpdatesNothingWhenItIsClipped) {
  Context cx;
  Plain net;
  net.init(cx, 1);
  Optimizer adam(cx, net.parameters(), {}, {.clip_norm = 1});
  // The output is multiplied by 1e-30 and by 1e30, which leaves it as it is. Its gradient is of the size of the target,
  // 1e15, and 1e15 * 1e30 is infinite.
  TrainStep step(cx, adam, [&](Context& c, const Inputs& in) {
    return mse(c, mul(c, mul(c, net(c, in["x"]), in["first"]), in["second"]), in["far"]);
  });
  const std::vector<float> tiny(35, 1e-30f), huge(35, 1e30f), one(35, 1), far(35, 1e15f);
  const auto with = [&](const std::vector<float>& first, const std::vector<float>& second,
                        const std::vector<float>& target) {
    StepBatch b = samples(0, 1);
    b.arrays.emplace_back(first, Shape{1, 5, 7, 1}, "first");
    b.arrays.emplace_back(second, Shape{1, 5, 7, 1}, "second");
    b.arrays.emplace_back(target, Shape{1, 5, 7, 1}, "far");
    return b;
  };
  const Values before = test::values(net.parameters().values);
  EXPECT_TRUE(std::isfinite(step(with(tiny, huge, far), 1e-2)));
  EXPECT_FALSE(std::isfinite(step.gradient_norm()));
  EXPECT_EQ(test::values(net.parameters().values), before);
  EXPECT_EQ(adam.steps(), 0);
  step(with(one, one, one), 1e-2);
  EXPECT_TRUE(std::isfinite(step.gradient_norm()) && step.gradient_norm() > 0);
  EXPECT_EQ(adam.steps(), 1);
  EXPECT_NE(test::values(net.parameters().values), before);
}

TEST(TrainStep, FrozenLayersStayAndCostNoGradient) {
  Context cx;
  Net net;
  net.init(cx, 1);
  const std::vector<std::string> patterns{"a.*"};
  EXPECT_EQ(net.parameters().freeze(patterns), 3);
  Adam adam(net, {.weight_decay = 0.1, .decoupled = true});
  TrainStep step(cx, adam, loss_of(net));
  std::map<std::string, Values> before;
  for (const Parameter& p : net.parameters().parameters()) before[p.name] = test::values(p.value);
  for (int i = 0; i < 2; ++i) step(batch(), 1e-2);
  for (const Parameter& p : net.parameters().parameters()) {
    if (p.name.starts_with("unused.")) continue;
    EXPECT_EQ(test::values(p.value) == before[p.name], p.name.starts_with("a.")) << p.name;
  }
}

TEST(TrainStep, InputsAreFoundByNumberAndByName) {
  Context cx;
  Net net;
  net.init(cx, 1);
  Adam adam(net);
  std::string unknown, beyond;
  TrainStep step(cx, adam, [&](Context& c, const Inputs& in) {
    EXPECT_EQ(in.size(), 3u);
    EXPECT_EQ(in[0].id(), in["x"].id());
    EXPECT_EQ(in["bytes"].dtype(), DType::u8);
    EXPECT_EQ(in["bytes"].shape(), (Shape{3, 2}));
    EXPECT_EQ(in["bytes"].data<uint8_t>()[5], 15);
    EXPECT_TRUE(in.contains("y"));
    EXPECT_FALSE(in.contains("z"));
    EXPECT_EQ(in.constant(0), 42);
    unknown = error_of([&] { return in["z"]; });
    beyond = error_of([&] { return in[3]; });
    EXPECT_THROW(in.constant(1), Error);
    return mse(c, net(c, in[0]), in["y"]);
  });
  StepBatch with_bytes = batch();
  const std::vector<uint8_t> bytes{10, 11, 12, 13, 14, 15};
  with_bytes.arrays.emplace_back(bytes, Shape{3, 2}, "bytes");
  with_bytes.constants = {42};
  step(with_bytes);
  EXPECT_TRUE(contains(unknown, "\"z\"")) << unknown;
  EXPECT_TRUE(contains(unknown, "x, y, bytes")) << unknown;
  EXPECT_TRUE(contains(beyond, "input 3")) << beyond;
}

// Two batches of the same size but with other names, shapes or constants are different steps for the loss function.
TEST(TrainStep, EveryKindOfBatchHasItsOwnPlan) {
  Context cx;
  Net net;
  net.init(cx, 1);
  Adam adam(net);
  std::vector<std::string> seen;
  TrainStep step(cx, adam, [&](Context& c, const Inputs& in) {
    seen.push_back(fmt::format("{} {}", to_string(in[0].shape()), in.constant(0)));
    return mse(c, net(c, in[0]), in[1]);
  });
  const auto run = [&](Shape x, Shape y, int64_t constant) {
    StepBatch b{{kX, std::move(x), "x"}, {kY, std::move(y), "y"}};
    b.constants = {constant};
    EXPECT_TRUE(std::isfinite(step(b)));
  };
  for (int repeat = 0; repeat < 3; ++repeat) {
    run({3, 5, 7, 2}, {3, 5, 7, 1}, 1);
    run({3, 7, 5, 2}, {3, 7, 5, 1}, 1);
    run({3, 7, 5, 2}, {3, 7, 5, 1}, 2);
  }
  EXPECT_EQ((std::set<std::string>(seen.begin(), seen.end())),
            (std::set<std::string>{"[3, 5, 7, 2] 1", "[3, 7, 5, 2] 1", "[3, 7, 5, 2] 2"}));
}

TEST(TrainStep, CountsTheBatchNormsThatRanAndTakesThemBackAfterANaN) {
  Context cx;
  Net net;
  net.init(cx, 1);
  Adam adam(net);
  TrainStep step(cx, adam, loss_of(net));
  std::vector<float> broken = kY;
  broken[7] = std::nanf("");
  step(batch());
  step(batch());
  EXPECT_EQ(net.parameters().counts(), (std::vector<int64_t>{2, 0}));
  const Values before = test::values(net.parameters().values);
  EXPECT_TRUE(std::isnan(step({{kX, {3, 5, 7, 2}, "x"}, {broken, {3, 5, 7, 1}, "y"}})));
  EXPECT_EQ(net.parameters().counts(), (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(test::values(net.parameters().values), before);
  EXPECT_EQ(adam.steps(), 2);
}

TEST(TrainStep, RefusesWhatCannotTrain) {
  Context cx;
  Net net;
  net.init(cx, 1);
  Adam adam(net);
  const auto error = [&](const LossFunction& loss, const StepBatch& b) {
    TrainStep step(cx, adam, loss);
    return error_of([&] { step(b); });
  };
  EXPECT_TRUE(contains(error(loss_of(net), {{kX, {3, 5, 7, 1}, "x"}, {kY, {3, 5, 7, 1}, "y"}}),
                       "x: expected [3, 5, 7, 1] of f32, which is 420 bytes; got 840"));
  EXPECT_TRUE(contains(error([&](Context& c, const Inputs& in) { return net(c, in[0]); }, batch()),
                       "a loss of one f32 element, got [3, 5, 7, 1]"));
  EXPECT_TRUE(contains(error([](Context&, const Inputs&) { return Tensor(); }, batch()), "no tensor"));
  EXPECT_TRUE(contains(error([](Context& c, const Inputs&) { return c.zeros({1}, DType::f32); }, batch()),
                       "depends on no parameter"));
  EXPECT_THROW(TrainStep(cx, adam, nullptr), Error);
  TrainStep step(cx, adam, loss_of(net));
  EXPECT_THROW(step.wait(), Error);
  step.submit(batch());
  EXPECT_THROW(step(batch()), Error) << "its loss was not taken";
  EXPECT_TRUE(std::isfinite(step.wait()));
}

TEST(PoseTrainStep, RefusesAnotherModelsOptimiser) {
  Context cx;
  Net net;
  net.init(cx, 1);
  Adam adam(net);
  const auto model = make_model(cx, "hrnet_w2", 17);
  EXPECT_THROW(PoseTrainStep(cx, *model, adam, JointsLoss::official), Error);
}

TEST(PoseTrainStep, KeepsTheHeatmapsFromWhichTheLossWasMade) {
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 3, 1, Init::torch);
  Optimizer optimizer(cx, model->parameters(), {});
  PoseTrainStep step(cx, *model, optimizer, JointsLoss::official);
  const std::vector<float> ones(2 * 3, 1.0F);
  const auto run = [&](int n) {
    const auto count = static_cast<size_t>(n);
    const std::vector<float> x = numbers(count * 32 * 64 * 3, 1), y = numbers(count * 8 * 16 * 3, 2);
    const double loss =
        step({.images = x, .targets = y, .weights = std::span(ones).first(count * 3), .n = n, .h = 32, .w = 64}, 1e-2);
    const std::vector<float> maps = step.heatmaps();
    ASSERT_EQ(maps.size(), y.size());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += (static_cast<double>(maps[i]) - y[i]) * (maps[i] - y[i]);
    EXPECT_NEAR(loss, 0.5 * sum / static_cast<double>(y.size()), 1e-5 * loss);
  };
  step.keep_heatmaps();
  EXPECT_TRUE(contains(error_of([&] { step.heatmaps(); }), "keep_heatmaps()"));
  for (const int n : {2, 2, 1, 2}) run(n);
}

}  // namespace
}  // namespace hr
