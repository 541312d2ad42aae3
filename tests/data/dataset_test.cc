#include "data/dataset.h"

#include <gtest/gtest.h>

#include "data/crops/targets.h"
#include "data/loader.h"
#include "tests/data/made_set.h"

namespace hr {
namespace {

using test::contains;

using test::MadeSet;

TEST(Dataset, ASampleIsThePlacedPerson) {
  const MadeSet made;
  for (const auto recipe : {Recipe::official, Recipe::seed}) {
    MadeSet set = made;
    set.options.recipe = recipe;
    const PoseDataset data = set.dataset();
    ASSERT_EQ(data.size(), 15u);
    const Sample sample = data.sample(4, 0);
    EXPECT_EQ(sample.meta.image_id, 101);
    EXPECT_EQ(sample.meta.annotation_id, 12);
    EXPECT_EQ(sample.meta.index, 4u);
    EXPECT_EQ(sample.meta.box_score, 1.0F);
    const Image picture = read_image(set.folder / "p1.jpg");
    const auto& joints = set.file.annotations[4].keypoints;
    const Placement place =
        recipe == Recipe::official
            ? place_official(center_scale(*clean_box(set.file.annotations[4].box, 91, 70), 0.75), joints,
                             coco_skeleton(), {}, 91, 48, 64)
            : place_seed(set.file.annotations[4].box, joints, coco_skeleton(), {.scale = 1.25}, 48, 64);
    std::vector<float> image(sample.image.size()), target(sample.target.size()), weight(17);
    normalize(crop_image(picture, place, 48, 64), image);
    draw_targets(recipe, place.joints, coco_skeleton().joint_weights, 2, 12, 16, target, weight);
    EXPECT_EQ(sample.image, image);
    EXPECT_EQ(sample.target, target);
    EXPECT_EQ(sample.weight, weight);
    EXPECT_EQ(sample.meta.center[0], place.place.center[0]);
    EXPECT_EQ(sample.meta.scale[1], place.place.scale[1]);
    const double w = place.place.scale[0] * 200.0F, h = place.place.scale[1] * 200.0F;
    EXPECT_NEAR(sample.meta.area, w * h, 1e-9 * w * h);
    EXPECT_EQ(data.crop(4, 0).rgb, crop_image(picture, place, 48, 64).rgb);
  }
}

TEST(Dataset, TheRecipesKeepDifferentPeople) {
  MadeSet made(2);
  auto& people = made.file.annotations;
  people[0].iscrowd = true;
  people[1].category_id = 2;
  std::fill(people[2].keypoints.begin(), people[2].keypoints.end(), 0.0);
  people[3].box = {200, 5, 10, 10};  // outside of the picture
  people[4].box = {10, 10, 0, 20};   // the official clean-up keeps it (w = max(0, w - 1)), the seed does not
  const PoseDataset official = made.dataset();
  EXPECT_EQ(official.size(), 2u);
  EXPECT_EQ(official.counts().crowd, 1u);
  EXPECT_EQ(official.counts().other_category, 1u);
  EXPECT_EQ(official.counts().without_joints, 1u);
  EXPECT_EQ(official.counts().bad_box, 1u);
  EXPECT_TRUE(contains(official.counts().summary(), "6 annotations: 2 kept, 1 crowd"));
  made.options.recipe = Recipe::seed;
  const PoseDataset seed = made.dataset();
  EXPECT_EQ(seed.size(), 3u);  // the crowd, the one outside, and the last
  EXPECT_EQ(seed.counts().bad_box, 1u);
  people.resize(3);
  made.options.recipe = Recipe::official;
  const std::string message = test::error_of([&] { made.dataset(); });
  EXPECT_TRUE(contains(message, "made.json") && contains(message, "3 annotations: 0 kept, 1 crowd")) << message;
}

// Boxes are clipped to the picture. If the entry does not give its size, the picture itself is read.
TEST(Dataset, APictureWhoseEntryHasNoSizeIsAskedForIt) {
  MadeSet made(3);
  const PoseDataset sized = made.dataset();
  made.file.images[1].width = made.file.images[1].height = 0;
  const PoseDataset data = made.dataset();
  ASSERT_EQ(data.size(), sized.size());
  EXPECT_EQ(data.annotations().images[1].width, 91);
  EXPECT_EQ(data.annotations().images[1].height, 70);
  EXPECT_EQ(data.sample(4, 0).image, sized.sample(4, 0).image);
  // Without the picture its people are left out, and a message names it.
  fs::remove(made.folder / "p1.jpg");
  const PoseDataset without = made.dataset();
  EXPECT_EQ(without.size(), 6u);
  EXPECT_EQ(without.counts().bad_picture, 3u);
  ASSERT_EQ(without.bad().size(), 1u);
  EXPECT_TRUE(contains(without.bad().entries()[0].message, "p1.jpg"));
  EXPECT_EQ(without.bad().entries()[0].people, 3u);
}

TEST(Dataset, DetectionsAreNotClippedAndKeepTheirScore) {
  const MadeSet made(2);
  std::vector<CocoDetection> detections = {{101, 1, {-5, 2, 40, 60}, {}, 0.5, true},
                                           {101, 1, {1, 2, 30, 40}, {}, 0.01, true},
                                           {100, 3, {1, 2, 30, 40}, {}, 0.9, true},
                                           {999, 1, {1, 2, 30, 40}, {}, 0.9, true},
                                           {100, 1, {1, 2, 0, 40}, {}, 0.9, true}};
  const PoseDataset data =
      PoseDataset::from_detections(made.file, detections, made.folder, coco_skeleton(), made.options, 0.1);
  ASSERT_EQ(data.size(), 1u);
  EXPECT_EQ(data.counts().low_score, 1u);
  EXPECT_EQ(data.counts().unknown_image, 1u);
  EXPECT_EQ(data.counts().other_category, 1u);
  EXPECT_EQ(data.counts().bad_box, 1u);
  const Sample sample = data.sample(0, 0);
  EXPECT_EQ(sample.meta.center[0], 15.0F);
  EXPECT_EQ(sample.meta.box_score, 0.5F);
  EXPECT_EQ(sample.meta.annotation_id, 0);
  for (const float w : sample.weight) EXPECT_EQ(w, 0.0F);
  for (const float t : sample.target) EXPECT_EQ(t, 0.0F);
  detections.resize(0);
  EXPECT_TRUE(contains(test::error_of([&] {
                         PoseDataset::from_detections(made.file, detections, made.folder, coco_skeleton(),
                                                      made.options);
                       }),
                       "0 detections"));
}

TEST(Dataset, AugmentedSamplesDependOnSeedEpochAndIndexOnly) {
  MadeSet made;
  made.options.augment = true;
  const PoseDataset a = made.dataset(), b = made.dataset();
  EXPECT_EQ(a.sample(3, 1).image, b.sample(3, 1).image);
  EXPECT_EQ(a.sample(3, 1).target, b.sample(3, 1).target);
  EXPECT_NE(a.sample(3, 1).image, a.sample(3, 2).image);
  made.options.seed = 5;
  EXPECT_NE(a.sample(3, 1).image, made.dataset().sample(3, 1).image);
  // Without augmentation the epoch has no influence.
  made.options.augment = false;
  EXPECT_EQ(made.dataset().sample(3, 1).image, made.dataset().sample(3, 2).image);
}

TEST(Dataset, ACacheOfAnySizeChangesNothing) {
  MadeSet made(8);
  const size_t one = 97 * 70 * 3;
  made.options.cache_bytes = 0;
  const PoseDataset none = made.dataset();
  // The cache has room for some pictures, for nearly all, or for all.
  for (const size_t bytes : {3 * one, 17 * one, size_t{1} << 30}) {
    made.options.cache_bytes = bytes;
    const PoseDataset some = made.dataset();
    for (int round = 0; round < 2; ++round) {
      for (size_t i = 0; i < none.size(); ++i) ASSERT_EQ(some.sample(i, 0).image, none.sample(i, 0).image);
    }
  }
  // Cached pictures outlive their files. Three people of one picture need one decoding.
  const PoseDataset cached = made.dataset();
  const Sample before = cached.sample(0, 0);
  fs::remove(made.folder / "p0.jpg");
  EXPECT_EQ(cached.sample(0, 0).image, before.image);
  EXPECT_THROW(none.sample(0, 0), Error);
}

TEST(Dataset, MissingEmptyOrForeignPicturesAreNamed) {
  MadeSet made(4);
  fs::remove(made.folder / "p1.jpg");
  write_file(made.folder / "p2.jpg", "");
  PoseDataset data = made.dataset();
  data.check_pictures();
  const auto bad = data.bad().entries();
  ASSERT_EQ(bad.size(), 2u);
  EXPECT_TRUE(contains(bad[0].message, (made.folder / "p1.jpg").string())) << bad[0].message;
  EXPECT_TRUE(contains(bad[1].message, (made.folder / "p2.jpg").string())) << bad[1].message;
  EXPECT_TRUE(contains(test::error_of([&] { data.sample(3, 0); }), "p1.jpg: no such picture"));
  EXPECT_TRUE(contains(test::error_of([&] { data.sample(6, 0); }), "p2.jpg: empty file"));
  made.file.images[0].file_name = "val/p0.jpg";
  EXPECT_TRUE(contains(test::error_of([&] { made.dataset().sample(0, 0); }), "a plain \"p0.jpg\" is not looked for"));
  made.file.images[3].width = 50;
  const std::string size = test::error_of([&] { made.dataset().sample(9, 0); });
  EXPECT_TRUE(contains(size, "93 x 70") && contains(size, "50 x 70") && contains(size, "made.json")) << size;
  PoseDataset whole = MadeSet(2).dataset();
  whole.check_pictures();
  EXPECT_EQ(whole.bad().size(), 0u);
}

TEST(Dataset, RefusesShapesThatCannotWork) {
  MadeSet made(1);
  made.options.input_w = 50;
  EXPECT_TRUE(contains(test::error_of([&] { made.dataset(); }), "multiples of 4"));
  made.options.input_w = 48;
  made.file.annotations[1].keypoints.resize(48);
  EXPECT_TRUE(contains(test::error_of([&] { made.dataset(); }), "annotations[1] (id 2): 48 keypoint numbers"));
}

TEST(Dataset, GoldenSampleKeepsTheReferencesPeople) {
  HR_NEEDS_ORACLE("coco_sample/test_coco.json");
  const auto golden = parse_json_file(test::oracle("transforms/transforms.json"));
  const PoseDataset data = PoseDataset::from_annotations(read_coco(test::oracle("coco_sample/test_coco.json"), 17),
                                                         test::oracle("coco_sample"), coco_skeleton(), {});
  const Json& people = golden["people"];
  ASSERT_EQ(data.size(), people.Size());
  for (const Json& want : people.GetArray()) {
    const auto found = std::find_if(data.people().begin(), data.people().end(),
                                    [&](const Person& p) { return p.annotation_id == want["ann_id"].GetInt64(); });
    ASSERT_NE(found, data.people().end());
    const Box clean = test::box(want["clean_bbox"]);
    EXPECT_EQ(found->box.x, clean.x);
    EXPECT_EQ(found->box.w, clean.w);
    const Json& eval = want["official"][0];
    const auto index = static_cast<size_t>(found - data.people().begin());
    const Sample sample = data.sample(index, 0);
    test::expect_matrix(sample.meta.heatmap_to_image, eval["inverse_matrix_heatmap_rot0"], "heatmap to image");
    for (unsigned k = 0; k < 17; ++k) EXPECT_EQ(sample.weight[k], eval["target"][k]["weight"].GetFloat());
    if (!eval.HasMember("crop")) continue;
    test::expect_same_picture(data.crop(index, 0),
                              read_image(test::oracle(std::string("transforms/") + eval["crop"].GetString())), "crop");
  }
}

// ---- loader ----

std::vector<Batch> all_batches(Loader& loader, uint64_t epoch, size_t first = 0) {
  std::vector<Batch> out;
  Batch batch;
  loader.start_epoch(epoch, first);
  while (loader.next(batch)) out.push_back(batch);  // a copy, because the loader reuses the memory of `batch`
  return out;
}

void expect_same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].size, b[i].size);
    EXPECT_EQ(a[i].images, b[i].images);
    EXPECT_EQ(a[i].targets, b[i].targets);
    EXPECT_EQ(a[i].weights, b[i].weights);
    for (int n = 0; n < a[i].size; ++n) EXPECT_EQ(a[i].meta[n].index, b[i].meta[n].index);
  }
}

TEST(Loader, TheNumberOfWorkersChangesNothing) {
  MadeSet made(7);
  made.options.augment = true;
  const PoseDataset data = made.dataset();
  Loader alone(data, {.batch_size = 4, .workers = 0, .shuffle = true, .seed = 3});
  const auto want = all_batches(alone, 2);
  ASSERT_EQ(want.size(), 6u);  // 21 people
  EXPECT_EQ(want.back().size, 1);
  EXPECT_EQ(want.back().images.size(), 64u * 48 * 3);
  for (const int workers : {1, 2, 5}) {
    for (const int prefetch : {1, 3}) {
      Loader loader(data, {.batch_size = 4, .workers = workers, .shuffle = true, .prefetch = prefetch, .seed = 3});
      expect_same(all_batches(loader, 2), want);
      EXPECT_NE(all_batches(loader, 3)[0].images, want[0].images);
      expect_same(all_batches(loader, 2), want);
    }
  }
  Loader late(data, {.batch_size = 4, .workers = 2, .shuffle = true, .seed = 3});
  expect_same(all_batches(late, 2, 4), {want[4], want[5]});
}

TEST(Loader, EpochsArePermutations) {
  const PoseDataset data = MadeSet(9).dataset();
  Loader loader(data, {.batch_size = 5, .workers = 0, .shuffle = true, .seed = 8});
  std::vector<std::vector<size_t>> orders;
  for (uint64_t epoch = 0; epoch < 6; ++epoch) {
    loader.start_epoch(epoch);
    std::vector<size_t> order = loader.order();
    orders.push_back(order);
    std::sort(order.begin(), order.end());
    for (size_t i = 0; i < order.size(); ++i) ASSERT_EQ(order[i], i);
    for (uint64_t other = 0; other < epoch; ++other) EXPECT_NE(orders[other], orders[epoch]);
  }
  Loader again(data, {.batch_size = 2, .workers = 0, .shuffle = true, .seed = 8}),
      other(data, {.shuffle = true, .seed = 9});
  again.start_epoch(4);
  other.start_epoch(4);
  EXPECT_EQ(again.order(), orders[4]);
  EXPECT_NE(other.order(), orders[4]);
  // Every place is equally likely for every sample: the chi-square of sample 0's place over many epochs, with 26
  // degrees of freedom.
  std::vector<int> places(data.size());
  constexpr int epochs = 2700;
  for (uint64_t epoch = 0; epoch < epochs; ++epoch) {
    loader.start_epoch(epoch);
    ++places[std::find(loader.order().begin(), loader.order().end(), size_t{0}) - loader.order().begin()];
  }
  double chi = 0;
  const double expected = static_cast<double>(epochs) / static_cast<double>(places.size());
  for (const int n : places) chi += (n - expected) * (n - expected) / expected;
  EXPECT_LT(chi, 62) << "p < 1e-4";
}

TEST(Loader, DropLastAndPlainOrder) {
  const PoseDataset data = MadeSet(3).dataset();  // 9 people
  Loader loader(data, {.batch_size = 4, .workers = 2, .drop_last = true});
  EXPECT_EQ(loader.batches(), 2u);
  const auto batches = all_batches(loader, 0);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[1].meta[3].index, 7u);
  Batch batch;
  EXPECT_FALSE(loader.next(batch));
  EXPECT_GT(loader.wait_seconds(), 0.0);
  EXPECT_TRUE(contains(test::error_of([&] { Loader(data, {.batch_size = 10, .drop_last = true}); }), "made.json"));
  EXPECT_THROW(Loader(data, {.batch_size = 0}), Error);
  EXPECT_THROW(Loader(data, {.workers = -1}), Error);
  EXPECT_THROW(Loader(data, {.prefetch = 0}), Error);
}

TEST(Loader, AnErrorComesWithItsBatchAndEndsTheEpoch) {
  const MadeSet made(6);  // 18 people; picture 4 holds 12, 13, 14
  const std::string bytes = read_file(made.folder / "p4.jpg");
  write_file(made.folder / "p4.jpg", bytes.substr(0, bytes.size() / 2));
  const PoseDataset data = made.dataset();
  for (const int workers : {0, 1, 3}) {
    Loader loader(data, {.batch_size = 4, .workers = workers});
    loader.start_epoch(0);
    Batch batch;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(loader.next(batch)) << i;
    const std::string message = test::error_of([&] { loader.next(batch); });
    EXPECT_TRUE(contains(message, (made.folder / "p4.jpg").string()) && contains(message, "truncated")) << message;
    EXPECT_FALSE(loader.next(batch));
    loader.start_epoch(1);  // it can start again
    EXPECT_TRUE(loader.next(batch));
  }
}

TEST(Loader, MayBeLeftAtAnyMoment) {
  const PoseDataset data = MadeSet(6).dataset();
  for (int taken = 0; taken < 4; ++taken) {
    Loader loader(data, {.batch_size = 2, .workers = 3, .prefetch = 2});
    Batch batch;
    EXPECT_FALSE(loader.next(batch)) << "no epoch yet";
    loader.start_epoch(0);
    for (int i = 0; i < taken; ++i) loader.next(batch);
    loader.start_epoch(1);
    for (int i = 0; i < taken; ++i) loader.next(batch);
  }
}

}  // namespace
}  // namespace hr
