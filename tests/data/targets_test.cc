#include "data/crops/targets.h"

#include <gtest/gtest.h>

#include <bit>

#include "core/io/safetensors.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

struct Drawn {
  std::vector<float> map, weight;
};

Drawn draw(Recipe recipe, const std::vector<double>& joints, double sigma, int w, int h,
           Encoding encoding = Encoding::quarter) {
  const size_t count = joints.size() / 3;
  const std::vector<float> ones(count, 1.0F);
  const auto& weights = count == 17 ? coco_skeleton().joint_weights : ones;
  Drawn out{std::vector<float>(count * w * h, 9.0F), std::vector<float>(count, 9.0F)};
  draw_targets(recipe, joints, weights, sigma, w, h, out.map, out.weight, encoding);
  std::vector<float> alone(count, 9.0F);
  draw_targets(recipe, joints, weights, sigma, w, h, {}, alone, encoding);
  EXPECT_EQ(alone, out.weight) << "without a map";
  std::vector<double> profiles(count * (w + h), 9.0);
  draw_targets(recipe, joints, weights, sigma, w, h, {}, alone, encoding, profiles);
  EXPECT_EQ(alone, out.weight) << "with profiles";
  size_t different = 0;
  for (size_t i = 0; i < out.map.size(); ++i) {
    const size_t k = i % count, x = i / count % w, y = i / count / w;
    const auto product = static_cast<float>(profiles[x * count + k] * profiles[(w + y) * count + k]);
    different += std::bit_cast<uint32_t>(product) != std::bit_cast<uint32_t>(out.map[i]);
  }
  EXPECT_EQ(different, 0u) << "products of profiles";
  return out;
}

TEST(Targets, APeakOfOneAtTheRoundedJointAndNothingBeyondThreeSigma) {
  // 41/4 + .5 = 10.75 -> 10, 82/4 + .5 = 21 -> 21
  const Drawn out = draw(Recipe::official, {41, 82, 2, 5, 5, 0}, 2, 24, 32);
  EXPECT_EQ(out.weight, (std::vector<float>{1, 0}));
  for (int y = 0; y < 32; ++y) {
    for (int x = 0; x < 24; ++x) {
      const int dx = x - 10, dy = y - 21;
      const double want = std::max(std::abs(dx), std::abs(dy)) <= 6 ? std::exp(-(dx * dx + dy * dy) / 8.0) : 0;
      EXPECT_NEAR(out.map[(y * 24 + x) * 2], want, 1e-7);
      EXPECT_EQ(out.map[(y * 24 + x) * 2 + 1], 0) << "an unlabelled joint draws nothing";
    }
  }
}

TEST(Targets, RoundingIsTowardZero) {
  const Drawn out = draw(Recipe::official, {-5.6, -3, 1}, 2, 24, 32);  // -0.9 -> 0, -0.25 -> 0
  EXPECT_EQ(out.map[0], 1.0F);
}

TEST(Targets, JointsOutsideKeepTheirWeightWhileTheWindowTouches) {
  // The window is +-6: mu = -6 still draws one column, and mu = -7 draws none.
  for (const auto recipe : {Recipe::official, Recipe::seed}) {
    const Drawn inside = draw(recipe, {-26.0, 40, 1}, 2, 24, 32);  // -6.5 + .5 = -6
    EXPECT_EQ(inside.weight[0], 1.0F);
    EXPECT_GT(*std::max_element(inside.map.begin(), inside.map.end()), 0.0F);
    const Drawn edge = draw(recipe, {-30.0, 40, 1}, 2, 24, 32);
    EXPECT_EQ(*std::max_element(edge.map.begin(), edge.map.end()), 0.0F);
    EXPECT_EQ(edge.weight[0], recipe == Recipe::official ? 1.0F : 0.0F) << "the one place where the recipes differ";
    EXPECT_EQ(draw(recipe, {-34.0, 40, 1}, 2, 24, 32).weight[0], 0.0F);
    EXPECT_EQ(draw(recipe, {118.0, 40, 1}, 2, 24, 32).weight[0], 0.0F);  // mu = 30 = 24 + 6
    EXPECT_EQ(draw(recipe, {114.0, 40, 1}, 2, 24, 32).weight[0], 1.0F);
  }
}

TEST(Targets, TheSeedWeighsByVisibilityAndJoint) {
  std::vector<double> joints;
  for (int k = 0; k < 17; ++k) joints.insert(joints.end(), {40, 40, static_cast<double>(k % 3)});
  const Drawn seed = draw(Recipe::seed, joints, 2, 24, 32), official = draw(Recipe::official, joints, 2, 24, 32);
  for (int k = 0; k < 17; ++k) {
    EXPECT_EQ(seed.weight[k], static_cast<float>(k % 3) * coco_skeleton().joint_weights[k]);
    EXPECT_EQ(official.weight[k], k % 3 == 0 ? 0.0F : 1.0F);
  }
}

TEST(Targets, WildNumbersDoNotWriteOutside) {
  const double big = 1e300, nan = std::nan("");
  const Drawn out = draw(Recipe::official, {big, 0, 1, 0, -big, 1, nan, 3, 1, 40, 40, 2}, 3, 7, 5);
  EXPECT_EQ(out.weight[0], 0.0F);
  EXPECT_EQ(out.weight[1], 0.0F);
  EXPECT_EQ(out.weight[2], 0.0F);
  EXPECT_EQ(out.weight[3], 1.0F);
  EXPECT_THROW(draw(Recipe::official, {1, 2, 1}, 0, 7, 5), Error);
}

void expect_map(const Drawn& got, const std::vector<float>& want, size_t offset, int w, int h,
                const std::string& what) {
  const size_t count = got.weight.size();
  double worst = 0;
  for (size_t k = 0; k < count; ++k) {  // golden [K, h, w], ours [h, w, K]
    for (int i = 0; i < w * h; ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(got.map[i * count + k]) - want[offset + k * w * h + i]));
    }
  }
  EXPECT_LE(worst, 1e-6) << what;
}

TEST(Targets, DarkAndUdpDrawAtTheJointItself) {
  for (const Encoding encoding : {Encoding::dark, Encoding::udp}) {
    const bool udp = encoding == Encoding::udp;
    const Drawn out = draw(Recipe::official, {41, 82, 2, -1e9, 3, 1}, 2, 24, 32, encoding);
    const double mx = udp ? 41 * 23 / 95.0 : 41 / 4.0, my = udp ? 82 * 31 / 127.0 : 82 / 4.0;
    double worst = 0;
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 24; ++x) {
        const bool window = !udp || (std::abs(x - 10) <= 6 && std::abs(y - 20) <= 6);
        const double want = window ? std::exp(-((x - mx) * (x - mx) + (y - my) * (y - my)) / 8) : 0;
        worst = std::max(worst, std::abs(out.map[(y * 24 + x) * 2] - want));
      }
    }
    EXPECT_LT(worst, 1e-7) << encoding_name(encoding);
    EXPECT_EQ(out.weight[1], 0.0F);
  }
  EXPECT_EQ(parse_encoding("udp"), Encoding::udp);
  EXPECT_TRUE(test::contains(test::error_of([] { parse_encoding("simcc"); }), "quarter, dark and udp"));
}

TEST(Targets, GoldenOtherEncodings) {
  HR_NEEDS_ORACLE("transforms/targets_synthetic.safetensors");
  const SafetensorsFile golden(test::oracle("transforms/targets_synthetic.safetensors"));
  const auto xy = golden.at("joints").to_f32(), visible = golden.at("visible").to_f32();
  const std::pair<const char*, Encoding> kinds[] = {
      {"mmpose_msra", Encoding::quarter}, {"mmpose_unbiased", Encoding::dark}, {"mmpose_udp", Encoding::udp}};
  for (const auto& [name, encoding] : kinds) {
    const auto maps = golden.at(std::string(name) + ".heatmaps").to_f32(),
               weights = golden.at(std::string(name) + ".weights").to_f32();
    for (size_t n = 0; n < 3; ++n) {
      std::vector<double> joints;
      for (size_t k = n * 17; k < n * 17 + 17; ++k) joints.insert(joints.end(), {xy[2 * k], xy[2 * k + 1], visible[k]});
      const Drawn got = draw(Recipe::official, joints, 2, 24, 32, encoding);
      expect_map(got, maps, n * 17 * 24 * 32, 24, 32, fmt::format("{} {}", name, n));
      for (size_t k = 0; k < 17; ++k) EXPECT_EQ(got.weight[k], weights[n * 17 + k]) << name << " " << n << " " << k;
    }
  }
}

TEST(Targets, GoldenSyntheticJoints) {
  HR_NEEDS_ORACLE("transforms/targets_synthetic.safetensors");
  const SafetensorsFile golden(test::oracle("transforms/targets_synthetic.safetensors"));
  const auto xy = golden.at("joints").to_f32(), visible = golden.at("visible").to_f32();
  const auto official = golden.at("official.target").to_f32(), seed = golden.at("seed.heatmap").to_f32();
  const auto official_weight = golden.at("official.target_weight").to_f32(),
             seed_weight = golden.at("seed.kps_weights").to_f32();
  for (size_t n = 0; n < 5; ++n) {
    std::vector<double> joints;
    for (size_t k = n * 17; k < n * 17 + 17; ++k) joints.insert(joints.end(), {xy[2 * k], xy[2 * k + 1], visible[k]});
    const Drawn a = draw(Recipe::official, joints, 2, 24, 32), b = draw(Recipe::seed, joints, 2, 24, 32);
    expect_map(a, official, n * 17 * 24 * 32, 24, 32, "official");
    expect_map(b, seed, n * 17 * 24 * 32, 24, 32, "seed");
    for (size_t k = 0; k < 17; ++k) {
      EXPECT_EQ(a.weight[k], official_weight[n * 17 + k]);
      EXPECT_EQ(b.weight[k], seed_weight[n * 17 + k]);
    }
  }
}

}  // namespace
}  // namespace hr
