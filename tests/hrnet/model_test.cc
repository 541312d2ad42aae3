#include "hrnet/model/model.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/io/json.h"
#include "core/parallel.h"
#include "core/planned_step.h"
#include "hrnet/model/hrnet.h"
#include "hrnet/model/load.h"
#include "hrnet/model/pose_resnet.h"
#include "tests/support/formula.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"
#include "tests/support/random_images.h"

namespace hr {
namespace {

using test::Values;

// Declares a network without memory, which its shapes and names do not need.
std::unique_ptr<PoseModel> declare(const std::string& name) {
  if (name == "hrnet_w8") return std::make_unique<HRNet>(name, 8, 17);
  if (name == "hrnet_w2") return std::make_unique<HRNet>(name, 2, 17);
  if (name == "hrnet_w32") return std::make_unique<HRNet>(name, 32, 17);
  if (name == "hrnet_w48") return std::make_unique<HRNet>(name, 48, 17);
  if (name == "pose_resnet50") return std::make_unique<PoseResNet>(name, std::array{3, 4, 6, 3}, 17);
  if (name == "pose_resnet101") return std::make_unique<PoseResNet>(name, std::array{3, 4, 23, 3}, 17);
  if (name == "pose_resnet152") return std::make_unique<PoseResNet>(name, std::array{3, 8, 36, 3}, 17);
  return nullptr;
}

// The published figures: entries of the state dict, trainable tensors, parameters.
TEST(PoseModel, HasThePublishedNumberOfParameters) {
  const struct {
    std::string name;
    size_t entries, tensors;
    int64_t parameters;
  } published[] = {{"hrnet_w32", 1754, 878, 28536113},
                   {"hrnet_w48", 1754, 878, 63595745},
                   {"pose_resnet50", 338, 170, 33999697},
                   {"pose_resnet101", 644, 323, 52991825},
                   {"pose_resnet152", 950, 476, 68635473}};
  for (const auto& p : published) {
    SCOPED_TRACE(p.name);
    const auto model = declare(p.name);
    EXPECT_EQ(model->parameters().entries().size(), p.entries);
    EXPECT_EQ(model->parameters().parameters().size(), p.tensors);
    EXPECT_EQ(model->parameters().parameter_count(), p.parameters);
    EXPECT_EQ(model->bgr_input(), p.name.starts_with("pose_resnet"));
  }
  EXPECT_EQ(HRNet("w32", 32, 16).parameters().parameter_count(), 28536080);
  EXPECT_EQ(HRNet("w48", 48, 16).parameters().parameter_count(), 63595696);
}

TEST(PoseModel, NamesOrderAndShapesAreTheOfficialStateDicts) {
  HR_NEEDS_ORACLE("forward/layouts.json");
  const auto layouts = parse_json_file(test::oracle("forward/layouts.json"));
  int models = 0;
  for (const auto& member : layouts.GetObject()) {
    const std::string name = member.name.GetString();
    SCOPED_TRACE(name);
    const auto model = declare(name);
    ASSERT_NE(model, nullptr);
    ++models;
    const auto& golden = member.value["entries"];
    const auto& entries = model->parameters().entries();
    ASSERT_EQ(entries.size(), golden.Size());
    int64_t parameters = 0, buffer_elements = 0;
    for (unsigned i = 0; i < golden.Size(); ++i) {
      Shape shape;
      for (const auto& d : golden[i][1].GetArray()) shape.push_back(d.GetInt64());
      EXPECT_EQ(entries[i].name(), golden[i][0].GetString()) << i;
      EXPECT_EQ(entries[i].torch_shape(), shape) << entries[i].name();
      EXPECT_EQ(entries[i].parameter != nullptr, std::string(golden[i][2].GetString()) == "param") << entries[i].name();
      (entries[i].parameter != nullptr ? parameters : buffer_elements) += numel(shape);
    }
    EXPECT_EQ(parameters, member.value["parameters"].GetInt64());
    EXPECT_EQ(buffer_elements, member.value["buffer_elements"].GetInt64());
  }
  EXPECT_EQ(models, 5);
}

TEST(PoseModel, StartsFromTheOfficialInitialisation) {
  Context cx;
  const auto model = make_model(cx, "hrnet_w8", 17, 3);
  double sum = 0, square = 0, count = 0;
  for (const auto& e : model->parameters().entries()) {
    const std::string& name = e.name();
    if (e.counter != nullptr) {
      EXPECT_EQ(e.counter->value, 0);
    } else if (e.buffer != nullptr) {
      const double expected = name.ends_with("running_var") ? 1 : 0;
      EXPECT_EQ(test::values(e.buffer->value), Values(e.buffer->channels, expected)) << name;
    } else if (e.parameter->layout == ParameterLayout::plain) {
      const double expected = name.ends_with("weight") ? 1 : 0;
      EXPECT_EQ(test::values(e.parameter->value), Values(e.parameter->value.numel(), expected)) << name;
    } else {
      const Values v = test::values(e.parameter->value);
      const auto n = static_cast<double>(v.size());
      double mean = 0, variance = 0;
      for (const double x : v) mean += x / n, sum += x, square += x * x, ++count;
      for (const double x : v) variance += (x - mean) * (x - mean) / n;
      // The bounds are five standard errors: sigma / sqrt(n) of the mean, sigma / sqrt(2 n) of the deviation.
      EXPECT_NEAR(mean, 0, 5e-3 / std::sqrt(n)) << name;
      EXPECT_NEAR(std::sqrt(variance), 1e-3, 5e-3 / std::sqrt(2 * n)) << name;
    }
  }
  EXPECT_NEAR(sum / count, 0, 5e-3 / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(square / count), 1e-3, 5e-3 / std::sqrt(2 * count));

  EXPECT_TRUE(test::same_bytes(make_model(cx, "hrnet_w8", 17, 3)->parameters().values, model->parameters().values));
  EXPECT_FALSE(test::same_bytes(make_model(cx, "hrnet_w8", 17, 4)->parameters().values, model->parameters().values));
}

// Folding into memory of its own, beside gradients that nobody asks for, took three times the memory of the weights.
TEST(PoseModel, InferenceTakesTheMemoryOfOneSetOfWeights) {
  Context cx;
  cx.exact = true;  // Every filter is packed, the worst case.
  const auto model = make_model(cx, "hrnet_w8", 17, 3, Init::torch, Purpose::inference);
  const auto weights = static_cast<double>(model->parameters().values.bytes());
  Context step = cx;
  const auto activations = std::make_shared<CachingAllocator>();
  step.allocator = activations;
  model->forward(step, step.zeros({1, 64, 64, 3}, DType::f32));
  const auto host = std::dynamic_pointer_cast<CachingAllocator>(cx.allocator);
  ASSERT_NE(host, nullptr);
  EXPECT_LT(static_cast<double>(host->peak_bytes()), 2.3 * weights) << "the weights and at most one packed copy";
}

TEST(PoseModel, TorchsInitialisationIsUniformByFanInWithTheOfficialHead) {
  Context cx;
  const auto model = make_model(cx, "hrnet_w8", 17, 3, Init::torch);
  for (const Parameter& p : model->parameters().parameters()) {
    if (p.layout == ParameterLayout::plain) continue;
    const Values v = test::values(p.value);
    const auto n = static_cast<double>(v.size());
    double largest = 0, square = 0;
    for (const double x : v) largest = std::max(largest, std::abs(x)), square += x * x / n;
    if (p.name == "final_layer.weight") {
      EXPECT_NEAR(std::sqrt(square), 1e-3, 5e-3 / std::sqrt(2 * n));
      continue;
    }
    const double bound = 1 / std::sqrt(static_cast<double>(p.torch_shape[1] * p.torch_shape[2] * p.torch_shape[3]));
    EXPECT_LE(largest, bound * (1 + 1e-6)) << p.name;
    // x^2 of a uniform variable has mean b^2 / 3 and deviation b^2 sqrt(4 / 45).
    EXPECT_NEAR(square, bound * bound / 3, 5 * bound * bound * std::sqrt(4.0 / 45 / n)) << p.name;
  }
}

TEST(PoseModel, UnknownNamesAndImpossibleInputsAreRefused) {
  Context cx;
  for (const std::string name :
       {"hrnet", "hrnet_w", "hrnet_w0", "hrnet_w-8", "hrnet_w8x", "hrnet_w99999", "resnet50", ""})
    EXPECT_THROW(make_model(cx, name, 17), Error) << name;
  EXPECT_THROW(make_model(cx, "hrnet_w1", 0), Error);
  const auto model = make_model(cx, "hrnet_w1", 1);
  const auto forward = [&](Shape s, DType t = DType::f32) { return model->forward(cx, cx.zeros(std::move(s), t)); };
  EXPECT_EQ(forward({1, 32, 64, 3}).shape(), (Shape{1, 8, 16, 1}));
  EXPECT_THROW(forward({1, 48, 64, 3}), Error);
  EXPECT_THROW(forward({1, 64, 0, 3}), Error);
  EXPECT_THROW(forward({1, 3, 64, 64}), Error);
  EXPECT_THROW(forward({1, 64, 64, 3}, DType::bf16), Error);
}

TEST(PoseModel, TheFormulasGeneratorIsTheGoldenOne) {
  HR_NEEDS_ORACLE("forward/forward.json");
  EXPECT_EQ(test::fnv1a64(""), 0xcbf29ce484222325u);
  EXPECT_EQ(test::fnv1a64("conv1.weight"), 0x69a29a2cee47d254u);
  const auto json = parse_json_file(test::oracle("forward/forward.json"));
  for (const std::string name : {"hrnet_w32", "pose_resnet50"}) {
    Context cx;
    const auto model = declare(name);
    test::allocate_by_formula(cx, model->parameters());
    int seen = 0;
    for (const auto& e : model->parameters().entries()) {
      const auto& samples = json["weight_samples"][name.c_str()];
      if (!samples.HasMember(e.name().c_str())) continue;
      ++seen;
      const Values v =
          e.parameter != nullptr ? test::torch_order(*e.parameter, e.parameter->value) : test::values(e.buffer->value);
      const auto& golden = samples[e.name().c_str()];
      for (unsigned i = 0; i < golden.Size(); ++i) EXPECT_EQ(v[i], golden[i].GetDouble()) << e.name() << " " << i;
    }
    EXPECT_EQ(seen, static_cast<int>(json["weight_samples"][name.c_str()].MemberCount()));
  }
}

double relative_to_max(const Tensor& actual, const Values& expected) {
  const Values v = test::values(actual);
  EXPECT_EQ(v.size(), expected.size());
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double off = std::abs(v[i] - expected[i]);
    worst = off <= worst ? worst : off;  // a NaN counts
  }
  return worst / test::max_abs(expected);
}

class Forward : public testing::TestWithParam<std::string> {};

// Compares folded inference, and the training graph on running statistics, in both precisions.
TEST_P(Forward, MatchesTheGoldenHeatmaps) {
  const std::string file = "forward/" + GetParam() + ".safetensors";
  HR_NEEDS_ORACLE(file);
  const std::string name = GetParam().substr(0, GetParam().find('_', GetParam().find('_') + 1));
  const SafetensorsFile golden(test::oracle(file));
  const Shape s = golden.at("output").shape;  // [N, 17, H/4, W/4]
  const Values expected = test::ours(golden.at("output"));
  Context cx;
  const auto model = declare(name);
  ASSERT_NE(model, nullptr) << name;
  test::allocate_by_formula(cx, model->parameters());
  const Tensor input = test::input_by_formula(cx, s[0], 4 * s[2], 4 * s[3]);
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const bool graph : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, {}", name_of(t), graph ? "training graph" : "folded"));
      Tape tape;
      cx.precision = t;
      cx.tape = graph ? &tape : nullptr;
      const Tensor y = model->forward(cx, input);
      ASSERT_EQ(y.shape(), (Shape{s[0], s[2], s[3], s[1]}));
      ASSERT_EQ(y.dtype(), DType::f32);
      const double off = relative_to_max(y, expected);
      RecordProperty(fmt::format("{}_{}", name_of(t), graph ? "graph" : "folded"), fmt::format("{:.2g}", off));
      EXPECT_LE(off, t == DType::f32 ? 5e-6 : 3e-2);
      tape.clear();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, Forward,
                         testing::Values("hrnet_w32_256x192_n2", "hrnet_w32_96x160_n3", "hrnet_w48_384x288_n1",
                                         "pose_resnet50_256x192_n1", "pose_resnet101_256x192_n1",
                                         "pose_resnet152_256x192_n1"),
                         [](const auto& i) { return i.param; });

TEST(PoseModel, LoadedWeightsGiveTheGoldenHeatmaps) {
  HR_NEEDS_ORACLE("weights/w8.safetensors");
  for (const std::string width : {"w8", "w2"}) {
    SCOPED_TRACE(width);
    const SafetensorsFile weights(test::oracle("weights/" + width + ".safetensors"));
    const SafetensorsFile golden(test::oracle("weights/" + width + "_eval.safetensors"));
    const Values expected = test::ours(golden.at("output"));
    Context cx;
    const auto model = make_model(cx, "hrnet_" + width, 17);
    load_weights(weights, *model);
    const Tensor input = test::make(cx, golden.at("input"));
    EXPECT_LE(relative_to_max(model->forward(cx, input), expected), 2e-5);
    Tape tape;
    cx.tape = &tape;
    EXPECT_LE(relative_to_max(model->forward(cx, input), expected), 2e-5);
  }
}

// This needs no golden data: folding, fusing and the choice of kernels may not change what the network computes.
TEST(PoseModel, BothInferencePathsAndBothPrecisionsAgree) {
  set_compute_threads(1);
  for (const std::string name : {"hrnet_w2", "pose_resnet50"}) {
    SCOPED_TRACE(name);
    Context cx;
    const auto model = declare(name);
    test::allocate_by_formula(cx, model->parameters());
    const Tensor input = test::input_by_formula(cx, 3, 32, 96);
    Tape tape;
    cx.tape = &tape;
    const Tensor graph = model->forward(cx, input);
    tape.clear();
    cx.tape = nullptr;
    const Values expected = test::values(graph);
    EXPECT_LE(relative_to_max(model->forward(cx, input), expected), 1e-5);
    cx.precision = DType::bf16;
    EXPECT_LE(relative_to_max(model->forward(cx, input), expected), 3e-2);
    cx.precision = DType::f32;
    // Each sample alone gives what it gives in the batch.
    const Tensor one = model->forward(cx, input.view({1, 32, 96, 3}, 2 * 32 * 96 * 3));
    const Values last(expected.begin() + static_cast<ptrdiff_t>(2 * expected.size() / 3), expected.end());
    EXPECT_LE(relative_to_max(one, last), 1e-5);
  }
}

// On a CPU the first stage computes two or three pictures at a time. No picture may get the place of another one.
TEST(PoseModel, PicturesOfABatchGetTheBitsThatTheyGetAlone) {
  for (const DType precision : {DType::f32, DType::bf16}) {
    Context cx;
    cx.exact = true;  // A larger batch may choose another method of convolving otherwise.
    cx.precision = precision;
    const auto model = make_model(cx, "hrnet_w4", 5, 3, Init::torch);
    constexpr int64_t kHeight = 64, kWidth = 96;
    for (const int64_t n : {4, 7}) {
      const Tensor images = test::random_images(cx, n, kHeight, kWidth, 11);
      const Values all = test::values(model->forward(cx, images));
      const auto each = static_cast<ptrdiff_t>(all.size()) / n;
      for (int64_t i = 0; i < n; ++i) {
        const Tensor one = images.view({1, kHeight, kWidth, 3}, i * kHeight * kWidth * 3);
        const Values part(all.begin() + i * each, all.begin() + (i + 1) * each);
        EXPECT_EQ(test::values(model->forward(cx, one)), part) << n << " pictures, picture " << i;
      }
    }
  }
}

// The largest map of the network, with 256 channels at a quarter of the resolution, exists for few pictures at a time.
TEST(PoseModel, ALargeBatchDoesNotNeedItsWholeFirstStageInMemory) {
  Context cx;
  const auto model = make_model(cx, "hrnet_w4", 5, 3, Init::torch);
  constexpr int64_t n = 16, kHeight = 64, kWidth = 96;
  const auto block = std::make_shared<ArenaBlock>(cx.allocator);
  PlannedStep step(cx.allocator, block);
  LoopTeam team(2);
  const Tensor images = test::random_images(cx, n, kHeight, kWidth, 11);
  for (int call = 0; call < 2; ++call) {
    step(cx, team, model->parameters().version, [&](Context& in) { model->forward(in, images); });
  }
  constexpr size_t kLargestMap = n * (kHeight / 4) * (kWidth / 4) * 256 * sizeof(float);
  EXPECT_LT(block->bytes(), kLargestMap / 2);
}

}  // namespace
}  // namespace hr
