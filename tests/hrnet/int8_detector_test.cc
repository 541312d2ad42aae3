// Detectors with 8-bit integers, compared with the same detectors in float32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "data/formats/image.h"
#include "hrnet/infer/person_detector.h"
#include "hrnet/int8/calibrate.h"
#include "hrnet/int8/file.h"
#include "hrnet/int8/quantise.h"
#include "tests/support/oracle.h"
#include "tests/support/yolox.h"

namespace hr {
namespace {

Tensor random_images(const Context& cx, int64_t n, int64_t h, int64_t w, uint32_t seed) {
  Tensor images = cx.empty({n, h, w, 3}, DType::f32);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> pixel(0, 255);
  for (int64_t i = 0; i < images.numel(); ++i) images.data<float>()[i] = pixel(random);
  return images;
}

// The relative difference sqrt(sum (a - b)^2 / sum (b - mean b)^2) of the columns from `first` to `last`.
double difference(const std::vector<float>& a, const std::vector<float>& b, size_t columns, size_t first, size_t last) {
  double mean = 0, error = 0, all = 0, count = 0;
  const auto each = [&](const auto& body) {
    for (size_t row = 0; row < b.size(); row += columns) {
      for (size_t c = first; c < last; ++c) body(row + c);
    }
  };
  each([&](size_t i) { mean += b[i], ++count; });
  mean /= count;
  each([&](size_t i) {
    error += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    all += (b[i] - mean) * (b[i] - mean);
  });
  return std::sqrt(error / all);
}

class Int8Detector : public testing::TestWithParam<YoloxShape> {
 protected:
  void SetUp() override {
    const WeightFile file(test::write_yolox(GetParam()));
    model = load_yolox(cx, file);
    calibrator = std::make_unique<Int8Calibrator>(*model);
    // The smallest maps have six pixels, from which the range of each channel follows.
    for (uint32_t seed = 0; seed < 16; ++seed) calibrator->add(random_images(cx, 1, 96, 64, seed));
  }
  Context cx;
  std::unique_ptr<Yolox> model;
  std::unique_ptr<Int8Calibrator> calibrator;
};

TEST_P(Int8Detector, TheTableIsCloseToThatOfFloat32) {
  Int8Network net(calibrator->graph(), calibrator->parameters(RangeMethod::max));
  const Tensor images = random_images(cx, 2, 96, 64, 99);
  const Tensor expected = model->forward(cx, images), got = net.run(cx, images);
  ASSERT_EQ(got.shape(), expected.shape());
  const auto columns = static_cast<size_t>(expected.dim(2));
  const std::vector<float> a = to_host(cx, got), b = to_host(cx, expected);
  // The boxes, and the scores.
  for (const auto& [first, last] : {std::pair<size_t, size_t>{0, 4}, {4, columns}}) {
    const double off = difference(a, b, columns, first, last);
    // The numbers of these made-up networks hardly vary from pixel to pixel, so rounding is large beside their
    // deviation. A zero or a range that is wrong gives more than 1.
    EXPECT_LT(off, 0.4) << "columns from " << first;
    EXPECT_GT(off, 0) << "nothing was quantised";
  }
}

TEST_P(Int8Detector, ResultsDependNeitherOnThreadsNorOnTheBatch) {
  Int8Network net(calibrator->graph(), calibrator->parameters(RangeMethod::max));
  // More images than a pass has, and a last pass with fewer than the others.
  const Tensor images = random_images(cx, 9, 64, 96, 7);
  const int threads = compute_threads();
  set_compute_threads(2);
  const std::vector<float> together = to_host(cx, net.run(cx, images));
  set_compute_threads(1);
  const size_t each = together.size() / 9;
  for (const size_t i : {size_t{0}, size_t{4}, size_t{8}}) {
    const auto at = static_cast<int64_t>(i);
    const Tensor one = images.view({1, 64, 96, 3}, at * 64 * 96 * 3);
    EXPECT_EQ(to_host(cx, net.run(cx, one)),
              std::vector<float>(together.begin() + at * static_cast<int64_t>(each),
                                 together.begin() + (at + 1) * static_cast<int64_t>(each)));
  }
  set_compute_threads(threads);
}

TEST_P(Int8Detector, HasFloatsBeforeTheFirstDepthwiseConvolutionAndFactorsForAllOtherChannels) {
  const Int8Graph& graph = calibrator->graph();
  const Int8Parameters p = calibrator->parameters(RangeMethod::max);
  EXPECT_TRUE(graph.channels);
  for (const Int8Graph::Node& node : graph.nodes) {
    const Int8Graph::Value& y = graph.values[static_cast<size_t>(node.y)];
    if (node.kind == Int8Graph::Kind::stem) {
      EXPECT_EQ(y.bytes, !GetParam().depthwise);
    }
    if (node.kind == Int8Graph::Kind::depthwise) {
      EXPECT_TRUE(y.bytes);
    }
    const bool own = y.bytes && (node.kind != Int8Graph::Kind::pool && node.kind != Int8Graph::Kind::concat);
    ASSERT_EQ(p.factors_of.contains(node.name), own) << node.name;
    if (!own) continue;
    const std::vector<float>& factors = p.factors_of.at(node.name);
    ASSERT_EQ(factors.size(), static_cast<size_t>(node.shape.out));
    EXPECT_LE(*std::ranges::max_element(factors), 1.0F);
    EXPECT_GT(*std::ranges::min_element(factors), 0.0F);
    EXPECT_LT(*std::ranges::min_element(factors), *std::ranges::max_element(factors)) << node.name;
  }
}

// A file as the earlier version wrote it: one step for all channels, bytes from every convolution.
TEST_P(Int8Detector, FilesOfTheEarlierVersionAreRead) {
  Int8Floats weights;
  Int8Graph graph = int8_graph(*model, weights);
  graph.channels = false;
  Int8Parameters p;
  p.ranges = calibrator->parameters(RangeMethod::max).ranges;
  for (const Int8Graph::Node& node : graph.nodes) {
    Int8Graph::Value& y = graph.values[static_cast<size_t>(node.y)];
    if (node.kind == Int8Graph::Kind::stem && !y.bytes) {
      y.bytes = true;
      y.range = node.name;
      p.ranges[node.name] = {-0.3F, 3.0F};
    }
    const auto found = weights.find(node.name);
    if (found == weights.end()) continue;
    if (node.kind == Int8Graph::Kind::conv)
      p.convs[node.name] = quantise_weights(found->second.filter, found->second.bias);
    else
      p.floats_of[node.name] = found->second;
  }
  EXPECT_NE(int8_graph_text(graph).find("\"version\":1"), std::string::npos);
  const fs::path path = test::temporary_folder() / "old.int8.safetensors";
  save_int8(path, graph, p, {{"model", model->name()}, {"input", "bgr_255"}});
  const Tensor images = random_images(cx, 1, 64, 64, 5);
  const std::unique_ptr<Int8Network> read = load_int8_detector(cx, WeightFile(path));
  EXPECT_EQ(to_host(cx, read->run(cx, images)), to_host(cx, Int8Network(graph, p).run(cx, images)));
  EXPECT_FALSE(read->graph().channels);
}

// The errors of rounded weights have a mean, because their inputs have one. The biases take it away.
TEST_P(Int8Detector, RoundedWeightsKeepTheMeanOfTheirSums) {
  Int8Floats weights;
  int8_graph(*model, weights);
  const Int8Parameters p = calibrator->parameters(RangeMethod::max);
  size_t corrected = 0, all = 0;
  for (const auto& [name, conv] : p.convs) {
    const Int8Float& from = weights.at(name);
    for (size_t o = 0; o < conv.bias.size(); ++o, ++all) corrected += conv.bias[o] != from.bias[o] ? 1 : 0;
  }
  EXPECT_GT(corrected, all * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Int8Detector,
                         testing::Values(YoloxShape{8, 1, false, 3}, YoloxShape{8, 1, true, 2},
                                         YoloxShape{16, 2, false, 80}),
                         [](const auto& tested) { return yolox_name(tested.param); });

TEST(Int8DetectorFile, IsMadeFromPicturesAndFindsWhatTheFloat32WeightsFind) {
  const fs::path weights = test::write_yolox({8, 1, false, 1}), folder = test::temporary_folder();
  for (int p = 0; p < 3; ++p) {
    Image picture(80 + 20 * p, 90);
    for (size_t i = 0; i < picture.rgb.size(); ++i) picture.rgb[i] = static_cast<uint8_t>(((i + p) * 2654435761U) >> 9);
    write_image(folder / fmt::format("{}.png", p), picture);
  }
  const fs::path out = test::temporary_folder() / "y.int8.safetensors";
  const QuantiseReport r = quantise_file(WeightFile(weights), out, {.calibrate = folder.string()});
  EXPECT_TRUE(r.detector);
  EXPECT_EQ(r.people, 3u);
  EXPECT_GT(r.difference, 0);
  EXPECT_LT(r.difference, 0.2);
  const WeightFile file(out);
  ASSERT_TRUE(yolox_info(file).has_value());
  EXPECT_EQ(yolox_info(file)->shape, (YoloxShape{8, 1, false, 1}));
  EXPECT_EQ(yolox_info(file)->input(), yolox_info(WeightFile(weights))->input());
  const DetectorOptions options{.input_h = 64, .input_w = 96, .confidence = 0.001};
  PersonDetector exact(weights, options), rounded(out, options);
  EXPECT_EQ(rounded.input(), exact.input());
  const Image picture = read_image(folder / "1.png");
  const auto a = exact(picture), b = rounded(picture);
  ASSERT_FALSE(a.empty());
  ASSERT_FALSE(b.empty());
  EXPECT_NEAR(a[0].score, b[0].score, 0.05);
  // A float32 network cannot be made from it.
  Context cx;
  EXPECT_THROW(load_yolox(cx, file), Error);
  EXPECT_THROW(quantise_file(file, out, {.calibrate = folder.string()}), Error);
  DetectorOptions bf16 = options;
  bf16.precision = "bf16";
  EXPECT_THROW(PersonDetector(out, bf16), Error);
  bf16.precision = "int8";
  EXPECT_NO_THROW(PersonDetector(out, bf16));
  EXPECT_THROW(PersonDetector(weights, bf16), Error) << "these weights have no 8 bits";
}

}  // namespace
}  // namespace hr
