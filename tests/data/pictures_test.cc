// Tests that decoding only the parts that crops can show, and grouping people of one picture, change no pixel.
#include <gtest/gtest.h>

#include "data/loader.h"
#include "tests/data/jpeg.h"
#include "tests/data/made_set.h"
#include "tests/support/crops.h"

namespace hr {
namespace {

using test::contains;
using test::error_of;
using test::MadeSet;

// ---- what crops can show --------------------------------------------------------------------------------------------

// Boxes of detectors and of packs may be so large that their edges are infinite or NaN.
TEST(Reach, StaysInThePictureWhateverTheBox) {
  const AugmentOptions turned{.scale = 0.5, .rotation = 30};
  for (const double huge : {1e30, 1e39, 1e308, -1e308}) {
    for (const Box& box : {Box{huge, huge, 10, 10}, Box{0, 0, std::abs(huge), 10}, Box{huge, 5, std::abs(huge), 10},
                           Box{huge, huge, std::abs(huge), std::abs(huge)}}) {
      for (const AugmentOptions* o : {&turned, static_cast<const AugmentOptions*>(nullptr)}) {
        const Region official = reach_official(center_scale(box, 0.75), {}, coco_skeleton(), o, 64, 60, 48, 64),
                     seed = reach_seed(box, {}, coco_skeleton(), o, 64, 60, 48, 64);
        EXPECT_TRUE((Region{0, 0, 64, 60}.contains(official))) << huge << ": " << official.x << ' ' << official.w;
        EXPECT_TRUE((Region{0, 0, 64, 60}.contains(seed))) << huge << ": " << seed.x << ' ' << seed.w;
      }
    }
  }
}

TEST(Reach, ContainsEveryCropAndIsNotMuchLarger) {
  Philox random(5, 5, 5);
  for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
    for (const Encoding encoding : {Encoding::quarter, Encoding::udp}) {
      if (recipe == Recipe::seed && encoding == Encoding::udp) continue;
      double reached = 0, seen = 0;
      for (int round = 0; round < 30; ++round) {
        const int picture_w = 400 + static_cast<int>(random.below(400)),
                  picture_h = 300 + static_cast<int>(random.below(400));
        const bool augment = round % 5 != 0;
        const AugmentOptions options{
            .scale = random.uniform(0, 0.6), .rotation = random.uniform(0, 60), .half_body = 0.5};
        const Box box{random.uniform(-30, 350), random.uniform(-30, 250), random.uniform(3, 200),
                      random.uniform(3, 250)};
        std::vector<double> joints;
        for (int k = 0; k < 17; ++k) {
          joints.insert(joints.end(), {box.x + random.uniform() * box.w, box.y + random.uniform() * box.h,
                                       static_cast<double>(random.below(6) != 0)});
        }
        const int w = 48, h = round % 2 == 0 ? 64 : 48;
        const CenterScale place = center_scale(box, static_cast<double>(w) / h);
        const AugmentOptions* o = augment ? &options : nullptr;
        const Region reach = recipe == Recipe::official
                                 ? reach_official(place, joints, coco_skeleton(), o, picture_w, picture_h, w, h)
                                 : reach_seed(box, joints, coco_skeleton(), o, picture_w, picture_h, w, h);
        Region all;
        for (int draw = 0; draw < (augment ? 400 : 1); ++draw) {
          Augmentation a;
          if (augment) {
            Philox stream(1, static_cast<uint64_t>(round), static_cast<uint64_t>(draw));
            a = draw_augmentation(recipe, stream, options, 17);
            if (draw % 4 == 0) a.scale = 1 + options.scale;  // the largest crops, at any angle
          } else if (recipe == Recipe::seed) {
            a.scale = 1.25;
          }
          const Placement p = recipe == Recipe::official
                                  ? place_official(place, joints, coco_skeleton(), a, picture_w, w, h, encoding)
                                  : place_seed(box, joints, coco_skeleton(), a, w, h);
          const Region crop = warp_region(p.image_to_crop, w, h, picture_w, picture_h, p.mirror_source);
          ASSERT_TRUE(reach.contains(crop)) << "round " << round << ", draw " << draw;
          all = united(all, crop);
        }
        reached += static_cast<double>(reach.area());
        seen += static_cast<double>(all.area());
      }
      EXPECT_LT(reached, 1.25 * seen) << "the margin is not for nothing";
    }
  }
}

// ---- people of one picture ------------------------------------------------------------------------------------------

std::vector<Sample> together(const PoseDataset& data, const std::vector<size_t>& indices, uint64_t epoch,
                             SampleClock* clock = nullptr) {
  std::vector<Sample> out(indices.size());
  std::vector<SampleTarget> targets;
  std::vector<SampleMeta> metas(indices.size());
  const size_t pixels = static_cast<size_t>(data.options().input_h) * data.options().input_w;
  const auto joints = static_cast<size_t>(data.skeleton().joints());
  for (Sample& sample : out) {
    sample.image.resize(pixels * 3);
    sample.target.resize(pixels / 16 * joints);
    sample.weight.resize(joints);
    targets.push_back({.image = sample.image, .heatmap = sample.target, .weight = sample.weight});
  }
  SampleWorkspace workspace;
  data.samples_into(indices, epoch, targets, metas, workspace);
  for (size_t i = 0; i < out.size(); ++i) out[i].meta = metas[i];
  if (clock != nullptr) *clock = workspace.clock;
  return out;
}

TEST(Grouping, SharesTheDecodingAndChangesNothing) {
  MadeSet made(6);
  made.options.augment = true;
  for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
    for (const size_t cache : {size_t{0}, size_t{1} << 30}) {
      made.options.recipe = recipe;
      made.options.cache_bytes = 0;
      const PoseDataset alone = made.dataset();
      made.options.cache_bytes = cache;
      const PoseDataset data = made.dataset();
      const std::vector<size_t> indices = {3, 9, 4, 10, 17, 5, 3};
      SampleClock clock;
      const auto got = together(data, indices, 7, &clock);
      EXPECT_EQ(clock.samples, 7u);
      EXPECT_LE(clock.decoded, 5u) << "three pictures";
      for (size_t i = 0; i < indices.size(); ++i) {
        const Sample want = alone.sample(indices[i], 7);
        EXPECT_EQ(got[i].image, want.image);
        EXPECT_EQ(got[i].target, want.target);
        EXPECT_EQ(got[i].meta.index, indices[i]);
      }
      together(data, indices, 8, &clock);
      EXPECT_EQ(clock.cached, cache > 0 ? 7u : 0u);
      EXPECT_EQ(clock.decoded > 0, cache == 0);
    }
  }
}

// ---- batches --------------------------------------------------------------------------------------------------------

// An allocator that counts its blocks.
class CountingAllocator final : public Allocator {
 public:
  void* allocate(size_t bytes) override {
    ++allocations;
    live += bytes;
    peak = std::max(peak, live);
    return ::operator new (bytes, std::align_val_t{64});
  }
  void deallocate(void* pointer, size_t bytes) noexcept override {
    live -= bytes;
    ::operator delete (pointer, std::align_val_t{64});
  }
  size_t peak_bytes() const override { return peak; }
  size_t allocations = 0, live = 0, peak = 0;
};

TEST(Batches, LiveInTheMemoryOfAnAllocatorAndInABoundedAmountOfIt) {
  MadeSet made(20);
  const PoseDataset data = made.dataset();
  const auto memory = std::make_shared<CountingAllocator>();
  {
    Loader loader(data, {.batch_size = 4, .workers = 3, .prefetch = 2, .allocator = memory});
    Batch batch;
    for (uint64_t epoch = 0; epoch < 3; ++epoch) {
      loader.start_epoch(epoch);
      while (loader.next(batch)) EXPECT_EQ(reinterpret_cast<uintptr_t>(batch.images.data()) % 64, 0u);
    }
    // Two batches are in work or ready, one is with the caller, and one is on its way back.
    const size_t one = 4 * (64 * 48 * 3 + 16 * 12 * 17 + 17) * sizeof(float);
    EXPECT_LE(memory->peak, 4 * one);
    EXPECT_LE(memory->allocations, 4u * 3);
  }
  EXPECT_EQ(memory->live, 0u);
}

TEST(Batches, WhatADeviceGetsDoesNotDependOnTheWorkers) {
  MadeSet made(4);
  made.options.augment = true;
  made.options.augmentation.photometric = 0.3;  // some crops are made here, and some are left to the device
  for (const bool bgr : {false, true}) {
    made.options.bgr = bgr;
    const PoseDataset data = made.dataset();
    const auto plain = test::batches_of(data, false, 5), alone = test::batches_of(data, true, 5, 0);
    int left = 0, here = 0;
    for (const int workers : {1, 3}) {
      const auto batches = test::batches_of(data, true, 5, workers);
      ASSERT_EQ(batches.size(), alone.size());
      for (size_t b = 0; b < batches.size(); ++b) {
        Batch one = alone[b], other = batches[b];
        EXPECT_TRUE(one.images.empty() && one.targets.empty() && plain[b].sources.empty() && plain[b].profiles.empty());
        EXPECT_EQ(one.profiles, other.profiles);
        EXPECT_EQ(one.weights, other.weights);
        EXPECT_EQ(one.weights, plain[b].weights);
        for (int n = 0; n < one.size; ++n) {
          const size_t slot = CropSource::slot_bytes(48, 64);
          const auto bytes = test::meaning(one.sources.part(n, slot), 48, 64);
          EXPECT_EQ(bytes, test::meaning(other.sources.part(n, slot), 48, 64));
          const CropSource head = test::head_of(bytes);
          EXPECT_EQ(head.bgr, bgr);
          EXPECT_EQ(one.meta[n].index, plain[b].meta[n].index);
          const bool recoloured = data.placed(one.meta[n].index, 1).augmentation.recolours();
          recoloured ? ++here : ++left;
          if (!recoloured) continue;
          // The crop itself, as the host makes images.
          std::vector<float> image(64 * 48 * 3);
          normalize_row(bytes.data() + CropSource::pixels_at(48, 64), 64 * 48, image.data(), bgr);
          EXPECT_TRUE(std::equal(image.begin(), image.end(), plain[b].images.begin() + n * image.size()));
        }
      }
    }
    EXPECT_GT(left, 2);
    EXPECT_GT(here, 2);
  }
  const PoseDataset data = made.dataset();
  EXPECT_TRUE(contains(error_of([&] { Loader(data, {.images = false}); }), "expected images or sources"));
}

}  // namespace
}  // namespace hr
