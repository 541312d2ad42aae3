// Pose networks with 8-bit integers, compared with the same networks in float32.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/int8/file.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

Tensor random_images(const Context& cx, int64_t n, int64_t h, int64_t w, uint32_t seed) {
  Tensor images = cx.empty({n, h, w, 3}, DType::f32);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < images.numel(); ++i) images.data<float>()[i] = normal(random);
  return images;
}

// A network whose weights and statistics are such that the activations keep their size through all layers.
std::unique_ptr<PoseModel> lively_model(Context& cx, const std::string& name) {
  auto model = make_model(cx, name, 5, 3, Init::torch);
  std::mt19937 random(7);
  std::uniform_real_distribution<float> around(0.7F, 1.5F), shift(-0.2F, 0.4F);
  for (const auto& e : model->parameters().entries()) {
    if (e.parameter != nullptr && e.parameter->torch_shape.size() == 4) {
      const float gain = e.name() == "final_layer.weight" ? 100.0F : 2.2F;
      for (int64_t i = 0; i < e.parameter->value.numel(); ++i) e.parameter->value.data<float>()[i] *= gain;
    } else if (e.parameter != nullptr && e.name().find("bn") != std::string::npos && e.name().ends_with(".weight")) {
      for (int64_t i = 0; i < e.parameter->value.numel(); ++i) e.parameter->value.data<float>()[i] = around(random);
    } else if (e.parameter != nullptr && e.name().ends_with(".bias")) {
      for (int64_t i = 0; i < e.parameter->value.numel(); ++i) e.parameter->value.data<float>()[i] = shift(random);
    }
  }
  ++model->parameters().version;
  return model;
}

// The relative difference sqrt(sum (a - b)^2 / sum (b - mean b)^2).
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double mean = 0, error = 0, all = 0;
  for (const float v : b) mean += v / static_cast<double>(b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    all += (b[i] - mean) * (b[i] - mean);
  }
  return std::sqrt(error / all);
}

class Int8OfNetwork : public testing::TestWithParam<std::string> {};

TEST_P(Int8OfNetwork, HeatmapsAreCloseToFloat32) {
  Context cx;
  const auto model = lively_model(cx, GetParam());
  Int8Calibrator calibrator(*model);
  for (uint32_t seed = 0; seed < 3; ++seed) calibrator.add(random_images(cx, 2, 64, 96, seed));
  Int8Network net(calibrator.graph(), calibrator.parameters(RangeMethod::mse));
  const Tensor images = random_images(cx, 2, 64, 96, 99);
  const Tensor maps = net.run(cx, images);
  EXPECT_EQ(maps.shape(), (Shape{2, 16, 24, 5}));
  const double off = difference(to_host(cx, maps), to_host(cx, model->forward(cx, images)));
  EXPECT_LT(off, 0.1);
  EXPECT_GT(off, 0) << "nothing was quantised";
}

TEST_P(Int8OfNetwork, ResultsDependNeitherOnThreadsNorOnTheBatch) {
  Context cx;
  const auto model = lively_model(cx, GetParam());
  Int8Calibrator calibrator(*model);
  calibrator.add(random_images(cx, 2, 64, 96, 1));
  Int8Network net(calibrator.graph(), calibrator.parameters(RangeMethod::percentile));
  const Tensor images = random_images(cx, 3, 96, 64, 5);
  const int threads = compute_threads();
  set_compute_threads(1);
  const std::vector<float> alone = to_host(cx, net.run(cx, images));
  set_compute_threads(3);
  const std::vector<float> together = to_host(cx, net.run(cx, images));
  const std::vector<float> again = to_host(cx, net.run(cx, images));
  const std::vector<float> second = to_host(cx, net.run(cx, images.view({1, 96, 64, 3}, images.numel() / 3)));
  set_compute_threads(threads);
  EXPECT_EQ(alone, together);
  EXPECT_EQ(alone, again);
  EXPECT_EQ(second, std::vector<float>(alone.begin() + static_cast<ptrdiff_t>(second.size()),
                                       alone.begin() + static_cast<ptrdiff_t>(2 * second.size())));
}

INSTANTIATE_TEST_SUITE_P(Networks, Int8OfNetwork, testing::Values("hrnet_w8", "hrnet_w18", "pose_resnet50"),
                         [](const auto& tested) { return tested.param; });

TEST(RangeHistogram, MaxIsTheLargestValueAndPercentileLeavesOutFewValues) {
  RangeHistogram h;
  std::vector<float> values(200'000, 1.0F);
  values[17] = 100.0F;
  h.add(values.data(), static_cast<int64_t>(values.size()));
  EXPECT_FLOAT_EQ(h.range(RangeMethod::max), 100.0F);
  EXPECT_NEAR(h.range(RangeMethod::percentile), 1.0F, 0.05F);
  EXPECT_LE(h.range(RangeMethod::mse), 100.0F);
}

TEST(RangeHistogram, TheRangeWithTheLeastErrorIsSmallerThanTheLargestOfManyValues) {
  RangeHistogram h;
  std::mt19937 random(1);
  std::exponential_distribution<float> exponential(1.0F);
  for (int batch = 0; batch < 20; ++batch) {
    std::vector<float> values(50'000);
    for (float& v : values) v = exponential(random);
    h.add(values.data(), static_cast<int64_t>(values.size()));
  }
  // For an exponential distribution and 255 steps the optimum is near 9.5; the largest of a million values is near 14.
  EXPECT_GT(h.range(RangeMethod::mse), 8.0F);
  EXPECT_LT(h.range(RangeMethod::mse), 11.5F);
}

TEST(RangeHistogram, RefusesValuesThatAreNotFinite) {
  RangeHistogram h;
  EXPECT_THROW(h.range(RangeMethod::max), Error);
  const float values[] = {1.0F, NAN};
  h.add(values, 2);
  EXPECT_THROW(h.range(RangeMethod::mse), Error);
}

// A quantised file of a small network, and what its network computes before it is saved.
class Int8File : public testing::Test {
 protected:
  void SetUp() override {
    const auto model = lively_model(cx, "hrnet_w4");
    images = random_images(cx, 2, 64, 64, 4);
    Int8Calibrator calibrator(*model);
    calibrator.add(images);
    graph = calibrator.graph();
    parameters = calibrator.parameters(RangeMethod::mse);
    metadata = {{"model", "hrnet_w4"}, {"joints", "5"}, {"color", "bgr"}, {"source", "w4.pth"}};
    Int8Network net(graph, parameters);
    expected = to_host(cx, net.run(cx, images));
    path = folder / "w4.int8.safetensors";
    save();
  }
  void save() { save_int8(path, graph, parameters, metadata); }
  std::string error_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  Context cx;
  fs::path folder = test::temporary_folder();
  fs::path path;
  Tensor images;
  Int8Graph graph;
  Int8Parameters parameters;
  std::map<std::string, std::string> metadata;
  std::vector<float> expected;
};

TEST_F(Int8File, ComputesTheSameBitsAfterItWasSavedAndLoaded) {
  const auto loaded = load_model(cx, path);
  EXPECT_EQ(loaded->name(), "hrnet_w4");
  EXPECT_EQ(loaded->joints(), 5);
  EXPECT_TRUE(loaded->bgr_input());
  EXPECT_EQ(to_host(cx, loaded->forward(cx, images)), expected);
}

TEST_F(Int8File, IsRefusedWithTheReasonOnAGpuUnderBf16AndForTraining) {
  Context gpu = cx;
  gpu.device = {Device::Type::cuda, 0};
  EXPECT_NE(error_of([&] { load_model(gpu, path); }).find("run on the CPU only"), std::string::npos);
  Context bf16_context = cx;
  bf16_context.precision = DType::bf16;
  EXPECT_NE(error_of([&] { load_model(bf16_context, path); }).find("always compute with 8-bit integers"),
            std::string::npos);
  const auto model = make_model(cx, "hrnet_w4", 5);
  const WeightFile file(path);
  for (const auto& load : {std::function<void()>([&] { load_weights(file, *model); }),
                           std::function<void()>([&] { load_pretrained(file, *model, false); })}) {
    EXPECT_NE(error_of(load).find("inference only; use the float32 weights that they were made from (w4.pth)"),
              std::string::npos);
  }
  const auto loaded = load_model(cx, path);
  Context training = cx;
  training.training = true;
  EXPECT_NE(error_of([&] { loaded->forward(training, images); }).find("for inference on the CPU"), std::string::npos);
}

TEST_F(Int8File, DamagedFilesAreRefusedWithTheNameOfTheEntry) {
  const auto refused = [&](const std::string& part) {
    save();
    const std::string error = error_of([&] { load_model(cx, path); });
    EXPECT_NE(error.find(path.string()), std::string::npos) << error;
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  const Int8Parameters good = parameters;
  const std::string conv = "stage2.0.branches.0.0.conv1";
  parameters.convs[conv].scale[1] = NAN;
  refused(conv + ".weight_scale has a number that is not finite");
  parameters = good;
  parameters.convs[conv].scale[1] = -1;
  refused("the scale -1");
  parameters = good;
  parameters.ranges[conv] = 0;
  refused("the range of " + conv);
  parameters = good;
  parameters.ranges.erase(conv);
  refused("has no entry " + conv + ".range");
}

}  // namespace
}  // namespace hr
