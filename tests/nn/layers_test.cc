#include "nn/layers.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "nn/optimizer.h"
#include "nn/state_dict.h"
#include "ops/elementwise.h"
#include "ops/mse.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

// One layer with random parameters and running statistics.
struct Layer {
  Context cx;
  ParameterStore store;
  ConvBn conv;
  explicit Layer(ConvShape shape, uint64_t seed = 1, Purpose purpose = Purpose::training)
      : conv(store, "conv1", "bn1", shape) {
    store.allocate(cx, seed, Init::official, purpose);
    const auto fill = [&](const Tensor& t, double lo, double hi) {
      const Values v = test::random_values(t.numel(), ++seed, DType::f32, lo, hi);
      for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = static_cast<float>(v[i]);
    };
    for (const auto& e : store.entries()) {
      if (e.parameter != nullptr && e.parameter->layout != ParameterLayout::plain) fill(e.parameter->value, -0.3, 0.3);
      if (e.parameter != nullptr && e.parameter->layout == ParameterLayout::plain) fill(e.parameter->value, 0.5, 1.5);
      if (e.buffer != nullptr) fill(e.buffer->value, 0.5, 2);
    }
    ++store.version;
  }
  Tensor input(Shape s, DType t = DType::f32) {
    const int64_t n = numel(s);
    return test::make(cx, std::move(s), t, test::random_values(n, 77, t));
  }
};

const ConvShape kShapes[] = {{3, 17, 3, 1, 1}, {17, 33, 1, 1, 0}, {32, 16, 3, 2, 1}, {8, 5, 4, 2, 1, true}};

TEST(ConvBn, FoldedAndUnfoldedInferenceAgree) {
  for (const ConvShape& shape : kShapes) {
    for (const bool relu : {false, true}) {
      for (const bool add : {false, true}) {
        Layer l(shape);
        const Tensor x = l.input({2, 7, 5, shape.in});
        const Tensor plain = l.conv(l.cx, x);
        const Tensor skip = l.input(plain.shape());
        const After after{.add = add ? &skip : nullptr, .relu = relu};
        const Tensor folded = l.conv(l.cx, x, after);
        Tape tape;
        l.cx.tape = &tape;  // with a tape, batch norm is an op of its own, on the running statistics
        const Tensor graph = l.conv(l.cx, x, after);
        EXPECT_GT(tape.size(), 0u);
        const Values expected = test::values(graph);
        // A sum has up to 288 products, and folding moves one rounding into the filter.
        EXPECT_TRUE(test::close(test::values(folded), expected, 600 * 0x1p-24 * (1 + test::max_abs(expected))));
      }
    }
  }
}

TEST(ConvBn, AModelForInferenceFoldsIntoItsOwnWeights) {
  for (const ConvShape& shape : kShapes) {
    Layer both(shape), one(shape, 1, Purpose::inference);
    const Tensor x = both.input({2, 7, 5, shape.in});
    const Tensor expected = both.conv(both.cx, x);
    EXPECT_TRUE(test::same_bytes(one.conv(one.cx, x), expected));
    EXPECT_FALSE(test::same_bytes(one.store.values, both.store.values)) << "folded in place";
    EXPECT_FALSE(one.store.grads.defined());
    Tape tape;
    EXPECT_THROW(one.store.bind(tape), Error);
    ++one.store.version;  // Folding what is folded already changes no bit.
    EXPECT_TRUE(test::same_bytes(one.conv(one.cx, x), expected));
    // Weights that are loaded anew are folded anew.
    Layer other(shape, 5);
    const fs::path file = test::temporary_folder() / "w.safetensors";
    save_state_dict(file, other.store, {});
    load_matching(WeightFile(file), one.store);
    EXPECT_TRUE(test::same_bytes(one.conv(one.cx, x), other.conv(other.cx, x)));
  }
}

TEST(ConvBn, TermsGiveTheSameAsTheWholeLayer) {
  Layer l({17, 33, 1, 1, 0});
  const Tensor x = l.input({2, 3, 5, 17});
  const Tensor whole = l.conv(l.cx, x, {.relu = true});
  EXPECT_FALSE(l.conv.term(l.cx, x).norm.has_value()) << "folded";
  EXPECT_TRUE(
      test::close(test::values(fuse_terms(l.cx, {l.conv.term(l.cx, x)}, Act::relu)), test::values(whole), 1e-5));
  const Tensor up = fuse_terms(l.cx, {l.conv.term(l.cx, x, 1)}, Act::relu);
  EXPECT_EQ(up.shape(), (Shape{2, 6, 10, 33}));
  EXPECT_EQ(up.data<float>()[33], up.data<float>()[0]) << "nearest";
}

// Folded weights are a cache. The next inference must use every change of the layer.
TEST(ConvBn, FoldedWeightsFollowTheParameters) {
  Layer l({3, 17, 3, 1, 1});
  const Tensor x = l.input({2, 7, 5, 3});
  const auto infer = [&] {
    l.cx.training = false;
    l.cx.tape = nullptr;
    return test::values(l.conv(l.cx, x));
  };
  const auto graph = [&] {
    Tape tape;
    l.cx.training = false;
    l.cx.tape = &tape;
    return test::values(l.conv(l.cx, x));
  };
  Values before = infer();
  EXPECT_EQ(infer(), before);

  l.cx.training = true;
  l.conv(l.cx, x);  // changes the running statistics
  Values now = infer();
  EXPECT_GT(test::distance(now, before), 0.1);
  EXPECT_TRUE(test::close(now, graph(), 1e-4));

  before = now;
  Optimizer o(l.cx, l.store, {});
  for (int64_t i = 0; i < l.store.grads.numel(); ++i) l.store.grads.data<float>()[i] = 1;
  o.step(l.cx, 0.1);
  now = infer();
  EXPECT_GT(test::distance(now, before), 0.1);
  EXPECT_TRUE(test::close(now, graph(), 1e-4));

  before = now;
  Layer other({3, 17, 3, 1, 1}, 50);
  const auto path = test::temporary_folder() / "w.safetensors";
  save_state_dict(path, other.store, {});
  load_matching(WeightFile(path), l.store);
  now = infer();
  EXPECT_GT(test::distance(now, before), 0.1);
  EXPECT_TRUE(test::close(now, graph(), 1e-4));
}

TEST(ConvBn, TrainingCountsBatchesAndMovesTheStatistics) {
  Layer l({3, 17, 3, 1, 1});
  const Tensor x = l.input({2, 7, 5, 3});
  Counter* counter = nullptr;
  Buffer* mean = nullptr;
  for (const auto& e : l.store.entries()) {
    if (e.counter != nullptr) counter = e.counter;
    if (e.name() == "bn1.running_mean") mean = e.buffer;
  }
  ASSERT_NE(counter, nullptr);
  ASSERT_NE(mean, nullptr);
  const Values before = test::values(mean->value);
  l.conv(l.cx, x);
  EXPECT_EQ(counter->value, 0) << "inference does not count";
  EXPECT_EQ(test::values(mean->value), before);
  l.cx.training = true;
  l.conv(l.cx, x);
  l.conv.term(l.cx, x);
  EXPECT_EQ(counter->value, 2);
  EXPECT_NE(test::values(mean->value), before);
}

TEST(ConvBn, AnErrorNamesTheLayer) {
  Layer l({3, 17, 3, 1, 1});
  for (const bool training : {false, true}) {
    l.cx.training = training;
    try {
      l.conv(l.cx, l.input({2, 7, 5, 4}));
      FAIL();
    } catch (const Error& e) {
      EXPECT_STREQ(e.what(), "conv1.weight: conv2d: expected 3 input channels, got 4");
    }
  }
}

TEST(ConvBn, DeclaresItsEntriesInTorchsOrder) {
  const Layer l({8, 5, 4, 2, 1, true});
  std::vector<std::string> names;
  for (const auto& e : l.store.entries()) names.push_back(e.name() + " " + to_string(e.torch_shape()));
  EXPECT_EQ(names,
            (std::vector<std::string>{"conv1.weight [8, 5, 4, 4]", "bn1.weight [5]", "bn1.bias [5]",
                                      "bn1.running_mean [5]", "bn1.running_var [5]", "bn1.num_batches_tracked []"}));
}

TEST(Conv, HeatmapsAreFloat32AndItsGradientsArrive) {
  for (const DType t : {DType::f32, DType::bf16}) {
    test::Recording r;
    r.cx.precision = t;
    ParameterStore store;
    const Conv head(store, "final_layer", {8, 17, 1, 1, 0}, kHeatmapHead);
    store.allocate(r.cx, 1);
    store.bind(r.tape);
    const Values x = test::random_values(2 * 15 * 8, 1, t), dy = test::random_values(2 * 15 * 17, 2, t);
    const Tensor y = head(r.cx, test::make(r.cx, {2, 5, 3, 8}, t, x));
    EXPECT_EQ(y.dtype(), DType::f32);
    ASSERT_EQ(y.shape(), (Shape{2, 5, 3, 17}));
    r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, y.shape(), DType::f32, dy)}}));
    Values dweight(17 * 8), dbias(17);
    for (size_t row = 0; row < 30; ++row) {
      for (size_t o = 0; o < 17; ++o) {
        dbias[o] += dy[row * 17 + o];
        for (size_t i = 0; i < 8; ++i) dweight[o * 8 + i] += dy[row * 17 + o] * x[row * 8 + i];
      }
    }
    EXPECT_TRUE(test::close(test::values(store.parameters()[0].grad), dweight, 30 * 30 * 0x1p-24));
    EXPECT_TRUE(test::close(test::values(store.parameters()[1].grad), dbias, 30 * 30 * 0x1p-24));
  }
}

// What follows the convolution runs as `fuse` in training and in the convolution's epilogue in inference.
TEST(Conv, BiasAndWhatFollowsAreTheSameWithAndWithoutATape) {
  for (const bool bias : {true, false}) {
    for (const int kernel : {1, 3, 5}) {
      SCOPED_TRACE(kernel);
      Context cx;
      ParameterStore store;
      const Conv conv(store, "c", {.in = 3, .out = 7, .kernel = kernel}, {.bias = bias});
      store.allocate(cx, 1, Init::torch);
      ASSERT_EQ(store.parameters().size(), bias ? 2u : 1u);
      if (bias) std::fill_n(store.parameters()[1].value.data<float>(), 7, 0.25f);
      const Tensor x = test::make(cx, {2, 5, 3, 3}, DType::f32, test::random_values(90, 1));
      const Tensor other = test::make(cx, {2, 5, 3, 7}, DType::f32, test::random_values(210, 2));
      Tape tape;
      Context recording = cx;
      recording.tape = &tape;
      for (const After after :
           {After{}, After{.relu = true}, After{.add = &other}, After{.add = &other, .relu = true}}) {
        const Tensor y = conv(cx, x, after);
        EXPECT_EQ(y.shape(), (Shape{2, 5, 3, 7})) << "padding keeps the size";
        EXPECT_TRUE(test::close(test::values(conv(recording, x, after)), test::values(y), 1e-6));
      }
    }
  }
}

struct OwnNet : Model {
  ConvBn a{*this, "a", {.in = 3, .out = 4, .stride = 2}};
  Conv b{*this, "b", {.in = 4, .out = 2, .kernel = 1}};
  Parameter& gain = parameter("gain", {2}, 1.5f);
  Parameter& table = parameter("table", {2, 3, 5}, -1);
  Tensor operator()(Context& cx, const Tensor& x) { return mul(cx, b(cx, a(cx, x, {.relu = true})), gain.value); }
};

TEST(Model, ItsLayersDeclareTheirParametersInTheOrderOfTheMembers) {
  const OwnNet net;
  std::vector<std::string> names;
  for (const auto& e : net.parameters().entries()) names.push_back(e.name() + " " + to_string(e.torch_shape()));
  EXPECT_EQ(names,
            (std::vector<std::string>{"a.conv.weight [4, 3, 3, 3]", "a.bn.weight [4]", "a.bn.bias [4]",
                                      "a.bn.running_mean [4]", "a.bn.running_var [4]", "a.bn.num_batches_tracked []",
                                      "b.weight [2, 4, 1, 1]", "b.bias [2]", "gain [2]", "table [2, 3, 5]"}));
}

TEST(Model, PlainParametersLearnAndSurviveAFile) {
  test::Recording r(true);
  OwnNet net;
  net.init(r.cx, 1);
  EXPECT_EQ(test::values(net.gain.value), Values(2, 1.5));
  EXPECT_EQ(test::values(net.table.value), Values(30, -1));
  net.parameters().bind(r.tape);
  const Tensor x = test::make(r.cx, {2, 5, 7, 3}, DType::f32, test::random_values(210, 1));
  const Tensor target = r.cx.zeros({2, 3, 4, 2}, DType::f32);
  // The table is used as it is, so that its gradient comes directly from an elementwise op, and it is used twice, so
  // that two addends meet on the slab.
  Tensor table = relu(r.cx, mul(r.cx, net.table.value, net.table.value));
  const Tensor loss = add(r.cx, mse(r.cx, net(r.cx, x), target), mse(r.cx, table, r.cx.zeros({2, 3, 5}, DType::f32)));
  table.reset();
  r.tape.backward(r.cx, loss);
  // d mean(t^4) / dt = 4 t^3 / 30 at t = -1.
  EXPECT_TRUE(test::close(test::values(net.table.grad), Values(30, -4.0 / 30), 1e-7));
  EXPECT_GT(test::max_abs(test::values(net.gain.grad)), 1e-3);
  Adam adam(net, {.lr = 0.125});
  adam.step(r.cx, adam.options().lr);
  EXPECT_TRUE(test::close(test::values(net.table.value), Values(30, -0.875), 1e-6));

  const auto file = test::temporary_folder() / "own.safetensors";
  save_weights(file, net);
  OwnNet twin;
  twin.init(r.cx, 2);
  load_weights(file, twin);
  EXPECT_EQ(test::values(twin.parameters().values), test::values(net.parameters().values));
  EXPECT_EQ(test::values(twin.parameters().buffers), test::values(net.parameters().buffers));
}

TEST(Optimizer, RefusesAModelWithoutMemory) {
  OwnNet net;
  EXPECT_THROW(Adam adam(net), Error);
}

}  // namespace
}  // namespace hr
