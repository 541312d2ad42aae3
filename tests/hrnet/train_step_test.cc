// The training step as a user of the library sees it: with a network, a loss and inputs of the user's own.
#include "hrnet/train/train_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "core/error.h"
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

}  // namespace
}  // namespace hr
