#include "eval/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/io/json.h"
#include "core/philox.h"
#include "tests/eval/golden.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::joints_last;
using test::oracle;
using test::OwnedMaps;

OwnedMaps empty_maps(int n, int h, int w, int joints) {
  OwnedMaps maps{std::vector<float>(static_cast<size_t>(n) * h * w * joints), n, h, w, joints};
  return maps;
}

float& at(OwnedMaps& maps, int n, int y, int x, int k) {
  return maps.data[((static_cast<size_t>(n) * maps.h + y) * maps.w + x) * maps.joints + k];
}

OwnedMaps random_maps(int n, int h, int w, int joints, uint64_t seed) {
  OwnedMaps maps = empty_maps(n, h, w, joints);
  Philox rng(seed, 0, 0);
  for (float& v : maps.data) v = static_cast<float>(rng.below(50)) - 10.0f;  // with many equal maxima
  return maps;
}

TEST(Decode, FirstOfEqualMaximaForAnyNumberOfJoints) {
  for (const int joints : {1, 2, 5, 15, 16, 17, 31, 33, 133}) {
    const OwnedMaps maps = random_maps(2, 7, 5, joints, joints);
    const auto poses = decode(maps.view(), {.codec = Codec::argmax});
    for (int n = 0; n < 2; ++n) {
      for (int k = 0; k < joints; ++k) {
        int best = 0;
        for (int p = 1; p < 35; ++p) {
          if (maps.data[(n * 35 + p) * joints + k] > maps.data[(n * 35 + best) * joints + k]) best = p;
        }
        const float* pose = &poses[(n * joints + k) * 3];
        ASSERT_EQ(pose[0], best % 5);
        ASSERT_EQ(pose[1], best / 5);
        ASSERT_EQ(pose[2], maps.data[(n * 35 + best) * joints + k]);
      }
    }
  }
}

TEST(Decode, AMapWithoutPositiveValueIsAtTheCornerAndKeepsItsValue) {
  OwnedMaps maps = empty_maps(1, 4, 4, 2);
  for (int p = 0; p < 16; ++p) maps.data[2 * p] = -2.0f - p % 3;
  for (const Codec codec : {Codec::argmax, Codec::quarter}) {
    EXPECT_EQ(decode(maps.view(), {.codec = codec}), (std::vector<float>{0, 0, -2, 0, 0, 0}));
  }
  for (const Codec codec : {Codec::msra, Codec::dark, Codec::udp}) {
    EXPECT_EQ(decode(maps.view(), {.codec = codec}), (std::vector<float>{-1, -1, -2, -1, -1, 0}));
  }
}

TEST(Decode, QuarterMovesOnlyInsideAndTowardsTheLargerNeighbour) {
  const int h = 6, w = 8;
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      OwnedMaps maps = empty_maps(1, h, w, 1);
      at(maps, 0, y, x, 0) = 1;
      if (x + 1 < w) at(maps, 0, y, x + 1, 0) = 0.5f;
      if (y > 0) at(maps, 0, y - 1, x, 0) = 0.5f;
      const auto pose = decode(maps.view(), {.codec = Codec::quarter});
      const bool inside = x > 1 && x < w - 1 && y > 1 && y < h - 1;
      EXPECT_EQ(pose[0], x + (inside ? 0.25f : 0.0f));
      EXPECT_EQ(pose[1], y - (inside ? 0.25f : 0.0f));
      const auto apart = decode(maps.view(), {.codec = Codec::msra});
      EXPECT_EQ(apart[0], x + (x > 1 && x < w - 1 && y > 0 ? 0.25f : 0.0f));
      EXPECT_EQ(apart[1], y - (y > 1 && y < h - 1 && x > 0 ? 0.25f : 0.0f));
    }
  }
}

// A Gaussian blur turns a Gaussian into another Gaussian, whose logarithm is a parabola. Therefore one Newton step
// finds the centre.
TEST(Decode, DarkAndUdpFindTheCentreOfAGaussianBetweenPixels) {
  Philox rng(4, 0, 0);
  for (int trial = 0; trial < 50; ++trial) {
    const double cx = rng.uniform(20, 28), cy = rng.uniform(28, 36);
    OwnedMaps maps = empty_maps(1, 64, 48, 1);
    for (int y = 0; y < 64; ++y) {
      for (int x = 0; x < 48; ++x) {
        at(maps, 0, y, x, 0) = static_cast<float>(std::exp(-((x - cx) * (x - cx) + (y - cy) * (y - cy)) / 8));
      }
    }
    for (const Codec codec : {Codec::dark, Codec::udp}) {
      const auto pose = decode(maps.view(), {.codec = codec});
      EXPECT_NEAR(pose[0], cx, 5e-3) << codec_name(codec);  // the kernel is cut off at 2.5 sigma
      EXPECT_NEAR(pose[1], cy, 5e-3) << codec_name(codec);
    }
  }
}

TEST(Decode, DarkStaysWhereItsStencilLeavesTheMapAndUdpMoves) {
  const int h = 9, w = 8;
  for (int y = 1; y < h - 1; ++y) {
    for (int x = 1; x < w - 1; ++x) {
      OwnedMaps maps = empty_maps(1, h, w, 1);
      for (int v = 0; v < h; ++v) {
        for (int u = 0; u < w; ++u) {
          at(maps, 0, v, u, 0) =
              static_cast<float>(std::exp(-(std::pow(u - x - 0.3, 2) + std::pow(v - y + 0.2, 2)) / 8));
        }
      }
      const bool inside = x > 1 && x < w - 2 && y > 1 && y < h - 2;
      const auto dark = decode(maps.view(), {.codec = Codec::dark, .blur = 5});
      EXPECT_EQ(dark[0] != x && dark[1] != y, inside) << x << " " << y;
      const auto udp = decode(maps.view(), {.codec = Codec::udp, .blur = 5});
      EXPECT_TRUE(udp[0] != x && udp[1] != y) << x << " " << y;
    }
  }
}

TEST(Decode, CodecNamesComeBack) {
  for (const Codec codec : {Codec::argmax, Codec::quarter, Codec::msra, Codec::dark, Codec::udp}) {
    EXPECT_EQ(parse_codec(codec_name(codec)), codec);
  }
  EXPECT_THROW(parse_codec("quarters"), Error);
  const OwnedMaps maps = empty_maps(1, 4, 4, 1);
  EXPECT_THROW(decode(maps.view(), {.codec = Codec::dark, .blur = 10}), Error);
  EXPECT_THROW(decode({maps.data.data(), 1, 0, 4, 1}), Error);
}

TEST(Decode, ToImageInvertsTheUdpAndTheOfficialBox) {
  const CenterScale place{{100, 80}, {0.75f, 1.0f}};  // 150 x 200 pixels
  std::vector<float> corners = {0, 0, 1, 47, 63, 1};
  const Affine udp = image_from_heatmap(Codec::udp, place, 48, 64);
  to_image(corners, 2, {&udp, 1});
  EXPECT_EQ(corners, (std::vector<float>{25, -20, 1, 175, 180, 1}));
  std::vector<float> edges = {0, 0, 1, 48, 64, 1};
  const Affine official = image_from_heatmap(Codec::quarter, place, 48, 64);
  to_image(edges, 2, {&official, 1});
  const float expected[] = {25, -20, 1, 175, 180, 1};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(edges[i], expected[i], 1e-4);
}

// ---- golden ----

void expect_places(const std::vector<float>& poses, const std::vector<float>& golden, float limit, const char* what,
                   const std::vector<int64_t>& usable = {}) {
  ASSERT_EQ(poses.size() / 3, golden.size() / 2) << what;
  float worst = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    if (!usable.empty() && usable[i / 2] == 0) continue;
    const float off = std::abs(poses[i / 2 * 3 + i % 2] - golden[i]);
    worst = std::max(worst, off);
    ASSERT_LE(off, limit) << what << ", joint " << i / 2 << ": " << poses[i / 2 * 3 + i % 2] << " and " << golden[i];
  }
  testing::Test::RecordProperty(what, std::to_string(worst));
}

void expect_values(const std::vector<float>& poses, const std::vector<float>& golden, const char* what) {
  for (size_t i = 0; i < golden.size(); ++i) ASSERT_EQ(poses[3 * i + 2], golden[i]) << what << " " << i;
}

class DecodeGolden : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Files, DecodeGolden, testing::Values("a", "b"),
                         [](const auto& i) { return std::string(i.param); });

TEST_P(DecodeGolden, OfficialAndSeedPlaces) {
  const std::string path = std::string("decode/decode_") + GetParam() + ".safetensors";
  HR_NEEDS_ORACLE(path);
  const SafetensorsFile file(oracle(path));
  const OwnedMaps maps = joints_last(file.at("heatmaps"));
  const auto center = file.at("center").to_f32(), scale = file.at("scale").to_f32();
  const auto reverse = file.at("seed.reverse_trans").to_f64();
  std::vector<Affine> official, seed;
  for (int n = 0; n < maps.n; ++n) {
    const CenterScale place{{center[2 * n], center[2 * n + 1]}, {scale[2 * n], scale[2 * n + 1]}};
    official.push_back(image_from_heatmap(Codec::quarter, place, maps.w, maps.h));
    Affine& m = seed.emplace_back();
    std::copy_n(reverse.begin() + 6 * n, 6, m.m);
  }
  const auto argmax = decode(maps.view(), {.codec = Codec::argmax});
  expect_places(argmax, file.at("official.max_preds").to_f32(), 0, "max_preds");
  expect_values(argmax, file.at("official.maxvals").to_f32(), "maxvals");
  for (const Codec codec : {Codec::argmax, Codec::quarter}) {
    const std::string name = codec == Codec::argmax ? "plain" : "quarter";
    const auto place = [&](const std::vector<Affine>& maps_to_image) {
      auto poses = decode(maps.view(), {.codec = codec});
      to_image(poses, maps.joints, maps_to_image);
      return poses;
    };
    // The bound is one unit in the last place of a coordinate below 2048. The README of the golden data allows 1e-3.
    expect_places(place(official), file.at("official.final_preds." + name).to_f32(), 1.3e-4f, "official");
    expect_places(place(seed), file.at("seed.final_preds." + name).to_f32(), 1.3e-4f, "seed");
  }
}

TEST_P(DecodeGolden, MsraDarkAndUdp) {
  const std::string path = std::string("decode/decode_") + GetParam() + ".safetensors";
  HR_NEEDS_ORACLE(path);
  const SafetensorsFile file(oracle(path));
  const OwnedMaps maps = joints_last(file.at("heatmaps"));
  const auto golden = [&](const std::string& name) { return file.at("mmpose." + name).to_f32(); };
  const auto usable = file.at("usable_for_dark_udp").to_i64();

  expect_places(decode(maps.view(), {.codec = Codec::msra}), golden("refine_quarter"), 0, "msra");
  expect_values(decode(maps.view(), {.codec = Codec::msra}), golden("vals"), "vals");
  for (const int blur : {7, 11, 17}) {
    const std::string k = std::to_string(blur);
    expect_places(decode(maps.view(), {.codec = Codec::dark, .blur = blur}), golden("dark_k" + k), 1e-4f,
                  ("dark" + k).c_str());
    if (!file.contains("mmpose.dark_udp_k" + k)) continue;
    expect_places(decode(maps.view(), {.codec = Codec::udp, .blur = blur}), golden("dark_udp_k" + k), 1e-4f,
                  ("udp" + k).c_str(), usable);
  }

  // Converts to input pixels, and from there to the picture.
  const auto scaled = [](std::vector<float> poses, float x, float y) {
    for (size_t i = 0; i < poses.size(); i += 3) poses[i] *= x, poses[i + 1] *= y;
    return poses;
  };
  expect_places(scaled(decode(maps.view(), {.codec = Codec::msra}), 4, 4), golden("msra_decode"), 0, "msra_decode");
  expect_places(scaled(decode(maps.view(), {.codec = Codec::dark}), 4, 4), golden("msra_unbiased_decode"), 4e-4f,
                "unbiased");
  const float w = maps.w, h = maps.h;
  expect_places(scaled(decode(maps.view(), {.codec = Codec::udp}), 4 * w / (w - 1), 4 * h / (h - 1)),
                golden("udp_decode"), 5e-4f, "udp_decode", usable);
  const auto center = file.at("center").to_f32(), scale = file.at("scale").to_f32();
  std::vector<Affine> places;
  for (int n = 0; n < maps.n; ++n) {
    const CenterScale place{{center[2 * n], center[2 * n + 1]}, {scale[2 * n], scale[2 * n + 1]}};
    places.push_back(image_from_heatmap(Codec::msra, place, maps.w, maps.h));
  }
  auto poses = decode(maps.view(), {.codec = Codec::msra});
  to_image(poses, maps.joints, places);
  expect_places(poses, golden("msra_image_coords"), 1e-3f, "msra_image_coords");
}

}  // namespace
}  // namespace hr
