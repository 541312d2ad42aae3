#include "data/skeleton.h"

#include <gtest/gtest.h>

#include "tests/data/golden.h"

namespace hr {
namespace {

using test::contains;

constexpr const char* good = R"({
  "keypoints": ["head", "left_hand", "right_hand"], "skeleton": [[1, 2], [1, 3]], "flip_pairs": [[1, 2]],
  "kps_weights": [1, 1.5, 1.5], "upper_body_ids": [0], "lower_body_ids": [1, 2]})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

Skeleton read(const std::string& text) {
  const auto path = test::temporary_folder() / "joints.json";
  write_file(path, text);
  return read_skeleton(path);
}

TEST(Skeleton, CocoIsComplete) {
  const Skeleton& s = coco_skeleton();
  ASSERT_EQ(s.joints(), 17);
  EXPECT_EQ(s.limbs.size(), 19u);
  EXPECT_EQ(s.joint_weights.size(), 17u);
  EXPECT_EQ(s.sigmas[0], .26 / 10);  // the reference divides; .026 differs in its last bit
  EXPECT_EQ(s.sigmas[16], 0.089);
  EXPECT_EQ(s.upper_ids.size() + s.lower_ids.size(), 17u);
  const auto mirror = s.mirror();
  for (int k = 0; k < 17; ++k) {
    EXPECT_EQ(mirror[mirror[k]], k);
    if (contains(s.names[k], "left")) {
      EXPECT_EQ(s.names[mirror[k]], "right" + s.names[k].substr(4));
    }
  }
}

TEST(Skeleton, ReadsAllFields) {
  const Skeleton s = read(good);
  EXPECT_EQ(s.names[2], "right_hand");
  EXPECT_EQ(s.limbs, (std::vector<std::pair<int, int>>{{0, 1}, {0, 2}}));
  EXPECT_EQ(s.mirror(), (std::vector<int>{0, 2, 1}));
  EXPECT_EQ(s.joint_weights, (std::vector<float>{1, 1.5F, 1.5F}));
  EXPECT_EQ(s.sigmas, (std::vector<double>{0.05, 0.05, 0.05}));
  EXPECT_EQ(read(replaced(good, "\"kps_weights\"", "\"other\"")).joint_weights, (std::vector<float>{1, 1, 1}));
}

TEST(Skeleton, NamesFileAndFieldOfEveryMistake) {
  const auto why = [](const std::string& from, const std::string& to) {
    return test::error_of([&] { read(replaced(good, from, to)); });
  };
  EXPECT_TRUE(contains(why("[1, 3]]", "[1, 4]]"), "skeleton[1]: joint 4 does not exist, expected 1..3"));
  EXPECT_TRUE(contains(why("[1, 3]]", "[0, 3]]"), "skeleton[1]"));
  EXPECT_TRUE(contains(why("[[1, 2]],", "[[1, 3]],"), "flip_pairs[0]: joint 3"));
  EXPECT_TRUE(contains(why("[[1, 2]],", "[[1, 1]],"), "flip_pairs[0]"));
  EXPECT_TRUE(contains(why("[[1, 2]],", "[[1, 2], [2, 0]],"), "in two pairs"));
  EXPECT_TRUE(contains(why("[[1, 2]],", "[1, 2],"), "flip_pairs[0]: expected a pair"));
  EXPECT_TRUE(contains(why("[1, 1.5, 1.5]", "[1, 1.5]"), "kps_weights: expected 3 numbers, one per joint, got 2"));
  EXPECT_TRUE(contains(why("[1, 1.5, 1.5]", "[1, -1.5, 1.5]"), "kps_weights[1]"));
  EXPECT_TRUE(contains(why("[1, 1.5, 1.5]", "7"), "kps_weights: expected a list"));
  EXPECT_TRUE(contains(why("[1, 2]}", "[1, 7]}"), "lower_body_ids[1]: joint 7"));
  EXPECT_TRUE(contains(why("[1, 2]}", "[0, 2]}"), "listed twice"));
  EXPECT_TRUE(contains(why("\"keypoints\"", "\"names\""), "keypoints: expected the list"));
  EXPECT_TRUE(contains(why("\"head\"", "5"), "keypoints[0]"));
  EXPECT_TRUE(contains(why("[1, 2]}", "[1, 2]"), "joints.json:3:"));
  EXPECT_TRUE(contains(test::error_of([] { read("[1]"); }), "joints.json"));
  EXPECT_TRUE(contains(test::error_of([] { read_skeleton("/no/such/joints.json"); }), "/no/such/joints.json"));
}

}  // namespace
}  // namespace hr
