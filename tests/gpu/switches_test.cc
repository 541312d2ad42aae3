// Training steps with the switches of core/gpu_switches.h. They may change when and where the arithmetic is done, but
// no bit of its results.
#include "core/gpu_switches.h"

#include "hrnet/infer/device_loader.h"
#include "hrnet/model/load.h"
#include "hrnet/train/epoch_loop.h"
#include "hrnet/train/pose_step.h"
#include "nn/layers.h"
#include "nn/state_dict.h"
#include "ops/crop.h"
#include "ops/elementwise.h"
#include "ops/mse.h"
#include "tests/gpu/pair.h"
#include "tests/support/crops.h"
#include "tests/support/switched.h"

namespace hr {
namespace {

using test::Switched;

class GpuSwitched : public test::Gpu {};

using Bytes = std::vector<std::vector<std::byte>>;

Bytes state_of(const Context& cx, const ParameterStore& s, const Optimizer& optimizer) {
  Bytes bytes;
  for (const Tensor& t : {s.values, s.buffers, s.grads, optimizer.exp_avg, optimizer.exp_avg_sq})
    bytes.push_back(test::bytes_of(cx, t));
  return bytes;
}

// Everything that four steps leave behind: one eager, one captured, two launched.
Bytes trained(Context cx, const char* name, const std::vector<TrainBatch>& batches) {
  const auto model = make_model(cx, name, 17, 3, Init::torch);
  Optimizer optimizer(cx, model->parameters(), {});
  PoseTrainStep step(cx, *model, optimizer, JointsLoss::official);
  for (int i = 0; i < 4; ++i) step.submit(batches[static_cast<size_t>(i) % batches.size()], 1e-3);
  while (step.pending() > 0) EXPECT_TRUE(std::isfinite(step.wait()));
  return state_of(cx, model->parameters(), optimizer);
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
      {"HRNET_DEPENDENT_LAUNCH", "start"}, {"HRNET_FILTER_SLAB", "on"},         {"HRNET_RELU_BITS", "on"},
      {"HRNET_ADAM_ROUNDS", "on"}};
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
  const Switched switched{{"HRNET_REVERSE", "both"},           {"HRNET_COEFFICIENTS", "registers"},
                          {"HRNET_DEPENDENT_LAUNCH", "start"}, {"HRNET_FILTER_SLAB", "on"},
                          {"HRNET_RELU_BITS", "on"},           {"HRNET_ADAM_ROUNDS", "on"}};
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

// Everything that changes weights between steps, or leaves them as they are: other steps, other weights, steps that
// keep their gradient, and one whose loss is not finite.
Bytes trained_with_interruptions(Context cx, const OptimizerExtras& extras, const std::filesystem::path& other) {
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  ParameterStore& store = model->parameters();
  if (!extras.decay_vectors) store.freeze(std::vector<std::string>{"stage2.*"});
  Optimizer optimizer(cx, store, {.weight_decay = 1e-2, .decoupled = true}, extras);
  PoseTrainStep step(cx, *model, optimizer, JointsLoss::official);
  const Data one(1), two(5);
  Data changed = one;
  changed.images[77] = std::numeric_limits<float>::quiet_NaN();
  const Data broken = changed;
  const auto train = [&](const Data& data, TrainStep::Gradients gradients = TrainStep::Gradients::update) {
    step.submit(data.batch(), 1e-2, gradients);
  };
  for (const Data* data : {&one, &two, &one, &broken, &two, &one}) train(*data);
  for (int i = 0; i < 3; ++i) {
    train(one, TrainStep::Gradients::keep);
    train(two);
  }
  while (step.pending() > 0) step.wait();
  optimizer.step(cx, 1e-2);
  for (const Data* data : {&one, &two}) train(*data);
  while (step.pending() > 0) step.wait();
  { const UseAverage averaged(optimizer); }
  train(one);
  load_weights(WeightFile(other), *model);
  for (const Data* data : {&one, &two}) train(*data);
  while (step.pending() > 0) step.wait();
  return state_of(cx, store, optimizer);
}

TEST_F(GpuSwitched, WeightsThatAdamRoundsFollowEveryChangeOfTheWeights) {
  const Context cx = test::device_context(DType::bf16);
  const auto other = test::temporary_folder() / "other.safetensors";
  {
    Context maker = cx;
    save_state_dict(other, make_model(maker, "hrnet_w2", 17, 8, Init::torch)->parameters(), {});
  }
  for (const OptimizerExtras& extras :
       {OptimizerExtras{}, OptimizerExtras{.decay_vectors = false, .clip_norm = 0.1, .ema = 0.9}}) {
    const Bytes plain = trained_with_interruptions(cx, extras, other);
    const Switched switched{{"HRNET_ADAM_ROUNDS", "on"}};
    expect_equal(trained_with_interruptions(cx, extras, other), plain);
  }
}

// A launched step converts nothing: the rounded weights are those that Adam of the step before has written.
TEST_F(GpuSwitched, AStepAfterAStepRoundsNoWeights) {
  if (test::test_device() == "cpu") GTEST_SKIP() << "only a GPU keeps rounded weights";
  Context cx = test::device_context(DType::bf16);
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  Optimizer optimizer(cx, model->parameters(), {});
  const Data one(1);
  const auto casts_of_a_step = [&] {
    PoseTrainStep step(cx, *model, optimizer, JointsLoss::official);
    for (int i = 0; i < 3; ++i) step(one.batch(), 1e-3);
    Profile profile(true);
    step.context().profile = &profile;  // It sees what is not in the graph.
    step(one.batch(), 1e-3);
    const auto& kinds = profile.finish();
    EXPECT_EQ(kinds.contains("Adam"), false) << "the step was not launched as a graph";
    const auto casts = kinds.find("cast");
    ++model->parameters().version;  // as if somebody had changed the weights
    step(one.batch(), 1e-3);
    const auto& then = profile.finish();
    return std::pair(casts == kinds.end() ? 0 : casts->second.launches, then.contains("cast"));
  };
  EXPECT_EQ(casts_of_a_step(), std::pair(int64_t{0}, false)) << "the graph rounds";
  const Switched switched{{"HRNET_ADAM_ROUNDS", "on"}};
  EXPECT_EQ(casts_of_a_step(), std::pair(int64_t{0}, true));
}

// Two epochs whose last batch is smaller. The loader's memory is pinned, and is overwritten as soon as it may be.
Bytes trained_on_sources(Context cx, const PoseDataset& set, std::vector<double>& losses) {
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  Optimizer optimizer(cx, model->parameters(), {});
  PoseTrainStep step(cx, *model, optimizer, JointsLoss::official);
  Loader loader(set, loader_for(cx.device, {.batch_size = 4, .workers = 2, .shuffle = true}));
  for (int epoch = 0; epoch < 2; ++epoch) {
    loader.start_epoch(epoch);
    for (Batch batch; loader.next(batch);) {
      step.submit(train_batch(batch), 1e-3);
      std::fill(batch.sources.begin(), batch.sources.end(), uint8_t{0});
      std::fill(batch.profiles.begin(), batch.profiles.end(), 0.0);
      std::fill(batch.weights.begin(), batch.weights.end(), 0.0f);
    }
  }
  while (step.pending() > 0) losses.push_back(step.wait());
  return state_of(cx, model->parameters(), optimizer);
}

TEST_F(GpuSwitched, CropsThatAreMadeEarlyGiveTheSameBits) {
  test::MadeSet made(10);
  made.options.input_w = 64;
  made.options.augment = true;
  made.options.augmentation.photometric = 0.3;
  const PoseDataset set = made.dataset();
  for (const DType t : {DType::f32, DType::bf16}) {
    const Context cx = test::device_context(t);
    std::vector<double> losses;
    const Bytes plain = trained_on_sources(cx, set, losses);
    EXPECT_GT(losses.size(), 8U);
    for (const char* half : {"off", "on"}) {
      SCOPED_TRACE(fmt::format("{}, HRNET_BF16_CROPS={}", name_of(t), half));
      const Switched switched{{"HRNET_EARLY_CROPS", "on"}, {"HRNET_BF16_CROPS", half}};
      std::vector<double> early;
      expect_equal(trained_on_sources(cx, set, early), plain);
      EXPECT_EQ(early, losses);
    }
  }
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
