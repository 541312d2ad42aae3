// Batch statistics, masks and sums of batch norm in the epilogues of our own 3x3 convolution, switched on by
// HRNET_TILE_EPILOGUES: a chain of residual blocks must have the results and gradients that it has without them.
#include <cstdlib>
#include <map>

#include "ops/conv/conv2d.h"
#include "ops/fuse.h"
#include "tests/gpu/pair.h"

namespace hr {
namespace {

using test::Values;

class GpuTileEpilogue : public test::Gpu {
 protected:
  void SetUp() override {
    if (test::test_device() == "cpu") GTEST_SKIP() << "the tile kernels run on a GPU only";
    test::Gpu::SetUp();
    ::setenv("HRNET_TILE_CHANNELS", "64", 1);
  }
  void TearDown() override {
    ::unsetenv("HRNET_TILE_CHANNELS");
    ::unsetenv("HRNET_TILE_EPILOGUES");
    ::unsetenv("HRNET_RELU_BITS");
  }
};

// The results of one training step of the chain, and how often each kind of kernel ran.
struct Result {
  std::map<std::string, Values> numbers;
  std::map<std::string, int64_t> launches;
};

class Chain {
 public:
  Chain(Context& cx, int64_t channels) : cx_(cx), channels_(channels) {}

  // relu(bn(conv(x)) + add?)
  Tensor layer(const Tensor& x, const std::vector<FuseTerm>& more = {}) {
    const std::string name = std::to_string(layers_++);
    Tensor filter = parameter(name + ".filter", {channels_, 3, 3, channels_}, -0.1, 0.1),
           weight = parameter(name + ".weight", {channels_}, -0.5, 1.5), bias = parameter(name + ".bias", {channels_});
    const BatchNormState state{weight, bias, test::place(cx_, {channels_}, DType::f32, Values(channels_, 0)),
                               test::place(cx_, {channels_}, DType::f32, Values(channels_, 1))};
    running_.emplace_back(name, state);
    Tensor statistics;
    const Tensor y = conv2d(cx_, x, filter, {.pad = 1, .statistics = &statistics});
    const Normalised norm = batch_norm(cx_, y, state, statistics);
    std::vector<FuseTerm> terms{{y, &norm}};
    terms.insert(terms.end(), more.begin(), more.end());
    return fuse(cx_, terms, Act::relu);
  }
  std::shared_ptr<Tensor> watched(const std::string& name, Tensor& x) {
    return watched_.emplace_back(name, test::watch(cx_, x)).second;
  }
  void fetch(std::map<std::string, Values>& numbers) const {
    for (const auto& [name, gradient] : watched_) numbers["gradient of " + name] = test::fetch(cx_, *gradient);
    for (const auto& [name, state] : running_) {
      numbers[name + ".running_mean"] = test::fetch(cx_, state.running_mean);
      numbers[name + ".running_var"] = test::fetch(cx_, state.running_var);
    }
  }

 private:
  Tensor parameter(const std::string& name, const Shape& shape, double low = -1, double high = 1) {
    Tensor t = test::place(cx_, shape, DType::f32,
                           test::random_values(numel(shape), 20 + watched_.size(), DType::f32, low, high));
    watched(name, t);
    return t;
  }
  Context& cx_;
  int64_t channels_;
  int layers_ = 0;
  std::vector<std::pair<std::string, std::shared_ptr<Tensor>>> watched_;
  std::vector<std::pair<std::string, BatchNormState>> running_;
};

Result train(const char* epilogues, const Shape& shape) {
  ::setenv("HRNET_TILE_EPILOGUES", epilogues, 1);
  Context cx = test::device_context(DType::bf16);
  Tape tape;
  Profile profile(true);
  cx.tape = &tape;
  cx.training = true;
  cx.profile = &profile;
  Chain chain(cx, shape[3]);
  Tensor images = test::place(cx, shape, DType::bf16, test::random_values(numel(shape), 1, DType::bf16));
  chain.watched("images", images);
  const Tensor z = chain.layer(images);         // The gradient of the images is taken without an epilogue.
  const Tensor a = fuse(cx, {{z}}, Act::relu);  // The mask is that of a sum without batch norm.
  const Tensor b = chain.layer(a);              // One use: the mask is computed again from the batch norm.
  const Tensor c = chain.layer(b, {{a}});       // Two uses: a summand, the mask of y, and sums.
  const Tensor d = chain.layer(c);
  const Tensor e = chain.layer(d, {{c}, {z}});  // c and z share the gradient of the sum, so c may not overwrite it.
  const Tensor f = chain.layer(e);              // Three uses of e: the gradient cannot take both summands.
  const Tensor y = chain.layer(f, {{e}, {e}, {f}});  // f has one use more: a summand, and its mask is computed again.
  const Tensor dy = test::place(cx, shape, DType::bf16, test::random_values(numel(shape), 2, DType::bf16));
  tape.backward(cx, test::weighted_sum(cx, {{y, dy}}));
  Result result;
  result.numbers["y"] = test::fetch(cx, y);
  chain.fetch(result.numbers);
  for (const auto& [name, kind] : profile.finish()) result.launches[name] = kind.launches;
  return result;
}

// Sums are added in another order, and a number in bf16 may then round to a neighbour. Only the numbers
// whose names end with `suffix` are compared.
void expect_close(const Result& actual, const Result& expected, const std::string& suffix, double roundings) {
  for (const auto& [name, numbers] : expected.numbers) {
    if (name.size() < suffix.size() || name.substr(name.size() - suffix.size()) != suffix) continue;
    const double tolerance = roundings * test::rounding(DType::bf16) * test::max_abs(numbers) + 1e-6;
    EXPECT_TRUE(test::close(actual.numbers.at(name), numbers, tolerance)) << name;
  }
}

// The results are compared with those of a run that has the same bits in its forward pass where there is one. After
// another rounding in the forward pass a ReLU may pass a gradient that it did not pass before, so then only the forward
// pass is compared.
TEST_F(GpuTileEpilogue, AChainOfBlocksTrainsAsWithSeparatePasses) {
  for (const Shape& shape : {Shape{2, 9, 17, 32}, {1, 35, 7, 32}, {2, 33, 9, 64}}) {
    SCOPED_TRACE(to_string(shape));
    const Result plain = train("", shape), statistics = train("statistics", shape), gradient = train("gradient", shape),
                 all = train("all", shape);
    expect_close(statistics, plain, "y", 4);
    expect_close(statistics, plain, "0.running_mean", 0.002);
    expect_close(statistics, plain, "0.running_var", 0.002);
    expect_close(statistics, plain, "6.running_var", 1);
    EXPECT_EQ(gradient.numbers.at("y"), plain.numbers.at("y"));
    expect_close(gradient, plain, "", 4);
    EXPECT_EQ(all.numbers.at("y"), statistics.numbers.at("y"));
    expect_close(all, statistics, "", 4);
  }
}

TEST_F(GpuTileEpilogue, ThePassesOfBatchNormGo) {
  const auto launches = [](const char* epilogues, const std::string& name) {
    const Result result = train(epilogues, {1, 9, 7, 32});
    const auto at = result.launches.find(name);
    return at == result.launches.end() ? 0 : at->second;
  };
  const std::string statistics = "batch norm: statistics", sums = "batch norm: backward sums, mask",
                    plain = "convolution: data gradient", fused = "convolution: data gradient, mask + sums";
  EXPECT_EQ(launches("", statistics), 7);
  EXPECT_EQ(launches("statistics", statistics), 0);
  EXPECT_EQ(launches("gradient", statistics), 7);
  EXPECT_EQ(launches("", plain), 7);
  EXPECT_EQ(launches("", fused), 0);
  EXPECT_EQ(launches("all", plain), 2) << "that of the images, and the one with two other addends";
  EXPECT_EQ(launches("all", fused), 5);
  EXPECT_EQ(launches("", sums), 2);
  EXPECT_EQ(launches("all", sums), 0);
}

TEST_F(GpuTileEpilogue, SignsInPlaceOfTheMaskChangeNoBit) {
  for (const Shape& shape : {Shape{2, 9, 17, 32}, {2, 33, 9, 64}}) {
    ::setenv("HRNET_RELU_BITS", "off", 1);
    const Result mask = train("all", shape);
    ::setenv("HRNET_RELU_BITS", "on", 1);
    const Result bits = train("all", shape);
    for (const auto& [name, numbers] : mask.numbers) EXPECT_EQ(numbers, bits.numbers.at(name)) << name;
    EXPECT_EQ(mask.launches, bits.launches);
  }
}

TEST_F(GpuTileEpilogue, TwoRunsHaveTheSameBits) {
  const Result first = train("all", {3, 35, 33, 32}), second = train("all", {3, 35, 33, 32});
  for (const auto& [name, numbers] : first.numbers) EXPECT_EQ(numbers, second.numbers.at(name)) << name;
}

}  // namespace
}  // namespace hr
