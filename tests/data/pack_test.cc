#include "data/pack/pack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "data/loader.h"
#include "tests/data/made_set.h"
#include "tests/fuzz/pack_sums.h"

namespace hr {
namespace {

using test::contains;
using test::error_of;
using test::MadeSet;

struct PackedSet : MadeSet {
  fs::path path = test::temporary_folder() / "made.pack";
  PackedSet() : MadeSet(7) {
    options.augment = true;
    options.cache_bytes = 0;
  }
  void write() const {
    const PoseDataset train = dataset();
    DatasetOptions plain = options;
    plain.augment = false;
    const PoseDataset val = PoseDataset::from_annotations(file, folder, coco_skeleton(), plain);
    const PackInput splits[] = {{"train", &train}, {"val", &val}};
    write_pack(path, splits, 2);
  }
};

TEST(Pack, TrainingFromItHasTheBytesOfTrainingFromPictures) {
  for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
    PackedSet made;
    made.options.recipe = recipe;
    made.write();
    const Pack pack(made.path);
    EXPECT_EQ(pack.splits(), (std::vector<std::string>{"train", "val"}));
    pack.verify();
    // The pack works at any resolution of the same ratio, with as much augmentation or less, and with any changes of
    // colour.
    for (const int times : {1, 2}) {
      for (const double part : {1.0, 0.3}) {
        DatasetOptions o = made.options;
        o.input_h *= times;
        o.input_w *= times;
        o.augmentation.scale *= part;
        o.augmentation.rotation *= part;
        o.augmentation.photometric = 1 - part;
        if (recipe == Recipe::official && times == 2) o.encoding = Encoding::udp;
        const PoseDataset plain = PoseDataset::from_annotations(made.file, made.folder, coco_skeleton(), o);
        PoseDataset packed = pack.dataset("train", o);
        ASSERT_EQ(packed.size(), plain.size());
        packed.check_pictures();
        for (uint64_t epoch = 0; epoch < 12; ++epoch) {
          for (size_t i = 0; i < plain.size(); ++i) {
            const Sample a = packed.sample(i, epoch), b = plain.sample(i, epoch);
            ASSERT_EQ(a.image, b.image) << "person " << i << ", epoch " << epoch;
            ASSERT_EQ(a.target, b.target);
            ASSERT_EQ(a.weight, b.weight);
            ASSERT_EQ(a.meta.annotation_id, b.meta.annotation_id);
          }
        }
      }
    }
    DatasetOptions plain_crops = made.options;
    plain_crops.augment = false;
    const PoseDataset val = pack.dataset("val", plain_crops),
                      want = PoseDataset::from_annotations(made.file, made.folder, coco_skeleton(), plain_crops);
    for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(val.sample(i, 0).image, want.sample(i, 0).image);
    // Validation uses people that were packed for training.
    EXPECT_EQ(pack.dataset("train", plain_crops).sample(3, 0).image, want.sample(3, 0).image);
  }
}

TEST(Pack, KeepsTheAnnotationsAndTheSkeleton) {
  PackedSet made;
  made.file.annotations[4].iscrowd = true;
  made.file.categories.push_back({1, "person", coco_skeleton().names, {{1, 2}}});
  made.file.images[2].crowd_index = 0.25;
  made.write();
  const Pack pack(made.path);
  DatasetOptions plain = made.options;
  plain.augment = false;
  const PoseDataset val = pack.dataset("val", plain);
  const CocoAnnotations& got = val.annotations();
  EXPECT_EQ(got.path, made.file.path);
  ASSERT_EQ(got.images.size(), 7u);
  EXPECT_EQ(got.images[6].file_name, "p6.jpg");
  EXPECT_EQ(got.images[2].crowd_index, 0.25);
  ASSERT_EQ(got.annotations.size(), 21u);
  EXPECT_TRUE(got.annotations[4].iscrowd);
  EXPECT_EQ(got.annotations[20].keypoints, made.file.annotations[20].keypoints);
  EXPECT_EQ(got.annotations[20].box.h, made.file.annotations[20].box.h);
  ASSERT_EQ(got.categories.size(), 1u);
  EXPECT_EQ(got.categories[0].keypoints, coco_skeleton().names);
  EXPECT_EQ(pack.skeleton().sigmas, coco_skeleton().sigmas);
  EXPECT_EQ(pack.skeleton().flip_pairs, coco_skeleton().flip_pairs);
  const PackSize size = pack.size("train"), told = pack_size(made.dataset());
  EXPECT_EQ(size.people, 20u);
  EXPECT_EQ(size.bytes, told.bytes);
  EXPECT_EQ(size.blocks, told.blocks);
  EXPECT_EQ(size.pictures, 7u);
}

TEST(Pack, SaysWhatItWasNotMadeFor) {
  PackedSet made;
  made.options.categories = {1};
  made.options.augmentation.half_body = 0;
  made.write();
  const Pack pack(made.path);
  const auto why = [&](const std::function<void(DatasetOptions&)>& change, const char* split = "train") {
    DatasetOptions o = made.options;
    change(o);
    std::string message = error_of([&] { pack.dataset(split, o); });
    EXPECT_TRUE(contains(message, "made.pack")) << message;
    return message;
  };
  EXPECT_TRUE(contains(why([](auto& o) { o.recipe = Recipe::seed; }), "`recipe` seed"));
  EXPECT_TRUE(contains(why([](auto& o) { o.input_w = 64; }), "packed for inputs of 64 x 48, asked is 64 x 64"));
  EXPECT_TRUE(contains(why([](auto& o) { o.augmentation.scale = 0.4; }), "`scale_factor` 0.4"));
  EXPECT_TRUE(contains(why([](auto& o) { o.augmentation.rotation = 60; }), "`rot_factor` 60"));
  EXPECT_TRUE(contains(why([](auto& o) { o.augmentation.half_body = 0.1; }), "without half bodies"));
  EXPECT_TRUE(contains(why([](auto& o) { o.categories = {}; }), "packed for categories [1], asked are []"));
  EXPECT_TRUE(contains(why([](auto&) {}, "val"), "without margin for augmentation"));
  EXPECT_TRUE(contains(why([](auto&) {}, "test"), "no split \"test\"; there are: train, val"));
}

TEST(Pack, EveryDamagedByteIsNoticed) {
  PackedSet made;
  made.file.images.resize(2);
  made.file.annotations.resize(6);
  made.write();
  const std::string whole = read_file(made.path);
  // The bytes do not depend on the number of threads.
  {
    const PoseDataset train = made.dataset();
    const PackInput one{"train", &train};
    const fs::path a = made.folder / "a.pack", b = made.folder / "b.pack";
    write_pack(a, std::span(&one, 1), 1);
    write_pack(b, std::span(&one, 1), 5);
    EXPECT_EQ(read_file(a), read_file(b));
  }
  const fs::path path = made.folder / "damaged.pack";
  Philox random(3, 0, 0);
  size_t padding = 0, tried = 0;
  for (int round = 0; round < 400; ++round) {
    // Changes every byte of the header, and many bytes of the pixels and of the index.
    const size_t at = round < 64 ? static_cast<size_t>(round) : random.below(whole.size());
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
    std::ofstream(path, std::ios::binary) << bytes;
    ++tried;
    const std::string why = error_of([&] {
      const Pack pack(path);
      pack.verify();
    });
    // Only the zeros between blocks have no meaning.
    padding += static_cast<size_t>(why.empty());
    if (why.empty()) {
      EXPECT_EQ(whole[at], '\0') << at;
    }
    EXPECT_TRUE(why.empty() || contains(why, "damaged.pack")) << why;
  }
  EXPECT_LT(padding, tried / 4);
  for (const size_t keep : {size_t{0}, size_t{5}, size_t{63}, size_t{64}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, keep);
    EXPECT_TRUE(contains(error_of([&] { Pack{path}; }), "damaged.pack")) << keep;
  }
  std::string next = whole;
  next[8] = 2;
  std::ofstream(path, std::ios::binary) << next;
  EXPECT_TRUE(contains(error_of([&] { Pack{path}; }), "a pack of version 2; this program reads version 1"));
  // A block is checked when it is first used. Its people fail, and the others do not.
  std::string pixels = whole;
  pixels[100] = static_cast<char>(pixels[100] ^ 1);
  std::ofstream(path, std::ios::binary) << pixels;
  DatasetOptions o = made.options;
  const PoseDataset data = Pack(path).dataset("train", o);
  EXPECT_TRUE(
      contains(error_of([&] { data.sample(0, 0); }), "damaged.pack: p0.jpg: the pixels at byte 64 are damaged"));
  EXPECT_EQ(error_of([&] { data.sample(4, 0); }), "");
  o.substitute_bad = true;
  EXPECT_EQ(Pack(path).dataset("train", o).sample(0, 0).meta.index, 3u);
}

// These lists have no entries and thus no memory to copy to: here the categories of a dataset that keeps all of them.
TEST(Pack, EmptyListsAreRead) {
  PackedSet made;
  made.options.categories = {};
  made.write();
  const Pack pack(made.path);
  EXPECT_TRUE(pack.limits("train").categories.empty());
  EXPECT_EQ(pack.dataset("train", made.options).size(), made.dataset().size());
}

// The checksums are right but the numbers are not: a picture of -2^31 columns with a block in its column 1. After
// wrapping around, -2^31 - 1 would have room for it.
TEST(Pack, ABlockOfAPictureOfNegativeSizeIsRefused) {
  PackedSet made;
  const PoseDataset train = made.dataset();
  const PackInput one{"train", &train};
  write_pack(made.path, std::span(&one, 1), 1);
  std::string bytes = read_file(made.path);
  const auto put = [&](size_t at, int32_t value) { std::memcpy(bytes.data() + at, &value, sizeof value); };
  const size_t name = bytes.find("p6.jpg"), block = bytes.size() - 36;  // of the last picture, and the last block
  ASSERT_NE(name, std::string::npos);
  const auto refusal = [&] {
    test::repair_pack(bytes);
    std::ofstream(made.path, std::ios::binary) << bytes;
    return error_of([&] { Pack{made.path}; });
  };
  ASSERT_EQ(refusal(), "");
  put(name + 6, std::numeric_limits<int32_t>::min());
  put(block + 4, 1);
  EXPECT_TRUE(contains(refusal(), "made.pack: damaged index: a block")) << refusal();
}

TEST(Pack, BadPicturesAreErrorsOrLeftOut) {
  PackedSet made;
  write_file(made.folder / "p3.jpg", "nothing");
  EXPECT_TRUE(contains(error_of([&] { made.write(); }), "p3.jpg: not a picture"));
  EXPECT_FALSE(fs::exists(made.path));
  made.options.substitute_bad = true;
  made.write();
  const PoseDataset data = Pack(made.path).dataset("train", made.options);
  EXPECT_EQ(data.size(), 18u);
  EXPECT_EQ(data.annotations().annotations.size(), 21u) << "they still count in an evaluation";
  EXPECT_EQ(data.counts().bad_picture, 3u);
  EXPECT_EQ(Pack(made.path).size("train").people, 18u);
}

TEST(Pack, MpiiPeopleKeepTheirPlaces) {
  const auto folder = test::temporary_folder();
  write_image(folder / "a.jpg", test::made_picture(300, 200));
  MpiiAnnotations file;
  file.path = "train.json";
  file.people.push_back({"a.jpg", {120.5, 80.25}, 0.4, {}, {}});
  for (int k = 0; k < 16; ++k) {
    file.people[0].joints.insert(file.people[0].joints.end(), {100.0 + 3 * k, 60.0 + 2 * k});
    file.people[0].visible.push_back(k % 3 == 0 ? 0 : 1);
  }
  DatasetOptions o{.input_h = 64, .input_w = 64, .augment = true, .cache_bytes = 0};
  o.augmentation.half_body = 0;
  PoseDataset data = PoseDataset::from_mpii(file, folder, built_in_skeleton("mpii"), o);
  const PackInput input{"train", &data};
  EXPECT_TRUE(contains(error_of([&] { write_pack(folder / "m.pack", std::span(&input, 1)); }), "no \"width\""));
  data.check_pictures(1);  // reads the sizes
  write_pack(folder / "m.pack", std::span(&input, 1));
  const PoseDataset packed = Pack(folder / "m.pack").dataset("train", o);
  for (uint64_t epoch = 0; epoch < 30; ++epoch) {
    ASSERT_EQ(packed.sample(0, epoch).image, data.sample(0, epoch).image);
    ASSERT_EQ(packed.sample(0, epoch).target, data.sample(0, epoch).target);
  }
}

TEST(Pack, PeopleCloseToEachOtherShareABlock) {
  // Two people are at the ends of a wide picture, and two overlap.
  MadeSet made(1);
  made.file.images[0] = {100, "wide.png", 2000, 100};
  write_image(made.folder / "wide.png", test::made_picture(2000, 100));
  const double x[3] = {20, 30, 1900};
  for (int i = 0; i < 3; ++i) {
    made.file.annotations[i].box = {x[i], 30, 30, 40};
    for (size_t k = 0; k < 51; k += 3) made.file.annotations[i].keypoints[k] = x[i] + static_cast<double>(k % 29);
  }
  made.options.augment = true;
  const PackSize size = pack_size(made.dataset());
  EXPECT_EQ(size.blocks, 2u);
  EXPECT_LT(size.bytes, 2000u * 100 * 3 / 4);
  EXPECT_TRUE(is_pack(made.folder / "wide.png") == false);
}

}  // namespace
}  // namespace hr
