// Pose networks with 8-bit integers, compared with the same networks in float32.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "hrnet/infer/pose_estimator.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/int8/calibrate.h"
#include "hrnet/int8/file.h"
#include "tests/support/oracle.h"
#include "tests/support/random_images.h"

namespace hr {
namespace {

using test::random_images;

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
  const float good[] = {1.0F, 2.0F}, bad[] = {1.0F, NAN};
  h.add(good, 2);
  EXPECT_NO_THROW(h.range(RangeMethod::mse));
  // The other values must not hide the one that is not finite.
  h.add(bad, 2);
  h.add(good, 2);
  EXPECT_THROW(h.range(RangeMethod::mse), Error);
}

Int8Graph read_graph(const fs::path& path) {
  const WeightFile file(path);
  return Int8File(file).graph();
}

// A quantised file of a small network, and what its network computes before it is saved.
class Int8WeightFile : public testing::Test {
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

TEST_F(Int8WeightFile, ComputesTheSameBitsAfterItWasSavedAndLoaded) {
  const auto loaded = load_model(cx, path);
  EXPECT_EQ(loaded->name(), "hrnet_w4");
  EXPECT_EQ(loaded->joints(), 5);
  EXPECT_TRUE(loaded->bgr_input());
  EXPECT_EQ(to_host(cx, loaded->forward(cx, images)), expected);
}

TEST_F(Int8WeightFile, OfAnEarlierVersionWithoutAGraphIsRefusedWithWhatToDo) {
  const SafetensorsFile file(path);
  std::vector<NamedArray> arrays;
  for (const std::string& name : file.names()) {
    const ArrayView& view = file.at(name);
    arrays.push_back({name, view.dtype, view.shape, view.bytes});
  }
  auto kept = file.metadata();
  ASSERT_EQ(kept.erase("graph"), 1u);
  const fs::path old = folder / "old.safetensors";
  write_safetensors(old, arrays, kept);
  EXPECT_NE(error_of([&] { load_model(cx, old); }).find("convert the float32 weights again"), std::string::npos);
}

TEST_F(Int8WeightFile, HasTheGraphThatWasRecorded) {
  const Int8Graph read = read_graph(path);
  EXPECT_EQ(int8_graph_text(read), int8_graph_text(graph));
  ASSERT_EQ(read.nodes.size(), graph.nodes.size());
  for (size_t i = 0; i < read.nodes.size(); ++i) EXPECT_EQ(read.nodes[i].level, graph.nodes[i].level) << i;
}

TEST_F(Int8WeightFile, ADamagedGraphIsRefused) {
  const std::string good = int8_graph_text(graph);
  ASSERT_NO_THROW(parse_int8_graph(good, "g"));
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& why) {
    std::string text = good;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    const std::string error = error_of([&] { parse_int8_graph(text, "g"); });
    EXPECT_TRUE(error.starts_with("g") && error.find(why) != std::string::npos) << to << ": " << error;
  };
  refused("\"version\":1", "\"version\":3", "`version`");
  refused("\"version\":1", "\"version\":2", "factors of channels need silu");
  refused("\"kind\":\"stem\"", "\"kind\":\"step\"", "expected one of stem, conv");
  refused("\"x\":0", "\"x\":7", "does not exist before it");
  refused("\"x\":0", "\"x\":99999", "`x` is no number from 0 to");
  refused("\"in\":64", "\"in\":63", "another number of channels");
  refused("\"y\":1,", "\"y\":0,", "that of another node");
  refused("\"kernel\":3", "\"kernel\":9", "`kernel`");
  refused("\"terms\":[[", "\"terms\":[[-", "`terms`");
  refused("[64,1,\"conv1\"]", "[64,0,\"conv1\"]", "wrong type");
  refused("\"kind\":\"head\"", "\"kind\":\"conv\"", "wrong type");
  for (size_t i = 0; i < good.size(); i += 97)
    EXPECT_THROW(parse_int8_graph(std::string_view(good).substr(0, i), "g"), Error) << i;
}

TEST_F(Int8WeightFile, TakesNoMoreMemoryForABatchThanForAPass) {
  const auto loaded = load_model(cx, path);
  const auto held = [&](int64_t n) {
    loaded->forward(cx, random_images(cx, n, 64, 64, 1));
    return loaded->held_bytes();
  };
  const int threads = compute_threads();
  set_compute_threads(1);
  const size_t weights = loaded->held_bytes(), one = held(1) - weights, eight = held(8) - weights;
  EXPECT_GT(weights, 0u);
  EXPECT_GT(eight, 6 * one);
  EXPECT_LT(eight, 10 * one);
  EXPECT_EQ(held(24) - weights, eight) << "24 images are computed in passes of 8";
  // At most eight tensors of the largest size, 256 bytes for each pixel of the heatmaps, are alive at the same time.
  EXPECT_LT(one, size_t{16} * 16 * 256 * 8);
  set_compute_threads(threads);
}

TEST_F(Int8WeightFile, PoseEstimatorsSettleThePrecisionAgainstTheWeights) {
  const auto field_of_error = [&](const fs::path& weights, const std::string& precision) -> std::string {
    try {
      PoseEstimator(weights, {.precision = precision});
    } catch (const Error& e) {
      return e.field();
    }
    return "none";
  };
  for (const char* precision : {"f32", "bf16", "half"}) EXPECT_EQ(field_of_error(path, precision), "precision");
  // The network has another number of joints than the default skeleton, which is looked at later.
  for (const char* precision : {"", "int8", "auto"}) EXPECT_NE(field_of_error(path, precision), "precision");
  const fs::path exact = folder / "w4.safetensors";
  save_state_dict(exact, make_model(cx, "hrnet_w4", 5)->parameters(), {});
  EXPECT_EQ(field_of_error(exact, "int8"), "precision") << "these weights do not have 8 bits";
  EXPECT_NE(field_of_error(exact, "f32"), "precision");
}

TEST_F(Int8WeightFile, IsRefusedWithTheReasonOnAGpuUnderBf16AndForTraining) {
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

TEST_F(Int8WeightFile, DamagedFilesAreRefusedWithTheNameOfTheEntry) {
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
  parameters.ranges[conv].high = 0;
  refused("the range of " + conv);
  parameters = good;
  parameters.ranges.erase(conv);
  refused("has no entry " + conv + ".range");
}

}  // namespace
}  // namespace hr
