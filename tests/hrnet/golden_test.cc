// Compares three Adam steps of a small HRNet with PyTorch. The golden file is in the repository; tests/golden/make.py
// makes and describes it. Nothing outside of the checkout is needed.
#include <gtest/gtest.h>

#include <cmath>

#include "hrnet/model/hrnet.h"
#include "hrnet/train/pose_step.h"
#include "tests/support/formula.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

constexpr int kSamples = 2, kSide = 64, kHeatmap = kSide / 4, kJoints = 5, kWidth = 4, kSteps = 3;

// Uniform numbers in [from, from + width), drawn as make.py draws them for a tensor of this name.
Values drawn(const std::string& name, size_t count, double from, double width) {
  Values v(count);
  const uint64_t hash = test::fnv1a64(name);
  for (size_t i = 0; i < count; ++i) v[i] = test::rounded(from + width * test::unit(hash, i), DType::f32);
  return v;
}

std::vector<float> floats(const Values& v) { return {v.begin(), v.end()}; }

struct GoldenRun {
  SafetensorsFile file{test::source_folder() / "tests" / "golden" / "hrnet_w4.safetensors"};
  Context cx;
  HRNet model{"hrnet_w4", kWidth, kJoints};
  std::vector<float> images, targets, weights;
  GoldenRun() {
    test::allocate_by_formula(cx, model.parameters());
    constexpr int64_t n = kSamples, k = kJoints, side = kSide, map = kHeatmap;
    const Values input = drawn("input", n * 3 * side * side, -2, 4), target = drawn("target", n * k * map * map, 0, 1);
    images = floats(test::second_to_last(input, {n, 3, side, side}));
    targets = floats(test::second_to_last(target, {n, k, map, map}));
    weights = floats(drawn("target_weight", n * k, 0, 1.5));
    weights[1] = 0;  // a joint that is not visible
  }
  TrainBatch batch() const { return {images, targets, weights, kSamples, kSide, kSide}; }
};

// Picks the elements that make.py stores of a tensor.
Values sampled(const Values& whole) {
  constexpr size_t keep = 256;
  Values v;
  for (size_t i = 0, step = std::max<size_t>(1, (whole.size() + keep - 1) / keep); i < whole.size(); i += step)
    v.push_back(whole[i]);
  return v;
}

// The distance |a - b| / |b| over all parameters together.
double relative(const GoldenRun& run, const std::string& prefix, Tensor Parameter::*part) {
  double off = 0, size = 0;
  for (const Parameter& p : run.model.parameters().parameters()) {
    const Values golden = run.file.at(prefix + p.name).to_f64(), mine = sampled(test::torch_order(p, p.*part));
    EXPECT_EQ(mine.size(), golden.size()) << p.name;
    off += std::pow(test::distance(mine, golden), 2);
    size += std::pow(test::norm(golden), 2);
  }
  testing::Test::RecordProperty("relative_l2_" + prefix, fmt::format("{:.2e}", std::sqrt(off / size)));
  return std::sqrt(off / size);
}

TEST(GoldenInRepository, HeatmapsOfTheFirstStepArePyTorchs) {
  GoldenRun run;
  run.cx.training = true;
  const Tensor x = run.cx.empty({kSamples, kSide, kSide, 3}, DType::f32);
  run.cx.upload(x, std::as_bytes(std::span(run.images)));
  const Values y = test::values(run.model.forward(run.cx, x));
  const Values golden = test::second_to_last(run.file.at("output").to_f64(), {kSamples, kJoints, kHeatmap, kHeatmap});
  EXPECT_TRUE(test::close(y, golden, 1e-4));
}

TEST(GoldenInRepository, ThreeAdamStepsArePyTorchs) {
  GoldenRun run;
  Optimizer adam(run.cx, run.model.parameters(), {});
  PoseTrainStep step(run.cx, run.model, adam, JointsLoss::official);
  const Values losses = run.file.at("losses").to_f64();
  ASSERT_EQ(losses.size(), static_cast<size_t>(kSteps));
  for (int i = 0; i < kSteps; ++i) {
    // A ReLU input whose sign changes by rounding changes all that lies before it, and Adam turns the sign of a tiny
    // gradient into a whole step.
    const double tolerance = i == 0 ? 1e-5 : 2e-3;
    EXPECT_NEAR(step(run.batch(), 1e-3), losses[i], tolerance * losses[i]) << i;
    if (i == 0) {
      EXPECT_LE(relative(run, "gradient.", &Parameter::grad), 1e-3);
    }
  }
  EXPECT_LE(relative(run, "value.", &Parameter::value), 1e-3);
  for (const auto& e : run.model.parameters().entries()) {
    if (e.buffer == nullptr) continue;
    const Values golden = run.file.at("buffer." + e.name()).to_f64();
    EXPECT_LE(test::distance(test::values(e.buffer->value), golden), 5e-3 * test::norm(golden) + 1e-6) << e.name();
  }
}

}  // namespace
}  // namespace hr
