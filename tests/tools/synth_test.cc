#include "tools/synth/synth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "data/formats/skeleton.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

const std::vector<PictureSize> kSizes{{320, 240}, {240, 320}, {480, 360}};
constexpr int kScenes = 120;

const std::vector<SynthScene>& scenes() {
  static const std::vector<SynthScene> made = [] {
    std::vector<SynthScene> all;
    all.reserve(kScenes);
    for (int i = 0; i < kScenes; ++i) all.push_back(synth_scene(11, SynthSplit::train, i, kSizes));
    return all;
  }();
  return made;
}

uint8_t mask_at(const SynthScene& s, double x, double y) {
  return s.mask[static_cast<size_t>(y) * s.image.width + static_cast<size_t>(x)];
}

TEST(Synth, AScenesBytesDependOnItsNameOnly) {
  const SynthScene a = synth_scene(3, SynthSplit::train, 5, kSizes), b = synth_scene(3, SynthSplit::train, 5, kSizes);
  EXPECT_EQ(a.image.rgb, b.image.rgb);
  EXPECT_EQ(a.mask, b.mask);
  EXPECT_NE(a.image.rgb, synth_scene(4, SynthSplit::train, 5, kSizes).image.rgb);
  EXPECT_NE(a.image.rgb, synth_scene(3, SynthSplit::val, 5, kSizes).image.rgb);
  EXPECT_NE(a.image.rgb, synth_scene(3, SynthSplit::train, 6, kSizes).image.rgb);
}

TEST(Synth, BoxAndAreaAreThoseOfTheVisibleMask) {
  for (const SynthScene& s : scenes()) {
    for (const SynthPerson& p : s.people) {
      int x0 = s.image.width, y0 = s.image.height, x1 = -1, y1 = -1, area = 0;
      for (int y = 0; y < s.image.height; ++y) {
        for (int x = 0; x < s.image.width; ++x) {
          if (mask_at(s, x, y) != p.mask_value) continue;
          ++area;
          x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
        }
      }
      EXPECT_EQ(p.area, area);
      EXPECT_EQ(p.box.x, x0);
      EXPECT_EQ(p.box.y, y0);
      EXPECT_EQ(p.box.x + p.box.w, x1 + 1);
      EXPECT_EQ(p.box.y + p.box.h, y1 + 1);
    }
  }
}

TEST(Synth, JointsSayTheTruth) {
  std::map<int, int> flags;
  int behind_others = 0;
  for (const SynthScene& s : scenes()) {
    for (const SynthPerson& p : s.people) {
      int labelled = 0;
      for (size_t k = 0; k < 17; ++k) {
        const double x = p.keypoints[k * 3], y = p.keypoints[k * 3 + 1], v = p.keypoints[k * 3 + 2];
        if (p.num_keypoints > 0) ++flags[static_cast<int>(v)];
        if (v == 0) {
          EXPECT_EQ(x, 0);
          EXPECT_EQ(y, 0);
          continue;
        }
        ++labelled;
        ASSERT_TRUE(x >= 0 && y >= 0 && x < s.image.width && y < s.image.height) << x << ' ' << y;
        const bool own = mask_at(s, x, y) == p.mask_value;
        if (v == 2) {
          EXPECT_TRUE(own) << "joint " << k << " is called visible at " << x << ' ' << y;
        } else if (!own && k >= 5) {  // a face may be turned beyond the silhouette of the head
          ++behind_others;
        }
      }
      EXPECT_EQ(p.num_keypoints, labelled);
    }
  }
  const double all = flags[0] + flags[1] + flags[2];
  EXPECT_GT(flags[2] / all, 0.6);
  EXPECT_GT(flags[1] / all, 0.05);
  EXPECT_LT(flags[1] / all, 0.25);
  EXPECT_GT(flags[0] / all, 0.03);
  EXPECT_LT(flags[0] / all, 0.2);
  EXPECT_GT(behind_others, 20);  // hidden by other people and by objects, not only by themselves
}

TEST(Synth, PeopleComeSmallAndLargeAloneAndInCompany) {
  int medium = 0, large = 0;
  std::map<size_t, int> company;
  std::map<int, int> sizes;
  for (const SynthScene& s : scenes()) {
    ++company[s.people.size()];
    ++sizes[s.image.width];
    for (const SynthPerson& p : s.people) {
      if (p.num_keypoints == 0) continue;
      EXPECT_GE(p.area, 32 * 32);
      ++(p.area < 96 * 96 ? medium : large);
    }
  }
  EXPECT_GT(medium, kScenes / 2);
  EXPECT_GT(large, kScenes / 5);
  for (const size_t n : {1U, 2U, 3U, 4U}) EXPECT_GT(company[n], 0) << n;
  EXPECT_EQ(company[0], 0);
  EXPECT_EQ(sizes.size(), kSizes.size());
}

// Seen from the front, a person's left is on the picture's right. From behind it is on the left, and there is no face.
TEST(Synth, LeftAndRightAreThePersonsOwn) {
  int front = 0, front_mirrored = 0, back = 0, back_mirrored = 0;
  for (const SynthScene& s : scenes()) {
    for (const SynthPerson& p : s.people) {
      const auto v = [&](size_t k) { return p.keypoints[k * 3 + 2]; };
      const auto x = [&](size_t k) { return p.keypoints[k * 3]; };
      if (v(5) == 0 || v(6) == 0) continue;
      if (v(0) == 2 && v(1) == 2 && v(2) == 2) {
        ++front;
        front_mirrored += x(5) < x(6);
        EXPECT_GT(x(1), x(2)) << "the left eye of a face";
      } else if (v(0) == 0 && v(1) == 0 && v(2) == 0) {
        ++back;
        back_mirrored += x(5) > x(6);
      }
    }
  }
  EXPECT_GT(front, 40);
  EXPECT_GT(back, 15);
  EXPECT_LE(front_mirrored, front / 10);  // a head may be turned further than its shoulders
  EXPECT_LE(back_mirrored, back / 10);
}

std::map<std::string, std::string> bytes_of(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) all[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return all;
}

SynthOptions small_set(const fs::path& folder) {
  SynthOptions o;
  o.output = folder.string();
  o.train_images = 7;
  o.val_images = 3;
  o.seed = 5;
  o.sizes = {{320, 240}, {160, 200}};
  o.threads = 1;
  return o;
}

TEST(SynthDataset, BytesDoNotDependOnTheThreads) {
  SynthOptions one = small_set(test::temporary_folder() / "one"), three = small_set(test::temporary_folder() / "three");
  three.threads = 3;
  EXPECT_TRUE(synth(one));
  EXPECT_TRUE(synth(three));
  const auto files = bytes_of(one.output);
  EXPECT_EQ(files.size(), 7U + 3 + 2 + 2);
  EXPECT_TRUE(files.contains("train2017/000000000001.jpg"));
  EXPECT_EQ(files, bytes_of(three.output));
}

TEST(SynthDataset, TheReadersReadIt) {
  const SynthOptions o = small_set(test::temporary_folder());
  synth(o);
  const fs::path root = o.output;
  std::vector<int64_t> first_ids;
  for (const SynthSplit split : {SynthSplit::train, SynthSplit::val}) {
    const std::string name = split == SynthSplit::train ? "train" : "val";
    const CocoAnnotations coco = read_coco(root / "annotations" / ("person_keypoints_" + name + "2017.json"), 17);
    ASSERT_EQ(coco.images.size(), split == SynthSplit::train ? 7U : 3U);
    first_ids.push_back(coco.images[0].id);
    ASSERT_EQ(coco.categories.size(), 1U);
    EXPECT_EQ(coco.categories[0].keypoints, coco_skeleton().names);
    size_t next = 0;
    for (size_t i = 0; i < coco.images.size(); ++i) {
      const Image picture = read_image(root / (name + "2017") / coco.images[i].file_name);
      EXPECT_EQ(picture.width, coco.images[i].width);
      EXPECT_EQ(picture.height, coco.images[i].height);
      const SynthScene scene = synth_scene(o.seed, split, static_cast<int64_t>(i), o.sizes);
      for (const SynthPerson& p : scene.people) {
        ASSERT_LT(next, coco.annotations.size());
        const CocoAnnotation& a = coco.annotations[next++];
        EXPECT_EQ(a.image_id, coco.images[i].id);
        EXPECT_EQ(a.num_keypoints, p.num_keypoints);
        EXPECT_EQ(a.area, p.area);
        EXPECT_FALSE(a.iscrowd);
        EXPECT_EQ(a.keypoints, std::vector<double>(p.keypoints.begin(), p.keypoints.end()));
      }
    }
    EXPECT_EQ(next, coco.annotations.size());
  }
  EXPECT_NE(first_ids[0], first_ids[1]);

  const Skeleton read = read_skeleton(root / "person_keypoints.json"), &built_in = coco_skeleton();
  EXPECT_EQ(read.names, built_in.names);
  EXPECT_EQ(read.limbs, built_in.limbs);
  EXPECT_EQ(read.flip_pairs, built_in.flip_pairs);
  EXPECT_EQ(read.joint_weights, built_in.joint_weights);
  EXPECT_EQ(read.upper_ids, built_in.upper_ids);
  EXPECT_EQ(read.lower_ids, built_in.lower_ids);
}

TEST(SynthDataset, IsReusedMendedOrRefused) {
  const SynthOptions o = small_set(test::temporary_folder());
  const fs::path root = o.output, picture = root / "val2017" / "000000500002.jpg";
  EXPECT_TRUE(synth(o));
  const auto files = bytes_of(root);
  const auto written = fs::last_write_time(picture);
  EXPECT_FALSE(synth(o));
  EXPECT_EQ(fs::last_write_time(picture), written);

  fs::remove(picture);
  EXPECT_TRUE(synth(o));
  EXPECT_EQ(bytes_of(root), files);

  std::string stamp = files.at("synth.json");  // as an interrupted run leaves it
  stamp.replace(stamp.find("true}"), 5, "false}");
  write_file(root / "synth.json", stamp);
  EXPECT_TRUE(synth(o));
  EXPECT_EQ(bytes_of(root), files);

  SynthOptions other = o;
  other.seed = 6;
  try {
    synth(other);
    ADD_FAILURE() << "another seed was accepted";
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const char* part : {"--output", "seed: 5", "seed: 6"})
      EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  EXPECT_EQ(bytes_of(root), files);
}

TEST(SynthDataset, ForeignFoldersAndWrongNumbersAreRefused) {
  const fs::path folder = test::temporary_folder();
  write_file(folder / "thesis.txt", "precious");
  EXPECT_THROW(synth(small_set(folder)), Error);
  EXPECT_THROW(synth(small_set(folder / "thesis.txt")), Error);
  EXPECT_EQ(bytes_of(folder).size(), 1U);

  SynthOptions o = small_set(folder / "new");
  o.val_images = 0;
  EXPECT_THROW(synth(o), Error);
  o = small_set(folder / "new");
  o.sizes.clear();
  EXPECT_THROW(synth(o), Error);
  EXPECT_FALSE(fs::exists(folder / "new"));

  EXPECT_EQ(parse_picture_size("640x480"), (PictureSize{640, 480}));
  for (const char* text : {"640", "640x", "x480", "640x480x3", "640 480", "-640x480", "63x480", "5000x480", ""}) {
    EXPECT_THROW(parse_picture_size(text), Error) << text;
  }
}

}  // namespace
}  // namespace hr
