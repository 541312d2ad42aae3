// Compares crops and training steps from what is sent to a device with those from the images that the host makes.
#include "ops/crop.h"

#include <gtest/gtest.h>

#include <bit>

#include "core/error.h"
#include "hrnet/infer/heatmap_runner.h"
#include "hrnet/model/hrnet.h"
#include "hrnet/model/make_context.h"
#include "hrnet/train/epoch_loop.h"
#include "ops/heatmaps.h"
#include "tests/support/crops.h"

namespace hr {
namespace {

Tensor tensor_of(Context& cx, Shape shape, DType dtype, std::span<const std::byte> bytes) {
  Tensor t = cx.empty(std::move(shape), dtype);
  cx.upload(t, bytes);
  return t;
}

TEST(Crop, IsTheHostsWarpAndNormalisationByteForByte) {
  Context cx;
  const Tensor normal = tensor_of(cx, {3, 256}, DType::f32, std::as_bytes(std::span(normal_table())));
  int mirrored = 0, border = 0, beside = 0, made = 0;
  const std::pair<int, int> sizes[] = {{48, 64}, {33, 45}, {37, 29}, {1, 1}, {192, 256}};
  for (const auto& [w, h] : sizes) {
    const test::Crops crops = test::random_crops(48, w, h, static_cast<uint64_t>(w));
    const auto slot = static_cast<int64_t>(CropSource::slot_bytes(w, h));
    const Tensor sources = tensor_of(cx, {crops.n, slot}, DType::u8, std::as_bytes(std::span(crops.sources)));
    const Tensor images = cx.empty({crops.n, h, w, 3}, DType::f32);
    crop(cx, sources, normal, images);
    size_t different = 0;
    for (size_t i = 0; i < crops.images.size(); ++i) {
      different += std::bit_cast<uint32_t>(images.data<float>()[i]) != std::bit_cast<uint32_t>(crops.images[i]);
    }
    EXPECT_EQ(different, 0u) << w << " x " << h;
    mirrored += crops.mirrored;
    border += crops.border;
    beside += crops.beside;
    made += crops.made;
  }
  EXPECT_GT(mirrored, 50);
  EXPECT_GT(border, 50);
  EXPECT_GT(beside, 10);
  EXPECT_GT(made, 40);
  const Tensor images = cx.empty({2, 45, 33, 3}, DType::f32);
  EXPECT_THROW(crop(cx, cx.zeros({2, 1000}, DType::u8), normal, images), Error);
  const auto slot = static_cast<int64_t>(CropSource::slot_bytes(33, 45));
  EXPECT_THROW(crop(cx, cx.zeros({2, slot}, DType::u8), cx.zeros({3, 255}, DType::f32), images), Error);
  crop(cx, cx.zeros({2, slot}, DType::u8), normal, images);
  EXPECT_EQ(images.data<float>()[0], normal_table()[0]) << "a slot of zeros is a black crop";
}

// The largest part for which the slot has room is sent. With one more row of pixels, the slot holds the crop itself.
TEST(Crop, APartThatDoesNotFitIsWarpedOnTheHost) {
  const int w = 48, h = 64, width = 400;
  const size_t room = CropSource::slot_bytes(w, h) - CropSource::pixels_at(w, h);
  std::vector<uint8_t> slot(CropSource::slot_bytes(w, h));
  int sent = 0, made = 0;
  for (int height = 436; height < 450; ++height) {
    const Image picture = test::made_picture(width, height);
    Placement placement;  // the whole picture
    placement.image_to_crop = {{static_cast<double>(w) / width, 0, 0, 0, static_cast<double>(h) / height, 0}};
    const Region part = warp_region(placement.image_to_crop, w, h, width, height);
    const bool fits = static_cast<size_t>(part.area()) * 3 <= room;
    fits ? ++sent : ++made;
    write_crop_source(picture, placement, w, h, {}, false, slot);
    const CropSource head = test::head_of(slot);
    EXPECT_EQ(head.width, fits ? part.w : w);
    EXPECT_EQ(head.height, fits ? part.h : h);
  }
  EXPECT_GT(sent, 0);
  EXPECT_GT(made, 0);
  EXPECT_THROW(write_crop_source(test::made_picture(9, 9), {}, w, h, {}, false, std::span(slot).first(5000)), Error);
}

struct After {
  std::vector<double> losses;
  std::vector<std::vector<std::byte>> bytes;
};

After train_on(const std::vector<Batch>& batches, JointsLoss loss) {
  Context cx = make_context({.threads = 1});
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  Optimizer optimizer(cx, model->parameters(), {});
  PoseTrainStep step(cx, *model, optimizer, loss);
  After after;
  for (const Batch& batch : batches) after.losses.push_back(step(train_batch(batch), 1e-3));
  const ParameterStore& s = model->parameters();
  for (const Tensor& t : {s.values, s.buffers, s.grads, optimizer.exp_avg, optimizer.exp_avg_sq}) {
    const auto* first = t.data<std::byte>();
    after.bytes.emplace_back(first, first + t.bytes());
  }
  return after;
}

// Every recipe and encoding, and everything that is drawn after the warp. The form in which a batch is sent changes
// nothing.
TEST(DeviceBatch, SourcesTrainAsImagesAndTargetsDoBitForBit) {
  test::MadeSet made(6);
  made.options.input_h = 96;
  made.options.input_w = 64;
  made.options.augment = true;
  const auto expect_same = [&](const char* what) {
    SCOPED_TRACE(what);
    const PoseDataset data = made.dataset();
    const JointsLoss loss = made.options.recipe == Recipe::seed ? JointsLoss::seed : JointsLoss::official;
    const After images = train_on(test::batches_of(data, false, 4), loss);
    const After sources = train_on(test::batches_of(data, true, 4), loss);
    EXPECT_EQ(images.losses.size(), 5u);  // 18 people
    EXPECT_EQ(images.losses, sources.losses);
    EXPECT_TRUE(images.bytes == sources.bytes);
  };
  expect_same("official, quarter");
  made.options.encoding = Encoding::udp;
  made.options.bgr = true;
  expect_same("official, udp, B G R");
  made.options.encoding = Encoding::dark;
  made.options.recipe = Recipe::seed;
  expect_same("seed, dark");
  made.options.augmentation.photometric = 1;
  made.options.augmentation.dropout = 0.5;
  expect_same("photometric jitter and dropout");
}

TEST(DeviceBatch, TargetsOfProfilesAreTheHosts) {
  test::MadeSet made(6);
  made.options.augment = true;
  Context cx;
  for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
    for (const Encoding encoding : {Encoding::quarter, Encoding::dark, Encoding::udp}) {
      if (recipe == Recipe::seed && encoding == Encoding::udp) continue;
      made.options.recipe = recipe;
      made.options.encoding = encoding;
      const PoseDataset data = made.dataset();
      const auto hosts = test::batches_of(data, false, 5), ours = test::batches_of(data, true, 5);
      for (size_t b = 0; b < hosts.size(); ++b) {
        const Tensor profiles = tensor_of(cx, {hosts[b].size, 12 + 16, 17}, DType::f64,
                                          std::as_bytes(std::span<const double>(ours[b].profiles)));
        const Tensor targets = gaussian_targets(cx, profiles, 16, 12);
        ASSERT_EQ(targets.bytes(), hosts[b].targets.size() * sizeof(float));
        EXPECT_EQ(std::memcmp(targets.raw(), hosts[b].targets.data(), targets.bytes()), 0) << encoding_name(encoding);
        EXPECT_EQ(ours[b].weights, hosts[b].weights);
      }
    }
  }
  EXPECT_THROW(gaussian_targets(cx, cx.zeros({2, 27, 17}, DType::f64), 16, 12), Error);
}

TEST(DeviceBatch, HeatmapsOfSourcesAreThoseOfImages) {
  test::MadeSet made(3);
  made.options.input_w = 64;
  const PoseDataset data = made.dataset();
  Context cx = make_context({.threads = 1});
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  HeatmapRunner runner(cx, *model, coco_skeleton().mirror(), {.flip = true});
  const auto images = test::batches_of(data, false, 4), sources = test::batches_of(data, true, 4);
  for (int round = 0; round < 2; ++round) {
    for (size_t b = 0; b < images.size(); ++b) {
      const Heatmaps m = runner(images[b]);
      const std::vector<float> expected(m.data, m.data + static_cast<size_t>(m.n) * m.h * m.w * m.joints);
      const Heatmaps ours = runner(sources[b]);
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), ours.data)) << b;
    }
  }
  EXPECT_THROW(runner(std::span<const uint8_t>(sources[0].sources), 3, 64, 64), Error);
}

TEST(DeviceBatch, IsTakenWholeOrNotAtAll) {
  Context cx = make_context({.threads = 1});
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  Optimizer optimizer(cx, model->parameters(), {});
  PoseTrainStep step(cx, *model, optimizer, JointsLoss::official);
  test::MadeSet made(1);
  made.options.input_w = 64;
  const PoseDataset data = made.dataset();
  const Batch images = test::batches_of(data, false, 2)[0], sources = test::batches_of(data, true, 2)[0];
  const TrainBatch good = train_batch(sources);
  TrainBatch both = good, without = good, fewer = good;
  both.images = images.images;
  EXPECT_TRUE(test::contains(test::error_of([&] { step(both, 1e-3); }), "this one has both"));
  without.profiles = {};
  EXPECT_TRUE(test::contains(test::error_of([&] { step(without, 1e-3); }), "expected [2, 32, 17] of f64"));
  fewer.sources = fewer.sources.first(100);
  EXPECT_TRUE(test::contains(test::error_of([&] { step(fewer, 1e-3); }), "got 100"));
  EXPECT_EQ(step(good, 1e-3), [&] {
    Context other = make_context({.threads = 1});
    const auto twin = make_model(other, "hrnet_w2", 17, 3, Init::torch);
    Optimizer adam(other, twin->parameters(), {});
    return PoseTrainStep(other, *twin, adam, JointsLoss::official)(train_batch(images), 1e-3);
  }()) << "a refused batch leaves nothing behind";
}

}  // namespace
}  // namespace hr
