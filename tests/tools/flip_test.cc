// Compares the flip test with the official code's, up to places in the picture.
#include <gtest/gtest.h>

#include "core/context.h"
#include "data/crops/geometry.h"
#include "data/formats/skeleton.h"
#include "ops/heatmaps.h"
#include "tests/eval/golden.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::joints_last;
using test::OwnedMaps;

class FlipGolden : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Files, FlipGolden, testing::Values("a", "b"),
                         [](const auto& i) { return std::string(i.param); });

TEST_P(FlipGolden, AveragesMaximaAndPlaces) {
  const std::string path = std::string("decode/decode_") + GetParam() + ".safetensors";
  HR_NEEDS_ORACLE(path);
  const SafetensorsFile file(test::oracle(path));
  const OwnedMaps maps = joints_last(file.at("heatmaps")), flipped = joints_last(file.at("flipped_pass"));
  const std::vector<int> swaps = coco_skeleton().mirror();
  Context cx;
  const std::vector<int32_t> indices(swaps.begin(), swaps.end());
  const Tensor mirror = cx.empty({maps.joints}, DType::i32);
  cx.upload(mirror, std::as_bytes(std::span(indices)));
  const auto average = [&](const std::vector<float>& first, bool shift) {
    std::vector<float> both = first;
    both.insert(both.end(), flipped.data.begin(), flipped.data.end());
    const Tensor t = cx.empty({2 * maps.n, maps.h, maps.w, maps.joints}, DType::f32);
    cx.upload(t, std::as_bytes(std::span(both)));
    OwnedMaps mean = maps;
    mean.data = to_host(cx, flip_average(cx, t, mirror, shift));
    return mean;
  };

  // This is exactly half of the heatmaps that were flipped back.
  const OwnedMaps back = average(std::vector<float>(maps.data.size()), false);
  const OwnedMaps golden_back = joints_last(file.at("official.flip_back"));  // of the first samples only
  for (size_t i = 0; i < golden_back.data.size(); ++i) ASSERT_EQ(2 * back.data[i], golden_back.data[i]) << i;

  const auto center = file.at("center").to_f32(), scale = file.at("scale").to_f32();
  std::vector<Affine> places;
  for (int n = 0; n < maps.n; ++n) {
    const CenterScale place{{center[2 * n], center[2 * n + 1]}, {scale[2 * n], scale[2 * n + 1]}};
    places.push_back(image_from_heatmap(Codec::quarter, place, maps.w, maps.h));
  }
  for (const bool shift : {false, true}) {
    const std::string name = shift ? "shift" : "noshift";
    const OwnedMaps mean = average(maps.data, shift);
    if (file.contains("official.average." + name)) {
      EXPECT_EQ(mean.data, joints_last(file.at("official.average." + name)).data);
    }
    auto poses = decode(mean.view());
    const auto maxima = file.at("official.maxvals.flip_" + name).to_f32(),
               golden = file.at("official.final_preds.flip_" + name).to_f32();
    ASSERT_EQ(poses.size(), 3 * maxima.size());
    for (size_t i = 0; i < maxima.size(); ++i) ASSERT_EQ(poses[3 * i + 2], maxima[i]) << i;
    to_image(poses, maps.joints, places);
    // The bound is one unit in the last place of a coordinate below 2048.
    for (size_t i = 0; i < golden.size(); ++i) ASSERT_NEAR(poses[i / 2 * 3 + i % 2], golden[i], 1.3e-4f) << i;
  }
}

}  // namespace
}  // namespace hr
