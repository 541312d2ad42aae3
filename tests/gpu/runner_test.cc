// Several batches of heatmaps that run at the same time give the numbers of one batch at a time, in whatever order the
// device runs them.
#include <limits>

#include "core/philox.h"
#include "hrnet/infer/device_loader.h"
#include "hrnet/infer/heatmap_runner.h"
#include "hrnet/model/model.h"
#include "hrnet/validate/predict_people.h"
#include "tests/data/made_set.h"
#include "tests/gpu/pair.h"

namespace hr {
namespace {

class GpuRunner : public test::Gpu {};

constexpr int kSide = 64;
constexpr size_t kImage = kSide * kSide * 3;

std::vector<float> images(int n, uint64_t seed) {
  std::vector<float> v(n * kImage);
  Philox random(seed, 0, 0);
  for (float& x : v) x = static_cast<float>(random.normal());
  return v;
}

std::vector<float> copy_of(const Heatmaps& m) { return {m.data, m.data + size_t{1} * m.n * m.h * m.w * m.joints}; }

std::vector<int> turned_round() {
  std::vector<int> mirror(17);
  for (int k = 0; k < 17; ++k) mirror[k] = 16 - k;
  return mirror;
}

size_t held(HeatmapRunner& runner) {
  return dynamic_cast<const CachingAllocator&>(*runner.context().allocator).live_bytes();
}

// Sizes alternate, so that shapes are recorded, captured and launched in between one another. Every batch comes from
// the same pinned memory, which is overwritten as soon as submit() returns.
TEST_F(GpuRunner, BatchesUnderWayTogetherAreBatchesOneAtATime) {
  const std::vector<int> sizes{3, 3, 1, 3, 4, 1, 4, 2, 4, 3, 3, 3, 2, 4, 1, 1, 3, 4};
  for (const bool flip : {true, false}) {
    for (const DType t : {DType::f32, DType::bf16}) {
      Context cx = test::device_context(t);
      const auto model = make_model(cx, "hrnet_w2", 17, 7, Init::torch);
      HeatmapRunner single(cx, *model, turned_round(), {.flip = flip});
      std::vector<std::vector<float>> expected, actual;
      for (size_t i = 0; i < sizes.size(); ++i)
        expected.push_back(copy_of(single(images(sizes[i], i), sizes[i], kSide, kSide)));
      EXPECT_NE(expected[0], expected[1]);

      HeatmapRunner runner(cx, *model, turned_round(), {.flip = flip});
      HostBuffer<float> memory(batch_memory(cx.device));
      size_t most = 0;
      for (size_t i = 0; i < sizes.size(); ++i) {
        if (runner.full()) actual.push_back(copy_of(runner.wait()));
        const std::vector<float> numbers = images(sizes[i], i);
        memory.resize(numbers.size());
        std::copy(numbers.begin(), numbers.end(), memory.begin());
        runner.submit(std::span<const float>(memory), sizes[i], kSide, kSide);
        std::fill(memory.begin(), memory.end(), std::numeric_limits<float>::quiet_NaN());
        most = std::max(most, runner.pending());
      }
      while (runner.pending() > 0) actual.push_back(copy_of(runner.wait()));
      EXPECT_GE(most, cx.device.is_cuda() ? 2u : 1u);
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < sizes.size(); ++i) EXPECT_TRUE(actual[i] == expected[i]) << "batch " << i;
    }
  }
}

// Does what validate, predict and train's validation do, and compares it with one batch at a time and the decoder.
TEST_F(GpuRunner, PeopleOfADatasetAreThoseOfOneBatchAtATime) {
  test::MadeSet made(5);  // 15 people: batches of 4, 4, 4 and 3
  made.options.input_w = 64;
  Context cx = test::device_context(DType::bf16);
  const auto model = make_model(cx, "hrnet_w2", 17, 7, Init::torch);
  for (const Codec codec : {Codec::quarter, Codec::udp}) {
    made.options.encoding = encoding_of(codec);
    const PoseDataset set = made.dataset();
    const DecodeOptions decoding{.codec = codec};
    HeatmapRunner single(cx, *model, coco_skeleton().mirror(), {.flip = true});
    std::vector<float> expected;
    Loader loader(set, loader_for(cx.device, {.batch_size = 4, .workers = 2, .targets = false}));
    loader.start_epoch(0);
    for (Batch batch; loader.next(batch);) {
      const Heatmaps maps = single(batch);
      std::vector<float> poses = decode(maps, decoding);
      std::vector<Affine> places;
      for (const SampleMeta& meta : batch.meta) places.push_back(meta.heatmap_to_image);
      to_image(poses, maps.joints, places);
      expected.insert(expected.end(), poses.begin(), poses.end());
    }
    HeatmapRunner runner(cx, *model, coco_skeleton().mirror(), {.flip = true});
    for (int round = 0; round < 3; ++round) {
      if (round == 2) {  // as a caller who did not wait for them
        for (int i = 0; i < 2 && !runner.full(); ++i) runner.submit(images(2, i), 2, kSide, kSide);
      }
      std::vector<float> actual;
      for (const PersonResult& p : predict_people(runner, set, {.batch_size = 4, .workers = 2, .decoding = decoding}))
        actual.insert(actual.end(), p.keypoints.begin(), p.keypoints.end());
      EXPECT_TRUE(actual == expected) << codec_name(codec) << ", round " << round;
    }
  }
}

// A network whose forward pass throws on demand, after most of its work has been queued.
class Failing final : public PoseModel {
 public:
  explicit Failing(const PoseModel& inner) : PoseModel("failing", inner.joints(), false), inner_(inner) {}
  bool fails = false;

 private:
  Tensor network(Context& cx, const Tensor& x) const override {
    const Tensor maps = inner_.forward(cx, x);
    check(!fails, "failing network: told so");
    return cast(cx, maps, DType::f32);
  }
  const PoseModel& inner_;
};

TEST_F(GpuRunner, AnErrorForgetsItsBatchAndNothingElse) {
  Context cx = test::device_context();
  const auto inner = make_model(cx, "hrnet_w2", 17, 7, Init::torch);
  HeatmapRunner single(cx, *inner, turned_round(), {.flip = true});
  const auto expected = [&](int n) { return copy_of(single(images(n, n), n, kSide, kSide)); };
  const std::vector<float> one = expected(1), two = expected(2), three = expected(3);

  Failing model(*inner);
  HeatmapRunner runner(cx, model, turned_round(), {.flip = true});
  EXPECT_THROW(runner.wait(), Error) << "nothing is under way";
  const auto submit = [&](int n) { runner.submit(images(n, n), n, kSide, kSide); };
  const auto refused = [&](int n) {
    model.fails = true;
    EXPECT_THROW(submit(n), Error);
    model.fails = false;
  };
  const auto settled = [&] {
    while (runner.pending() > 0) runner.wait();
  };
  // The exception comes while a shape is recorded, while it is captured, and while it is captured again. Other shapes
  // come before it.
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    submit(2);
    if (runner.full()) settled();
    refused(3);
    if (cx.device.is_cuda()) {
      EXPECT_TRUE(copy_of(runner.wait()) == two);
    }
    EXPECT_EQ(runner.pending(), 0u);
    submit(3);
    EXPECT_TRUE(copy_of(runner.wait()) == three);
    submit(2);
    EXPECT_TRUE(copy_of(runner.wait()) == two);
    if (round == 1) {  // a new shape, so the graphs of the others must be captured again
      submit(1);
      EXPECT_TRUE(copy_of(runner.wait()) == one);
    }
  }
  // A batch whose size is wrong, and one batch too many.
  while (!runner.full()) submit(2);
  EXPECT_THROW(submit(2), Error);
  EXPECT_TRUE(copy_of(runner.wait()) == two);
  EXPECT_THROW(runner.submit(images(2, 2), 3, kSide, kSide), Error);
  EXPECT_THROW(runner.submit(std::span<const float>(), 0, kSide, kSide), Error);
  EXPECT_THROW(runner.submit(images(2, 2), 2, kSide / 2, 2 * kSide + 1), Error);
  if (runner.pending() > 0) {
    EXPECT_THROW(runner(images(2, 2), 2, kSide, kSide), Error) << "others must be taken first";
  }
  while (runner.pending() > 0) {
    EXPECT_TRUE(copy_of(runner.wait()) == two);
  }
  submit(2);  // it stays in flight
}

TEST_F(GpuRunner, NewWeightsAreUsedFromTheNextBatchOn) {
  Context cx = test::device_context();
  const auto model = make_model(cx, "hrnet_w2", 17, 7, Init::torch);
  const std::vector<float> x = images(2, 1);
  HeatmapRunner runner(cx, *model, turned_round(), {.flip = true});
  for (int i = 0; i < 3; ++i) runner(x, 2, kSide, kSide);
  const std::vector<float> before = copy_of(runner(x, 2, kSide, kSide));
  if (!runner.full()) runner.submit(x, 2, kSide, kSide);  // this batch uses the old weights
  const auto other = make_model(cx, "hrnet_w2", 17, 8, Init::torch);
  const auto bytes = test::bytes_of(cx, other->parameters().values);
  cx.upload(model->parameters().values, bytes);
  ++model->parameters().version;
  EXPECT_TRUE(copy_of(runner.wait()) == before);
  const std::vector<float> after =
      copy_of(HeatmapRunner(cx, *model, turned_round(), {.flip = true})(x, 2, kSide, kSide));
  EXPECT_TRUE(after != before);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(copy_of(runner(x, 2, kSide, kSide)) == after) << i;
}

TEST_F(GpuRunner, BatchesOfAllSizesTakeTheMemoryOfTheLargest) {
  Context cx = test::device_context();
  const auto model = make_model(cx, "hrnet_w2", 17, 7, Init::torch);
  const auto after = [&](const std::vector<int>& sizes) {
    HeatmapRunner runner(cx, *model, turned_round(), {.flip = true});
    for (int round = 0; round < 3; ++round) {
      for (const int n : sizes) runner(images(n, n), n, kSide, kSide);
    }
    return held(runner);
  };
  const size_t one = after({6});
  EXPECT_LE(after({1, 2, 3, 4, 5, 6}), one + one / 50);
  EXPECT_LE(after({6, 5, 4, 3, 2, 1}), one + one / 50);
}

// A server meets ever new batch sizes. Plans and graphs are kept only for the last few, and those of a forgotten size
// are made again.
TEST_F(GpuRunner, ShapesAreForgottenWhenManyOthersCame) {
  Context cx = test::device_context(DType::f32);
  const auto model = make_model(cx, "hrnet_w2", 17, 7, Init::torch);
  HeatmapRunner runner(cx, *model, turned_round(), {.flip = false});
  const int all = static_cast<int>(HeatmapRunner::kShapes) + 4;
  std::vector<std::vector<float>> first;
  for (int n = 1; n <= all; ++n) {
    first.push_back(copy_of(runner(images(n, n), n, kSide, kSide)));
    for (int round = 0; round < 2; ++round) EXPECT_EQ(copy_of(runner(images(n, n), n, kSide, kSide)), first.back());
    EXPECT_EQ(runner.shapes(), std::min<size_t>(n, HeatmapRunner::kShapes));
  }
  for (const int n : {1, all, 2, 1}) {
    EXPECT_EQ(copy_of(runner(images(n, n), n, kSide, kSide)), first[n - 1]) << n;
    EXPECT_EQ(runner.shapes(), HeatmapRunner::kShapes);
  }
}

}  // namespace
}  // namespace hr
