// Training steps with the switches of core/gpu_switches.h. They may change when and where the arithmetic is done, but
// no bit of its results.
#include "core/gpu_switches.h"

#include <cstdlib>

#include "hrnet/model/load.h"
#include "hrnet/train/pose_step.h"
#include "nn/layers.h"
#include "ops/crop.h"
#include "ops/elementwise.h"
#include "ops/mse.h"
#include "tests/gpu/pair.h"
#include "tests/support/crops.h"

namespace hr {
namespace {

// Sets environment variables for the duration of a test.
class Switched {
 public:
  Switched(std::initializer_list<std::pair<const char*, const char*>> values) : values_(values) {
    for (const auto& [name, value] : values_) ::setenv(name, value, 1);
  }
  ~Switched() {
    for (const auto& [name, value] : values_) ::unsetenv(name);
  }
  Switched(const Switched&) = delete;
  Switched& operator=(const Switched&) = delete;

 private:
  std::vector<std::pair<const char*, const char*>> values_;
};

class GpuSwitched : public test::Gpu {};

using Bytes = std::vector<std::vector<std::byte>>;

// Everything that four steps leave behind: one eager, one captured, two launched.
Bytes trained(Context cx, const char* name, const std::vector<TrainBatch>& batches) {
  const auto model = make_model(cx, name, 17, 3, Init::torch);
  Optimizer optimizer(cx, model->parameters(), {});
  PoseTrainStep step(cx, *model, optimizer, JointsLoss::official);
  for (int i = 0; i < 4; ++i) step.submit(batches[static_cast<size_t>(i) % batches.size()], 1e-3);
  while (step.pending() > 0) EXPECT_TRUE(std::isfinite(step.wait()));
  const ParameterStore& s = model->parameters();
  Bytes bytes;
  for (const Tensor& t : {s.values, s.buffers, s.grads, optimizer.exp_avg, optimizer.exp_avg_sq})
    bytes.push_back(test::bytes_of(cx, t));
  return bytes;
}

void expect_equal(const Bytes& switched, const Bytes& plain) {
  ASSERT_EQ(switched.size(), plain.size());
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(switched[i] == plain[i]) << "slab " << i;
}

struct Data {
  std::vector<float> images, targets, weights;
  TrainBatch batch() const { return {images, targets, weights, 2, 64, 64}; }
  explicit Data(uint64_t seed) {
    const auto fill = [&](std::vector<float>& v, int64_t size, uint64_t s, double lo) {
      for (const double x : test::random_values(size, s, DType::f32, lo, 1)) v.push_back(static_cast<float>(x));
    };
    fill(images, int64_t{2} * 64 * 64 * 3, seed, -1);
    fill(targets, int64_t{2} * 16 * 16 * 17, seed + 1, 0);
    fill(weights, int64_t{2} * 17, seed + 2, 0);
  }
};

TEST_F(GpuSwitched, StepsGiveTheSameBits) {
  const Data one(1), two(5);
  const std::vector<TrainBatch> batches{one.batch(), two.batch()};
  const Context cx = test::device_context(DType::bf16);
  const Bytes plain = trained(cx, "hrnet_w8", batches);
  const std::pair<const char*, const char*> switches[] = {
      {"HRNET_REVERSE", "both"},           {"HRNET_COEFFICIENTS", "registers"}, {"HRNET_DEPENDENT_LAUNCH", "end"},
      {"HRNET_DEPENDENT_LAUNCH", "start"}, {"HRNET_FILTER_SLAB", "on"},         {"HRNET_RELU_BITS", "on"}};
  for (const auto& [name, value] : switches) {
    SCOPED_TRACE(fmt::format("{}={}", name, value));
    const Switched switched{{name, value}};
    expect_equal(trained(cx, "hrnet_w8", batches), plain);
  }
}

TEST_F(GpuSwitched, AllTogetherGiveTheSameBits) {
  const Data one(1), two(5);
  const std::vector<TrainBatch> batches{one.batch(), two.batch()};
  const Context cx = test::device_context(DType::bf16);
  const Bytes plain = trained(cx, "hrnet_w8", batches);
  const Switched switched{{"HRNET_REVERSE", "both"},
                          {"HRNET_COEFFICIENTS", "registers"},
                          {"HRNET_DEPENDENT_LAUNCH", "start"},
                          {"HRNET_FILTER_SLAB", "on"},
                          {"HRNET_RELU_BITS", "on"}};
  expect_equal(trained(cx, "hrnet_w8", batches), plain);
}

TEST_F(GpuSwitched, CropsInBf16AreTheRoundedOnes) {
  Context cx = test::device_context(DType::bf16);
  const Tensor normal = cx.empty({3, 256}, DType::f32);
  const test::Values values = test::random_values(3 * 256, 1);
  const std::vector<float> table(values.begin(), values.end());
  cx.upload(normal, std::as_bytes(std::span(table)));
  for (const int w : {33, 38, 48}) {  // 1, 2 and 4 numbers per thread
    const test::Crops crops = test::random_crops(16, w, 45, static_cast<uint64_t>(w));
    const Tensor sources = cx.empty({crops.n, static_cast<int64_t>(CropSource::slot_bytes(w, 45))}, DType::u8);
    cx.upload(sources, std::as_bytes(std::span(crops.sources)));
    const Tensor wide = cx.empty({crops.n, 45, w, 3}, DType::f32), half = cx.empty(wide.shape(), DType::bf16);
    crop(cx, sources, normal, wide);
    crop(cx, sources, normal, half);
    EXPECT_TRUE(test::bytes_of(cx, half) == test::bytes_of(cx, cast(cx, wide, DType::bf16))) << w;
  }
}

// The batches are crop sources, so that a step makes its pictures itself.
TEST_F(GpuSwitched, AStepWithCropsInBf16GivesTheSameBits) {
  const int joints = 17, h = 64, w = 64;
  test::Crops crops = test::random_crops(2, w, h, 3);
  const test::Values values = test::random_values(3 * 256, 1), sides = test::random_values(2 * 32 * joints, 2);
  const std::vector<float> table(values.begin(), values.end()), weights(2 * joints, 1.0f);
  const std::vector<double> profiles(sides.begin(), sides.end());
  TrainBatch batch{.weights = weights, .n = 2, .h = h, .w = w};
  batch.sources = crops.sources;
  batch.normal = table;
  batch.profiles = profiles;
  const Context cx = test::device_context(DType::bf16);
  const Bytes plain = trained(cx, "hrnet_w8", {batch});
  const Switched switched{{"HRNET_BF16_CROPS", "on"}};
  expect_equal(trained(cx, "hrnet_w8", {batch}), plain);
}

// One filter that is used twice, so its second gradient is added to the first, which is still in bf16 then.
struct Twice : Model {
  Conv a{*this, "a", {.in = 8, .out = 8}};
  Tensor operator()(Context& cx, const Tensor& x) { return cast(cx, a(cx, relu(cx, a(cx, x))), DType::f32); }
};

TEST_F(GpuSwitched, AFilterThatIsUsedTwiceHasBothItsGradientsInTheSlab) {
  const Shape shape{2, 6, 5, 8};
  const test::Values x = test::random_values(numel(shape), 1), y = test::random_values(numel(shape), 2);
  const std::vector<float> xs(x.begin(), x.end()), ys(y.begin(), y.end());
  const auto gradients = [&] {
    Context cx = test::device_context(DType::bf16);
    Twice net;
    net.init(cx, 1);
    Adam adam(net, {.lr = 1e-2});
    TrainStep step(
        cx, adam, [&](Context& c, const Inputs& in) { return mse(c, net(c, cast(c, in["x"], c.precision)), in["y"]); });
    Bytes bytes;
    for (int i = 0; i < 4; ++i) {
      step.submit({{xs, shape, "x"}, {ys, shape, "y"}});
      step.wait();
      bytes.push_back(test::bytes_of(cx, net.parameters().grads));
    }
    return bytes;
  };
  const Bytes plain = gradients();
  const Switched switched{{"HRNET_FILTER_SLAB", "on"}};
  expect_equal(gradients(), plain);
}

}  // namespace
}  // namespace hr
