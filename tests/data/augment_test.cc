#include "data/crops/augment.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "core/io/safetensors.h"
#include "data/crops/targets.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

std::vector<double> made_joints(uint64_t seed, int w, int h) {
  Philox random(seed, 1, 0);
  std::vector<double> joints;
  for (int k = 0; k < 17; ++k) {
    joints.insert(joints.end(), {1 + std::floor(random.uniform(0, w - 1)), 1 + std::floor(random.uniform(0, h - 1)),
                                 static_cast<double>(random.below(3))});
  }
  return joints;
}

// ---- placing ----

TEST(Augment, FlippingAPersonEqualsPlacingTheMirroredPerson) {
  const Image picture = test::made_picture(120, 90), mirror = mirrored(picture);
  const auto joints = made_joints(5, 120, 90);
  const auto to = coco_skeleton().mirror();
  std::vector<double> other(joints.size());
  for (int k = 0; k < 17; ++k) {
    other[3 * to[k]] = 119 - joints[3 * k];
    other[3 * to[k] + 1] = joints[3 * k + 1];
    other[3 * to[k] + 2] = joints[3 * k + 2];
  }
  // The centre is mirrored like a pixel: x -> 119 - x.
  const CenterScale place{{50, 40}, {0.3F, 0.4F}}, mirrored_place{{69, 40}, {0.3F, 0.4F}};
  Augmentation flip{.scale = 1.1, .rotation = 20, .flip = true}, plain{.scale = 1.1, .rotation = 20};
  const Placement a = place_official(place, joints, coco_skeleton(), flip, 120, 48, 64);
  const Placement b = place_official(mirrored_place, other, coco_skeleton(), plain, 120, 48, 64);
  EXPECT_EQ(crop_image(picture, a, 48, 64).rgb, crop_image(mirror, b, 48, 64).rgb);
  for (int k = 0; k < 17; ++k) {
    EXPECT_EQ(a.joints[3 * k + 2], b.joints[3 * k + 2]);
    if (a.joints[3 * k + 2] == 0) continue;
    EXPECT_NEAR(a.joints[3 * k], b.joints[3 * k], 1e-9);
    EXPECT_NEAR(a.joints[3 * k + 1], b.joints[3 * k + 1], 1e-9);
  }
}

TEST(Augment, HeatmapToImageFindsTheJointAgain) {
  const auto joints = made_joints(6, 200, 150);
  const auto mirror = coco_skeleton().mirror();
  for (const bool flip : {false, true}) {
    for (const double rotation : {0.0, 37.0}) {
      const Augmentation augmentation{.scale = 1.25, .rotation = rotation, .flip = flip};
      const CenterScale place = center_scale({20, 30, 90, 100}, 0.75);
      Placement placements[2] = {place_official(place, joints, coco_skeleton(), augmentation, 200, 192, 256),
                                 place_seed({20, 30, 90, 100}, joints, coco_skeleton(), augmentation, 192, 256)};
      for (int recipe = 0; recipe < 2; ++recipe) {
        for (int k = 0; k < 17; ++k) {
          if (joints[3 * k + 2] == 0) continue;
          const int at = flip ? mirror[k] : k;
          double x = placements[recipe].joints[3 * at] / 4, y = placements[recipe].joints[3 * at + 1] / 4;
          placements[recipe].heatmap_to_image.apply(x, y);
          // Pixel 0 of the official heatmap is at position 0 of the crop; the seed truncates to whole crop pixels. The
          // official mirror is off by one source pixel less a quarter.
          const double limit = recipe == 0 ? 1e-3 : 2.5;
          EXPECT_NEAR(x, joints[3 * k], limit) << recipe << flip << rotation;
          EXPECT_NEAR(y, joints[3 * k + 1], limit) << recipe << flip << rotation;
        }
      }
    }
  }
}

TEST(Augment, SeedQuirks) {
  std::vector<double> joints(51, 0.0);
  const auto set = [&](int k, double x, double y) {
    joints[3 * k] = x;
    joints[3 * k + 1] = y;
    joints[3 * k + 2] = 2;
  };
  set(0, 0, 30);  // x = 0: not transformed although labelled
  set(1, 13, 17);
  const Box box{10, 10, 60, 80};
  const Placement whole = place_seed(box, joints, coco_skeleton(), {.scale = 1.25}, 192, 256);
  EXPECT_EQ(whole.joints[0], 0);
  EXPECT_EQ(whole.joints[1], 30);
  double x = 13, y = 17;
  whole.image_to_crop.apply(x, y);
  EXPECT_EQ(whole.joints[3], std::trunc(x));
  EXPECT_EQ(whole.joints[4], std::trunc(y));
  const Placement flipped = place_seed(box, joints, coco_skeleton(), {.scale = 1.25, .flip = true}, 192, 256);
  EXPECT_EQ(flipped.joints[6], 191 - std::trunc(x)) << "left eye became right eye, mirrored after truncation";
  EXPECT_TRUE(flipped.mirror_crop);
  joints[3] = 13.25;  // numpy would make this person a float array
  EXPECT_NE(place_seed(box, joints, coco_skeleton(), {.scale = 1.25}, 192, 256).joints[4], std::trunc(y));
}

TEST(Augment, HalfBodyPicksItsHalf) {
  const Skeleton& skeleton = coco_skeleton();
  std::vector<double> joints(51, 0.0);
  const auto set = [&](int k, double x, double y) { joints[3 * k] = x, joints[3 * k + 1] = y, joints[3 * k + 2] = 1; };
  EXPECT_FALSE(official_half_body(joints, skeleton, true, 0.75));
  set(0, 10, 10);
  EXPECT_FALSE(official_half_body(joints, skeleton, true, 0.75)) << "one joint is too few";
  set(1, 20, 40);
  set(11, 100, 200);
  set(12, 130, 200);
  // There are two upper joints and two lower ones. Neither half has more than 2, so the upper half is used in any case.
  for (const bool upper : {true, false}) {
    const auto half = official_half_body(joints, skeleton, upper, 0.75);
    ASSERT_TRUE(half);
    EXPECT_EQ(half->center[0], 15.0F);
    EXPECT_EQ(half->center[1], 25.0F);
    EXPECT_NEAR(half->scale[1], 30 / 200.0 * 1.5, 1e-6);
    EXPECT_NEAR(half->scale[0], 22.5 / 200.0 * 1.5, 1e-6);
  }
  set(13, 100, 260);
  EXPECT_EQ(official_half_body(joints, skeleton, true, 0.75)->center[0], 110.0F)
      << "only the lower half has more than 2";
  set(2, 30, 40);
  EXPECT_EQ(official_half_body(joints, skeleton, true, 0.75)->center[0], 20.0F);
  EXPECT_EQ(official_half_body(joints, skeleton, false, 0.75)->center[0], 110.0F);

  const auto seed = seed_half_body(joints, skeleton, false);
  ASSERT_TRUE(seed);
  EXPECT_EQ(seed->x, 100 - 0.25 * 30);
  EXPECT_EQ(seed->w, 45);
  EXPECT_EQ(seed->h, 90);
  std::vector<double> point(51, 5.0);
  EXPECT_FALSE(official_half_body(point, skeleton, true, 0.75)) << "all joints at one point have no extent";
  EXPECT_FALSE(seed_half_body(point, skeleton, true));
}

// ---- drawing ----

struct Moments {
  double n = 0, sum = 0, square = 0;
  void add(double v) {
    ++n;
    sum += v;
    square += v * v;
  }
  double mean() const { return sum / n; }
  double deviation() const { return std::sqrt(square / n - mean() * mean()); }
};

// Shares and means of 200k independent draws are off by less than 5 standard errors.
constexpr int draws = 200000;
double five_sigma(double probability) { return 5 * std::sqrt(probability * (1 - probability) / draws); }

TEST(Augment, OfficialDistribution) {
  const AugmentOptions options;
  Moments scale, rotation;
  std::map<std::string, double> share;
  for (int i = 0; i < draws; ++i) {
    Philox random(11, 3, i);
    const Augmentation a = draw_augmentation(Recipe::official, random, options, 12);
    scale.add(a.scale);
    ASSERT_GE(a.scale, 0.65);
    ASSERT_LE(a.scale, 1.35);
    ASSERT_LE(std::abs(a.rotation), 90);
    share["scale at an end"] += static_cast<double>(a.scale == 1 - 0.35 || a.scale == 1 + 0.35) / draws;
    share["upright"] += static_cast<double>(a.rotation == 0) / draws;
    if (a.rotation != 0) rotation.add(a.rotation);
    share["rotation at an end"] += static_cast<double>(std::abs(a.rotation) == 90) / draws;
    share["flip"] += static_cast<double>(a.flip) / draws;
    share["half"] += static_cast<double>(a.half_body) / draws;
    share["upper"] += static_cast<double>(a.upper_first) / draws;
    share["flip and half"] += static_cast<double>(a.flip && a.half_body) / draws;
  }
  // P(|N| > 1) = 0.317311, P(|N| > 2) = 0.045500, P(N < 0.5) = 0.691462
  const std::map<std::string, double> want = {{"scale at an end", 0.317311},
                                              {"upright", 0.4},
                                              {"rotation at an end", 0.6 * 0.0455},
                                              {"flip", 0.5},
                                              {"half", 0.3},
                                              {"upper", 0.691462},
                                              {"flip and half", 0.15}};
  for (const auto& [name, probability] : want) EXPECT_NEAR(share[name], probability, five_sigma(probability)) << name;
  // Clipped normals: variance 1 - 2 c phi(c) - ... at c = 1 is 0.516058, at c = 2 0.920537 (of the unit normal).
  EXPECT_NEAR(scale.mean(), 1, 5 * 0.2515 / std::sqrt(draws));
  EXPECT_NEAR(scale.deviation(), 0.35 * std::sqrt(0.516058), 0.0015);
  EXPECT_NEAR(rotation.mean(), 0, 5 * 43.2 / std::sqrt(0.6 * draws));
  EXPECT_NEAR(rotation.deviation(), 45 * std::sqrt(0.920537), 0.4);
}

TEST(Augment, SeedDistribution) {
  const AugmentOptions options;
  Moments scale, rotation;
  double half = 0, upper = 0, flip = 0, at_end = 0;
  for (int i = 0; i < draws; ++i) {
    Philox random(12, 3, i);
    const Augmentation a = draw_augmentation(Recipe::seed, random, options, 3);
    scale.add(a.scale);
    rotation.add(a.rotation);
    ASSERT_TRUE(a.scale >= 0.65 && a.scale < 1.35);
    ASSERT_EQ(a.rotation, std::round(a.rotation));
    ASSERT_LE(std::abs(a.rotation), 45);
    at_end += static_cast<double>(std::abs(a.rotation) == 45) / draws;
    half += static_cast<double>(a.half_body) / draws;
    upper += static_cast<double>(a.upper_first) / draws;
    flip += static_cast<double>(a.flip) / draws;
  }
  EXPECT_NEAR(half, 0.3, five_sigma(0.3));
  EXPECT_NEAR(upper, 0.5, five_sigma(0.5));
  EXPECT_NEAR(flip, 0.5, five_sigma(0.5));
  EXPECT_NEAR(at_end, 2.0 / 91, five_sigma(2.0 / 91)) << "both ends belong to the range";
  EXPECT_NEAR(scale.mean(), 1, 5 * 0.2021 / std::sqrt(draws));
  EXPECT_NEAR(scale.deviation(), 0.7 / std::sqrt(12.0), 0.001);
  EXPECT_NEAR(rotation.mean(), 0, 5 * 26.3 / std::sqrt(draws));
  EXPECT_NEAR(rotation.deviation(), std::sqrt((91.0 * 91 - 1) / 12), 0.2);
}

TEST(Augment, HalfBodyNeedsMoreThanEightJointsInTheOfficialRecipe) {
  AugmentOptions options;
  options.half_body = 1;
  Philox a(1, 2, 3), b(1, 2, 3);
  EXPECT_FALSE(draw_augmentation(Recipe::official, a, options, 8).half_body);
  EXPECT_TRUE(draw_augmentation(Recipe::official, b, options, 9).half_body);
  EXPECT_EQ(a.u32(), b.u32()) << "the stream advances alike";
}

// ---- golden ----

// Returns how many crops the golden data have of one kind, so that none is left out.
int golden_crops(const std::string& kind) {
  int count = 0;
  for (const auto& file : fs::directory_iterator(test::oracle("transforms/crops"))) {
    const std::string name = file.path().filename().string();
    const std::string of = name.rfind("mpii", 0) == 0 ? "mpii" : test::contains(name, "_seed_") ? "seed" : "official";
    count += static_cast<int>(of == kind);
  }
  return count;
}

const rapidjson::Document& golden() {
  static const rapidjson::Document document = parse_json_file(test::oracle("transforms/transforms.json"));
  return document;
}

void expect_targets(const Json& entry, const std::vector<double>& joints, Recipe recipe, double sigma, int w, int h,
                    const std::string& what) {
  const auto count = joints.size() / 3;
  std::vector<float> map(count * w * h), weight(count), ones(count, 1.0F);
  draw_targets(recipe, joints, count == 17 ? coco_skeleton().joint_weights : ones, sigma, w, h, map, weight);
  for (unsigned k = 0; k < count; ++k) {
    const Json& want = entry["target"][k];
    EXPECT_EQ(weight[k], want["weight"].GetFloat()) << what << " joint " << k;
    double sum = 0;
    size_t peak = 0;
    for (size_t i = 0; i < static_cast<size_t>(w) * h; ++i) {
      sum += map[i * count + k];
      if (map[i * count + k] > map[peak * count + k]) peak = i;
    }
    EXPECT_NEAR(sum, want["sum"].GetDouble(), 1e-5) << what << " joint " << k;
    if (sum > 0) {
      EXPECT_EQ(static_cast<int>(peak) % w, want["peak_xy"][0].GetInt()) << what << " joint " << k;
      EXPECT_EQ(static_cast<int>(peak) / w, want["peak_xy"][1].GetInt()) << what << " joint " << k;
    }
  }
}

void expect_joints(const std::vector<double>& got, const Json& want, const Json& visible, bool official,
                   const std::string& what) {
  for (unsigned k = 0; k < want.Size(); ++k) {
    const double v = got[3 * k + 2];
    EXPECT_EQ(official ? std::min(v, 1.0) : v, visible[k].GetDouble()) << what << " joint " << k;
    for (int axis = 0; axis < 2; ++axis) {
      const double w = want[k][axis].GetDouble();
      EXPECT_NEAR(got[3 * k + axis], w, 1e-9 * std::max(1.0, std::abs(w))) << what << " joint " << k;
    }
  }
}

TEST(AugmentGolden, OfficialPlacementsCropsAndTargets) {
  HR_NEEDS_ORACLE("transforms/transforms.json");
  int crops = 0;
  for (const Json& person : golden()["people"].GetArray()) {
    const Image picture = read_image(test::oracle(std::string("coco_sample/") + person["image"].GetString()));
    const auto clean = clean_box(test::box(person["bbox"]), picture.width, picture.height);
    ASSERT_TRUE(clean);
    const auto joints = test::numbers(person["keypoints"]);
    for (const Json& entry : person["official"].GetArray()) {
      const std::string name = entry["name"].GetString();
      const std::string what = std::to_string(person["ann_id"].GetInt64()) + " " + name;
      const bool large = name == "eval384x288_sigma3";
      const int w = large ? 288 : 192, h = large ? 384 : 256;
      const Augmentation augmentation{.scale = entry["scale_factor"].GetDouble(),
                                      .rotation = entry["rotation"].GetDouble(),
                                      .flip = entry["flip"].GetBool()};
      const Placement got =
          place_official(center_scale(*clean, 0.75), joints, coco_skeleton(), augmentation, picture.width, w, h);
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(got.place.center[i], entry["center"][i].GetFloat()) << what;
        EXPECT_EQ(got.place.scale[i], entry["scale"][i].GetFloat()) << what;
      }
      test::expect_matrix(got.image_to_crop, entry["matrix"], what);
      test::expect_matrix(official_affine_inverse(got.place, 0, w / 4, h / 4), entry["inverse_matrix_heatmap_rot0"],
                          what);
      if (name == "eval") test::expect_matrix(got.heatmap_to_image, entry["inverse_matrix_heatmap_rot0"], what);
      expect_joints(got.joints, entry["joints"], entry["joints_vis"], true, what);
      expect_targets(entry, got.joints, Recipe::official, large ? 3 : 2, w / 4, h / 4, what);
      if (!entry.HasMember("crop")) continue;
      const std::string file = std::string("transforms/") + entry["crop"].GetString();
      test::expect_same_picture(crop_image(picture, got, w, h), read_image(test::oracle(file)), what);
      ++crops;
    }
  }
  EXPECT_EQ(crops, golden_crops("official"));
}

TEST(AugmentGolden, SeedPlacementsCropsAndTargets) {
  HR_NEEDS_ORACLE("transforms/transforms.json");
  int crops = 0;
  for (const Json& person : golden()["people"].GetArray()) {
    const Image picture = read_image(test::oracle(std::string("coco_sample/") + person["image"].GetString()));
    const auto joints = test::numbers(person["keypoints"]);
    for (const Json& entry : person["seed"].GetArray()) {
      const std::string what = std::to_string(person["ann_id"].GetInt64()) + " seed " + entry["name"].GetString();
      const int h = entry["size_hw"][0].GetInt(), w = entry["size_hw"][1].GetInt();
      Augmentation augmentation{.flip = entry["flip"].GetBool()};
      if (!entry["scale"].IsNull()) augmentation.scale = entry["scale"].GetDouble();
      if (!entry["rotation"].IsNull()) augmentation.rotation = entry["rotation"].GetDouble();
      const Placement got = place_seed(test::box(entry["box"]), joints, coco_skeleton(), augmentation, w, h);
      test::expect_matrix(got.image_to_crop, entry["trans"], what);
      if (!augmentation.flip) test::expect_matrix(got.heatmap_to_image, entry["reverse_trans"], what);
      test::expect_matrix(
          seed_affine(test::box(entry["box"]), augmentation.scale, augmentation.rotation, h, w).heatmap_to_image,
          entry["reverse_trans"], what);
      expect_joints(got.joints, entry["keypoints"], entry["visible"], false, what);
      expect_targets(entry, got.joints, Recipe::seed, 2, w / 4, h / 4, what);
      if (!entry.HasMember("crop")) continue;
      const std::string file = std::string("transforms/") + entry["crop"].GetString();
      test::expect_same_picture(crop_image(picture, got, w, h), read_image(test::oracle(file)), what);
      ++crops;
    }
  }
  EXPECT_EQ(crops, golden_crops("seed"));
}

TEST(AugmentGolden, MpiiMatricesAndCrops) {
  HR_NEEDS_ORACLE("transforms/transforms.json");
  int crops = 0;
  for (const Json& person : golden()["mpii"].GetArray()) {
    const Image picture = read_image(test::oracle(std::string("coco_sample/") + person["image"].GetString()));
    for (const Json& entry : person["official"].GetArray()) {
      const std::string what = std::string(person["image"].GetString()) + " " + entry["name"].GetString();
      // MPII's centre and scale stay double in the reference.
      const double cx = entry["center"][0].GetDouble(), cy = entry["center"][1].GetDouble();
      const double width = entry["scale"][0].GetDouble() * 200;
      const Affine map = official_affine(cx, cy, width, entry["rotation"].GetDouble(), 256, 256);
      test::expect_matrix(map, entry["matrix"], what);
      test::expect_matrix(official_affine_inverse(cx, cy, width, 0, 64, 64), entry["inverse_matrix_heatmap_rot0"],
                          what);
      expect_targets(entry, test::joints_of(entry["joints"], entry["joints_vis"]), Recipe::official, 2, 64, 64, what);
      if (!entry.HasMember("crop")) continue;
      const std::string file = std::string("transforms/") + entry["crop"].GetString();
      test::expect_same_picture(warp_affine(picture, map, 256, 256, entry["flip"].GetBool()),
                                read_image(test::oracle(file)), what);
      ++crops;
    }
  }
  EXPECT_EQ(crops, golden_crops("mpii"));
}

TEST(AugmentGolden, WholeHeatmaps) {
  HR_NEEDS_ORACLE("transforms/heatmaps.safetensors");
  const SafetensorsFile file(test::oracle("transforms/heatmaps.safetensors"));
  int compared = 0;
  for (const Json& person : golden()["people"].GetArray()) {
    const std::string id =
        std::to_string(person["image_id"].GetInt64()) + "_" + std::to_string(person["ann_id"].GetInt64()) + ".";
    for (const char* recipe : {"official", "seed"}) {
      const bool official = recipe == std::string("official");
      for (const Json& entry : person[recipe].GetArray()) {
        const std::string name = id + (official ? "" : "seed_") + entry["name"].GetString();
        if (!file.contains(name)) continue;
        const auto& shape = file.at(name).shape;
        const auto h = static_cast<int>(shape[1]), w = static_cast<int>(shape[2]);
        const auto want = file.at(name).to_f32();
        const auto joints = official ? test::joints_of(entry["joints"], entry["joints_vis"])
                                     : test::joints_of(entry["keypoints"], entry["visible"]);
        std::vector<float> map(want.size()), weight(17);
        draw_targets(official ? Recipe::official : Recipe::seed, joints, coco_skeleton().joint_weights, 2, w, h, map,
                     weight);
        double worst = 0;
        for (int k = 0; k < 17; ++k) {
          for (int i = 0; i < w * h; ++i) {
            worst = std::max(worst, std::abs(static_cast<double>(map[i * 17 + k]) - want[k * w * h + i]));
          }
        }
        EXPECT_LE(worst, 1e-6) << name;
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, static_cast<int>(file.names().size()));
}

TEST(AugmentGolden, HalfBodies) {
  HR_NEEDS_ORACLE("transforms/half_body.json");
  const auto check_entry = [](const Json& entry, const std::vector<double>& joints, const std::string& what) {
    for (const char* which : {"upper", "lower"}) {
      const auto got = official_half_body(joints, coco_skeleton(), which == std::string("upper"), 0.75);
      const Json& want = entry[which];
      ASSERT_EQ(got.has_value(), !want.IsNull()) << what;
      for (int i = 0; got && i < 2; ++i) {
        EXPECT_FLOAT_EQ(got->center[i], want["center"][i].GetFloat()) << what;
        EXPECT_FLOAT_EQ(got->scale[i], want["scale"][i].GetFloat()) << what;
      }
    }
  };
  const auto document = parse_json_file(test::oracle("transforms/half_body.json"));
  for (const Json& entry : document.GetArray())
    check_entry(entry, test::joints_of(entry["joints"], entry["vis"]), "invented");
  for (const Json& person : golden()["people"].GetArray()) {
    check_entry(person["half_body"], test::numbers(person["keypoints"]), std::to_string(person["ann_id"].GetInt64()));
  }
}

}  // namespace
}  // namespace hr
