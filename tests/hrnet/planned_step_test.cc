// Forward passes as recorded loops, compared with the same passes computed at once.
#include "core/planned_step.h"

#include <gtest/gtest.h>

#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "hrnet/infer/heatmap_runner.h"
#include "hrnet/int8/calibrate.h"
#include "hrnet/int8/file.h"
#include "hrnet/model/model.h"
#include "ops/conv/backend.h"
#include "ops/elementwise.h"
#include "tests/support/random_images.h"
#include "tests/support/threads.h"
#include "tests/support/yolox.h"

namespace hr {
namespace {

using test::random_images;
using test::Threads;

// The heatmaps of `calls` calls. The first call computes at once, the second one records.
std::vector<std::vector<float>> planned(Context& cx, const PoseModel& model, const Tensor& images, int threads,
                                        int calls) {
  const Threads limit(threads);
  conv_backend(cx);
  const Tensor maps = cx.empty({images.dim(0), images.dim(1) / 4, images.dim(2) / 4, model.joints()}, DType::f32);
  PlannedStep step(cx.allocator);
  LoopTeam team(threads);
  std::vector<std::vector<float>> results;
  for (int call = 0; call < calls; ++call) {
    cx.zero(maps);
    step(cx, team, model.parameters().version,
         [&](Context& in) { copy_or_add(in, model.forward(in, images), maps, false); });
    results.push_back(to_host(cx, maps));
  }
  return results;
}

void expect_same_bits(Context& cx, const PoseModel& model) {
  for (const int64_t n : {1, 3, 4}) {
    const Tensor images = random_images(cx, n, 96, 64, static_cast<uint32_t>(n));
    std::vector<float> expected;
    {
      const Threads one(1);
      expected = to_host(cx, model.forward(cx, images));
    }
    for (const int threads : {1, 2, 3}) {
      const auto results = planned(cx, model, images, threads, 3);
      for (size_t call = 0; call < results.size(); ++call) {
        EXPECT_EQ(results[call], expected) << n << " images, " << threads << " threads, call " << call;
      }
    }
  }
}

class PlannedNetwork : public testing::TestWithParam<std::string> {};

TEST_P(PlannedNetwork, HeatmapsHaveTheSameBitsForAnyNumberOfThreads) {
  for (const bool exact : {false, true}) {
    Context cx;
    cx.exact = exact;
    const auto model = make_model(cx, GetParam(), 5, 3, Init::torch);
    expect_same_bits(cx, *model);
  }
}

TEST_P(PlannedNetwork, HeatmapsInBf16HaveTheSameBitsForAnyNumberOfThreads) {
  Context cx;
  cx.precision = DType::bf16;
  const auto model = make_model(cx, GetParam(), 5, 3, Init::torch);
  expect_same_bits(cx, *model);
}

// Networks of 8 bits have a parallel region of their own, also behind a HeatmapRunner.
TEST_P(PlannedNetwork, HeatmapsWith8BitsAreNotRecorded) {
  Context cx;
  const auto model = make_model(cx, GetParam(), 5, 3, Init::torch);
  Int8Calibrator calibrator(*model);
  calibrator.add(random_images(cx, 2, 64, 96, 1));
  const auto eight =
      make_int8_model(model->name(), 5, false, calibrator.graph(), calibrator.parameters(RangeMethod::mse));
  const Tensor images = random_images(cx, 3, 96, 64, 4);
  const std::vector<float> expected = to_host(cx, eight->forward(cx, images));
  EXPECT_THROW(planned(cx, *eight, images, 2, 2), Error);
  for (const int threads : {1, 2, 3}) {
    const Threads limit(threads);
    HeatmapRunner runner(cx, *eight, {}, {.flip = false});
    for (int call = 0; call < 3; ++call) {
      const Heatmaps m = runner(std::span(images.data<float>(), static_cast<size_t>(images.numel())), 3, 96, 64);
      EXPECT_EQ(std::vector<float>(m.data, m.data + expected.size()), expected) << threads << " threads, call " << call;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, PlannedNetwork, testing::Values("hrnet_w8", "hrnet_w32", "pose_resnet50"),
                         [](const auto& tested) { return tested.param; });

TEST(PlannedStep, NewWeightsAreUsed) {
  Context cx;
  const auto model = make_model(cx, "hrnet_w8", 5, 3, Init::torch);
  const Tensor images = random_images(cx, 2, 64, 64, 4);
  const Tensor maps = cx.empty({2, 16, 16, 5}, DType::f32);
  conv_backend(cx);
  PlannedStep step(cx.allocator);
  LoopTeam team(2);
  for (int round = 0; round < 3; ++round) {
    for (int call = 0; call < 3; ++call) {
      step(cx, team, model->parameters().version,
           [&](Context& in) { copy_or_add(in, model->forward(in, images), maps, false); });
      EXPECT_EQ(to_host(cx, maps), to_host(cx, model->forward(cx, images))) << "round " << round << ", call " << call;
    }
    for (const auto& e : model->parameters().entries()) {
      if (e.parameter != nullptr) e.parameter->value.data<float>()[0] += 0.5F;
    }
    ++model->parameters().version;
  }
}

// Detectors have joined inputs, depthwise convolutions, pooling and SiLU.
class PlannedDetector : public testing::TestWithParam<int> {};

TEST_P(PlannedDetector, TablesHaveTheSameBitsForAnyNumberOfThreads) {
  const int64_t n = GetParam();  // The rows of a table follow each other for one picture only.
  for (const YoloxShape& shape : {YoloxShape{8, 1, false, 3}, YoloxShape{16, 2, true, 3}}) {
    for (const DType precision : {DType::f32, DType::bf16}) {
      Context cx;
      cx.precision = precision;
      const auto network = load_yolox(cx, WeightFile(test::write_yolox(shape)));
      const Tensor images = random_images(cx, n, 96, 64, 7);
      std::vector<float> expected;
      {
        const Threads one(1);
        expected = to_host(cx, network->forward(cx, images));
      }
      for (const int threads : {1, 2, 3}) {
        const Threads limit(threads);
        conv_backend(cx);
        const Tensor table = cx.empty({n, Yolox::anchors(96, 64), 5 + shape.classes}, DType::f32);
        LoopTeam team(threads);
        LoopSchedule schedule;
        for (const size_t reuse_after : {0, 8}) {
          PlannedStep step(cx.allocator), scheduled(cx.allocator);
          scheduled.reuse_after(reuse_after);
          const auto body = [&](Context& in) { network->forward(in, images, table); };
          for (int call = 0; call < 3; ++call) {
            cx.zero(table);
            step(cx, team, 0, body);
            EXPECT_EQ(to_host(cx, table), expected) << network->name() << ", " << threads << " threads, call " << call;
            cx.zero(table);
            scheduled(cx, schedule, 0, body);
            EXPECT_EQ(to_host(cx, table), expected)
                << network->name() << ", " << threads << " threads with a fixed division, call " << call;
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pictures, PlannedDetector, testing::Values(1, 2));

}  // namespace
}  // namespace hr
