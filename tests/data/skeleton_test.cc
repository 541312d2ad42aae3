#include "data/formats/skeleton.h"

#include <gtest/gtest.h>

#include <numeric>

#include "data/formats/coco.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

using test::contains;

// Checks field by field. The sigmas are assumed, because no built-in skeleton has these joints.
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

TEST(Skeleton, SlipsOfThePenAreNotIgnored) {
  const auto why = [](const std::string& from, const std::string& to) {
    return test::error_of([&] { read(replaced(good, from, to)); });
  };
  EXPECT_TRUE(contains(why("\"flip_pairs\"", "\"flip_pair\""), "is \"flip_pairs\" meant?"));
  EXPECT_TRUE(contains(why("\"kps_weights\": [1, 1.5, 1.5]", "\"sigma\": [1, 1, 1]"), "is \"sigmas\" meant?"));
  EXPECT_TRUE(contains(why("\"left_hand\"", "\"head\""), "keypoints[1]: \"head\" is also joint 0"));
  EXPECT_TRUE(contains(why("\"left_hand\"", "\"\""), "keypoints[1]"));
  EXPECT_TRUE(contains(why("\"kps_weights\": [1, 1.5, 1.5]", "\"name\": 5"), "name: expected a name"));
  EXPECT_TRUE(contains(why("\"kps_weights\": [1, 1.5, 1.5]", "\"sigmas\": [0.1, 0.1]"), "sigmas: expected 3 numbers"));
  EXPECT_TRUE(contains(why("\"kps_weights\": [1, 1.5, 1.5]", "\"sigmas\": [0.1, 0.1, 0]"), "sigmas[2]"));
  EXPECT_EQ(why("\"kps_weights\"", "\"remarks of the author\""), "");
}

// Compares sums of field.md's lists, because one wrong number among 133 is not seen by eye.
TEST(Skeleton, BuiltInFactsAddUp) {
  struct Fact {
    const char* name;
    size_t joints, limbs, pairs;
    double sigmas, weights;
  };
  const Fact facts[] = {{"COCO-17", 17, 19, 8, 1.138, 19.8},    {"MPII-16", 16, 15, 6, 1.288, 18.8},
                        {"CrowdPose-14", 14, 15, 6, 1.15, 8.2}, {"AIC-14", 14, 14, 6, 0.30056174, 16.8},
                        {"Halpe-26", 26, 27, 11, 1.73, 32},     {"COCO-WholeBody-133", 133, 65, 61, 3.861, 133},
                        {"AP-10K-17", 17, 17, 7, 1.138, 19.8}};
  EXPECT_EQ(built_in_skeleton_names().size(), std::size(facts));
  for (const Fact& fact : facts) {
    const Skeleton& s = built_in_skeleton(fact.name);
    EXPECT_EQ(s.names.size(), fact.joints) << fact.name;
    EXPECT_EQ(s.limbs.size(), fact.limbs) << fact.name;
    EXPECT_EQ(s.flip_pairs.size(), fact.pairs) << fact.name;
    EXPECT_NEAR(std::accumulate(s.sigmas.begin(), s.sigmas.end(), 0.0), fact.sigmas, 1e-9) << fact.name;
    EXPECT_NEAR(std::accumulate(s.joint_weights.begin(), s.joint_weights.end(), 0.0), fact.weights, 1e-5) << fact.name;
    EXPECT_EQ(s.upper_ids.size() + s.lower_ids.size(), fact.joints) << fact.name;
    EXPECT_FALSE(s.sigmas_assumed);
    const auto mirror = s.mirror();
    for (int k = 0; k < s.joints(); ++k) {
      // Both sides have the same sigmas, except where each joint was measured by itself.
      if (s.name != "aic" && s.name != "coco_wholebody") {
        EXPECT_EQ(s.sigmas[mirror[k]], s.sigmas[k]) << fact.name << " " << s.names[k];
      }
      const std::string& name = s.names[k];
      if (name.starts_with("left_")) {
        EXPECT_EQ(s.names[mirror[k]], "right_" + name.substr(5));
      }
      if (name.starts_with("L_")) {
        EXPECT_EQ(s.names[mirror[k]], "R_" + name.substr(2));
      }
    }
  }
  EXPECT_EQ(&built_in_skeleton("coco"), &coco_skeleton());
  EXPECT_EQ(&built_in_skeleton("wholebody"), &built_in_skeleton("coco_wholebody"));
  // The outline of the face runs from ear to ear, with the chin on the axis of the mirror.
  const auto mirror = built_in_skeleton("wholebody").mirror();
  EXPECT_EQ(mirror[23], 39);
  EXPECT_EQ(mirror[31], 31);
  EXPECT_TRUE(contains(test::error_of([] { built_in_skeleton("horse"); }), "there are ai"));
}

TEST(Skeleton, NameOrFile) {
  EXPECT_EQ(find_skeleton("").name, "coco");
  EXPECT_EQ(find_skeleton("MPII").joints(), 16);
  EXPECT_TRUE(contains(test::error_of([] { find_skeleton("mpi"); }), "neither a file nor one of the built-in"));
  EXPECT_TRUE(contains(test::error_of([] { find_skeleton("./mpii"); }), "mpii: cannot open"));
  const auto path = test::temporary_folder() / "joints.json";
  write_file(path, good);
  EXPECT_EQ(find_skeleton(path.string()).names[0], "head");
}

TEST(Skeleton, KnownJointsWithoutSigmasHaveTheKnownSigmas) {
  // The seed's file has COCO's joints and no sigmas. Its name and the names of the joints in the middle do not matter.
  std::string names;
  for (const std::string& name : coco_skeleton().names) names += (names.empty() ? "\"" : ", \"") + name + "\"";
  const Skeleton s = parse_skeleton("{\"keypoints\": [" + names + "]}", "seed.json");
  EXPECT_EQ(s.sigmas, coco_skeleton().sigmas);
  EXPECT_FALSE(s.sigmas_assumed);
  EXPECT_TRUE(read(good).sigmas_assumed);
}

TEST(Skeleton, ACategoryDescribesASkeleton) {
  int dropped = 0;
  const std::pair<int, int> limbs[] = {{1, 2}, {2, 3}, {3, 9}, {0, 1}};
  const Skeleton s = skeleton_from_names({"Beak", "L_Wing", "R_Wing", "tail"}, limbs, "birds.json", &dropped);
  EXPECT_EQ(s.flip_pairs, (std::vector<std::pair<int, int>>{{1, 2}}));
  EXPECT_EQ(s.limbs, (std::vector<std::pair<int, int>>{{0, 1}, {1, 2}}));
  EXPECT_EQ(dropped, 2);
  EXPECT_EQ(s.lower_ids, (std::vector<int>{3}));
  EXPECT_TRUE(s.sigmas_assumed);
  EXPECT_EQ(skeleton_from_names({"eye_left", "eyeRight"}, {}, "x").flip_pairs.size(), 1u);
  // AP-10K's own file spells the tail in another way.
  std::vector<std::string> names = built_in_skeleton("ap10k").names;
  names[4] = "Root of tail";
  EXPECT_EQ(skeleton_from_names(names, {}, "x").sigmas, built_in_skeleton("ap10k").sigmas);
  EXPECT_TRUE(contains(test::error_of([] { skeleton_from_names({"left_eye", "l_eye"}, {}, "x"); }), "same name"));
}

TEST(Skeleton, CategoriesOfAnAnnotationFile) {
  const auto path = test::temporary_folder() / "annotations.json";
  write_file(path, R"({"images": [{"nonsense": [1, {}]}], "categories": [
    {"id": 3, "name": "car"}, {"id": 4, "name": "cat", "keypoints": ["left_ear", "right_ear"], "skeleton": [[1, 2]]},
    {"id": 5, "name": "dog", "keypoints": ["left_ear", "right_ear"], "skeleton": []}]})");
  const auto categories = read_coco_categories(path);
  ASSERT_EQ(categories.size(), 3u);
  EXPECT_EQ(category_skeleton(categories, "f").limbs.size(), 1u);
  EXPECT_EQ(category_skeleton(categories, "f", 5).limbs.size(), 0u);
  EXPECT_TRUE(
      contains(test::error_of([&] { category_skeleton(categories, "f", 3); }), "category 3 names no keypoints"));
  EXPECT_TRUE(contains(test::error_of([&] { category_skeleton(categories, "f", 9); }), "category 9"));
  auto other = categories;
  other[2].keypoints.push_back("tail");
  EXPECT_TRUE(contains(test::error_of([&] { category_skeleton(other, "f"); }), "different keypoints"));
}

TEST(Skeleton, TravelsAsOneText) {
  for (const std::string& name : built_in_skeleton_names()) {
    EXPECT_EQ(skeleton_to_text(built_in_skeleton(name)), name) << "a built-in skeleton stays short";
    EXPECT_EQ(skeleton_from_text(name, "x"), built_in_skeleton(name));
  }
  // COCO's joints in other words, joints without sigmas, the sigmas of a file, and two joints of one name.
  std::vector<std::string> names = coco_skeleton().names;
  names[0] = "Nase \"ä\"";
  const std::pair<int, int> limbs[] = {{1, 2}};
  for (Skeleton s :
       {skeleton_from_names(names, {}, "x"), read(good),
        read(replaced(good, "\"kps_weights\"", "\"sigmas\": [0.1, 0.026, 1e-3], \"kps_weights\"")),
        skeleton_from_names({"a", "a", "", "l_ear", "r_ear"}, limbs, "/home/me/animals.json: category 3")}) {
    const std::string text = skeleton_to_text(s);
    EXPECT_FALSE(contains(text, "/")) << "folders are nobody's business: " << text;
    Skeleton again = skeleton_from_text(text, "x");
    again.name = s.name;
    EXPECT_EQ(again, s) << text;
    EXPECT_EQ(skeleton_to_text(skeleton_from_text(text, "x")), text);
  }
}

TEST(Skeleton, ATextOfAStrangerIsLimited) {
  const auto why = [](const std::string& text) {
    return test::error_of([&] { skeleton_from_text(text, "w.safetensors: the skeleton in its metadata"); });
  };
  const auto joints = [](size_t n, const std::string& extra) {
    std::string names;
    for (size_t k = 0; k < n; ++k) names += fmt::format("{}\"{}{}\"", k > 0 ? "," : "", extra, k);
    return "{\"keypoints\":[" + names + "]}";
  };
  EXPECT_EQ(why(joints(1000, "j")), "");
  EXPECT_TRUE(contains(why(joints(1001, "j")), "1001 joints, at most 1000"));
  EXPECT_EQ(why(joints(1, std::string(199, 'n'))), "");
  EXPECT_TRUE(
      contains(why(joints(1, std::string(200, 'n'))), "keypoints[0]: expected a name of at most 200 printable"));
  EXPECT_TRUE(contains(why(joints(2, "\\u001b[2J")), "printable")) << "names are printed on terminals";
  EXPECT_TRUE(contains(why(std::string((1 << 20) + 1, '[')), "bytes"));
  EXPECT_TRUE(contains(why("{" + std::string(100'000, '[')), "w.safetensors: the skeleton in its metadata"));
  EXPECT_TRUE(contains(why("no such set"), "neither an object nor the name of a built-in skeleton"));
  EXPECT_TRUE(contains(why(R"({"keypoints":["a","b"],"flip_pairs":[[0,7]]})"), "joint 7 does not exist"));
  std::string limbs;
  for (int i = 0; i < 10'001; ++i) limbs += i > 0 ? ",[1,2]" : "[1,2]";
  EXPECT_TRUE(contains(why(R"({"keypoints":["a","b"],"skeleton":[)" + limbs + "]}"), "10001 limbs"));
  // What could not be read back is refused before training.
  EXPECT_TRUE(contains(test::error_of([] { skeleton_from_names({std::string(201, 'n')}, {}, "f"); }), "200"));
}

TEST(Skeleton, TheFirstDifferenceIsTold) {
  const Skeleton s = read(good);
  EXPECT_EQ(skeleton_difference(s, read(replaced(good, "[[1, 2], [1, 3]]", "[[3, 1], [2, 1]]"))), "");
  EXPECT_EQ(skeleton_difference(s, read(replaced(good, "head", "nose"))), "joint 0 is \"head\" instead of \"nose\"");
  EXPECT_EQ(skeleton_difference(s, read(replaced(good, "\"flip_pairs\": [[1, 2]]", "\"flip_pairs\": []"))),
            "the mirror image of left_hand is right_hand instead of left_hand");
  EXPECT_EQ(skeleton_difference(s, read(replaced(good, "[1, 3]", "[2, 3]"))), "the limbs differ");
  Skeleton other = s;
  other.sigmas[2] = 0.1;
  EXPECT_EQ(skeleton_difference(s, other), "the sigma of right_hand is 0.05 instead of 0.1");
}

}  // namespace
}  // namespace hr
