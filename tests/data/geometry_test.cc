#include "data/crops/geometry.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/data/golden.h"

namespace hr {
namespace {

TEST(Geometry, AffineFromPointsMapsThePoints) {
  const Point2f from[3] = {{10, 20}, {13, 2}, {-7, 30}}, to[3] = {{1, 2}, {300, -4}, {5.5F, 60}};
  const Affine map = affine_from_points(from, to);
  const Affine back = invert(map);
  for (int i = 0; i < 3; ++i) {
    double x = from[i].x, y = from[i].y;
    map.apply(x, y);
    EXPECT_NEAR(x, to[i].x, 1e-10);
    EXPECT_NEAR(y, to[i].y, 1e-10);
    back.apply(x, y);
    EXPECT_NEAR(x, from[i].x, 1e-10);
    EXPECT_NEAR(y, from[i].y, 1e-10);
  }
  const Point2f line[3] = {{0, 0}, {1, 1}, {2, 2}};
  for (const double m : affine_from_points(line, to).m) EXPECT_EQ(m, 0);
}

TEST(Geometry, OfficialMatrixHasItsClosedFormUpright) {
  // x' = W/2 + W/w (x - cx), y' = H/2 + W/w (y - cy)
  const CenterScale place = center_scale({30, 40, 90, 200}, 0.75);
  const double w = 200.0F * place.scale[0];
  EXPECT_NEAR(w, 200 * 0.75 * 1.25, 1e-4);
  const Affine map = official_affine(place, 0, 192, 256);
  double x = 80, y = 100;
  map.apply(x, y);
  EXPECT_NEAR(x, 96 + 192 / w * (80 - 75), 1e-4);
  EXPECT_NEAR(y, 128 + 192 / w * (100 - 140), 1e-4);
  // Clockwise in the picture's frame: with +90 degrees the upward arm of the box points to the right.
  const Affine turned = official_affine(place, 90, 192, 256);
  x = 75 + w / 2;
  y = 140;
  turned.apply(x, y);
  EXPECT_NEAR(x, 96, 1e-4);
  EXPECT_NEAR(y, 128 - 96, 1e-4);
}

TEST(Geometry, SeedMatrixMapsBoxCornersToPixelCentres) {
  const SeedAffine maps = seed_affine({10, 20, 30, 40}, 1, 0, 256, 192);  // its ratio is 4:3 already
  double x = 10, y = 20;
  maps.crop.apply(x, y);
  EXPECT_NEAR(x, 0, 1e-5);
  EXPECT_NEAR(y, 0, 1e-5);
  x = 191 / 4.0;
  y = 255 / 4.0;
  maps.heatmap_to_image.apply(x, y);
  EXPECT_NEAR(x, 40, 1e-5);
  EXPECT_NEAR(y, 60, 1e-5);
}

TEST(Geometry, CleanBoxShrinksByOneAndStaysInside) {
  const auto box = clean_box({-5, 10, 20, 500}, 100, 80);
  ASSERT_TRUE(box);
  EXPECT_EQ(box->x, 0);
  EXPECT_EQ(box->y, 10);
  EXPECT_EQ(box->w, 19);
  EXPECT_EQ(box->h, 69);
  EXPECT_FALSE(clean_box({100, 10, 5, 5}, 100, 80));
}

TEST(Warp, WholePixelShiftCopiesAndLeavesTheRestBlack) {
  const Image image = test::made_picture(9, 7);
  const Image moved = warp_affine(image, Affine{{1, 0, 2, 0, 1, -3}}, 11, 8);
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 11; ++x) {
      const int sx = x - 2, sy = y + 3;
      for (int c = 0; c < 3; ++c) {
        const int want = sx >= 0 && sx < 9 && sy < 7 ? image.at(sx, sy)[c] : 0;
        ASSERT_EQ(moved.at(x, y)[c], want) << x << " " << y;
      }
    }
  }
}

// The same scheme once more, pixel by pixel, in the reference's own 15-bit weights.
Image plain_warp(const Image& source, const Affine& map, int w, int h) {
  const Affine back = invert(map);
  Image out(w, h);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      const auto fixed = [](double v) { return static_cast<int64_t>(std::rint(v * 1024)); };
      const int64_t sx = (fixed(back.m[1] * y + back.m[2]) + 16 + fixed(back.m[0] * x)) >> 5;
      const int64_t sy = (fixed(back.m[4] * y + back.m[5]) + 16 + fixed(back.m[3] * x)) >> 5;
      const double fx = static_cast<double>(sx & 31) / 32, fy = static_cast<double>(sy & 31) / 32;
      for (int c = 0; c < 3; ++c) {
        int sum = 0;
        for (int dy = 0; dy < 2; ++dy) {
          for (int dx = 0; dx < 2; ++dx) {
            const int64_t px = (sx >> 5) + dx, py = (sy >> 5) + dy;
            if (px < 0 || py < 0 || px >= source.width || py >= source.height) continue;
            const double weight = (dx == 0 ? 1 - fx : fx) * (dy == 0 ? 1 - fy : fy);
            sum +=
                static_cast<int>(std::round(32768 * weight)) * source.at(static_cast<int>(px), static_cast<int>(py))[c];
          }
        }
        out.at(x, y)[c] = static_cast<uint8_t>((sum + 16384) >> 15);
      }
    }
  }
  return out;
}

TEST(Warp, EqualsThePlainSchemeForAnyMapAndSize) {
  Philox random(3, 0, 0);
  for (int round = 0; round < 60; ++round) {
    const Image image =
        test::made_picture(1 + static_cast<int>(random.below(60)), 1 + static_cast<int>(random.below(50)), round);
    const CenterScale place{{static_cast<float>(random.uniform(-20, 80)), static_cast<float>(random.uniform(-20, 70))},
                            {static_cast<float>(random.uniform(0.02, 0.8)), 1}};
    const Affine map = official_affine(place, random.uniform(-180, 180), 33, 45);
    test::expect_same_picture(warp_affine(image, map, 33, 45), plain_warp(image, map, 33, 45), "warp");
    test::expect_same_picture(warp_affine(image, map, 33, 45, true), plain_warp(mirrored(image), map, 33, 45),
                              "mirrored");
  }
}

// Only the region is in memory, in a block of exactly its size (so that a sanitizer notices reads beyond its ends) or
// with bytes to spare behind it.
TEST(Warp, APartOfThePictureIsEnough) {
  Philox random(4, 0, 0);
  size_t smaller = 0, empty = 0;
  for (int round = 0; round < 200; ++round) {
    const Image image =
        test::made_picture(1 + static_cast<int>(random.below(70)), 1 + static_cast<int>(random.below(50)), round);
    const CenterScale place{{static_cast<float>(random.uniform(-20, 80)), static_cast<float>(random.uniform(-20, 70))},
                            {static_cast<float>(random.uniform(0.02, 0.5)), 1}};
    const Affine map = official_affine(place, random.uniform(-180, 180), 37, 29);
    for (const bool mirrored : {false, true}) {
      const Region region = warp_region(map, 37, 29, image.width, image.height, mirrored);
      const size_t slack = round % 2 == 0 ? 0 : 16;
      const auto bytes = std::make_unique<uint8_t[]>(static_cast<size_t>(region.area()) * 3 + slack);
      for (int y = 0; y < region.h; ++y) {
        std::copy_n(image.at(region.x, region.y + y), region.w * 3,
                    bytes.get() + static_cast<size_t>(y) * region.w * 3);
      }
      ImageView view = image;
      view.region = region;
      view.pixels = bytes.get();
      view.stride = static_cast<size_t>(region.w) * 3;
      view.readable = static_cast<size_t>(region.area()) * 3 + slack;
      test::expect_same_picture(warp_affine(view, map, 37, 29, mirrored), warp_affine(image, map, 37, 29, mirrored),
                                "part");
      smaller += static_cast<size_t>(!region.empty() && region.area() < image.width * image.height);
      empty += static_cast<size_t>(region.empty());
      if (region.w < 2) continue;
      --view.region.w;
      EXPECT_TRUE(test::contains(test::error_of([&] { warp_affine(view, map, 37, 29, mirrored); }), "given are"));
    }
  }
  EXPECT_GT(smaller, 100u);
  EXPECT_GT(empty, 5u);
}

TEST(Warp, DegenerateMapsDoNotReadOutside) {
  const Image image = test::made_picture(5, 4);
  warp_affine(image, Affine{{0, 0, 0, 0, 0, 0}}, 8, 8);
  warp_affine(image, Affine{{1e-12, 0, 0, 0, 1e-12, 0}}, 8, 8);
  warp_affine(image, Affine{{1, 0, 1e300, 0, 1, -1e300}}, 8, 8);
  EXPECT_THROW(warp_affine(image, Affine{{1, 0, std::nan(""), 0, 1, 0}}, 8, 8), Error);
  EXPECT_THROW(warp_affine(Image(), Affine{}, 8, 8), Error);
}

TEST(Geometry, GoldenBoxes) {
  HR_NEEDS_ORACLE("transforms/boxes_and_matrices.json");
  const auto golden = parse_json_file(test::oracle("transforms/boxes_and_matrices.json"));
  int cleaned = 0;
  for (const Json& entry : golden["boxes"].GetArray()) {
    const Box box = test::box(entry["bbox"]);
    const auto clean = clean_box(box, entry["image"][0].GetInt(), entry["image"][1].GetInt());
    // The official reader also drops annotations without area; here dataset.h does that.
    const bool has_area = entry["area"].GetDouble() > 0;
    ASSERT_EQ(clean.has_value() && has_area, !entry["clean_bbox"].IsNull());
    const auto expect_center = [&](const Box& b, const char* name, double aspect) {
      const CenterScale got = center_scale(b, aspect);
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(got.center[i], entry[name][0][i].GetFloat()) << name;
        EXPECT_EQ(got.scale[i], entry[name][1][i].GetFloat()) << name;
      }
    };
    if (clean && has_area) {
      const Box want = test::box(entry["clean_bbox"]);
      EXPECT_EQ(clean->x, want.x);
      EXPECT_EQ(clean->y, want.y);
      EXPECT_EQ(clean->w, want.w);
      EXPECT_EQ(clean->h, want.h);
      expect_center(*clean, "center_scale_192x256", 192.0 / 256);
      expect_center(*clean, "center_scale_288x384", 288.0 / 384);
      ++cleaned;
    }
    expect_center(box, "raw_center_scale_192x256", 192.0 / 256);
    if (entry.HasMember("seed_adjust_box_256x192")) {
      const Box got = seed_adjust_box(box, 256, 192), want = test::box(entry["seed_adjust_box_256x192"]);
      for (const auto& [g, w] :
           {std::pair{got.x, want.x}, {got.y, want.y}, {got.x + got.w, want.w}, {got.y + got.h, want.h}}) {
        EXPECT_NEAR(g, w, 1e-9 * std::max(1.0, std::abs(w)));
      }
      const Box grown = seed_scale_box(box, 1.5, 1.5), grown_want = test::box(entry["seed_scale_box_1.5_1.5"]);
      EXPECT_NEAR(grown.x, grown_want.x, 1e-9);
      EXPECT_NEAR(grown.y, grown_want.y, 1e-9);
      EXPECT_NEAR(grown.w, grown_want.w, 1e-9);
      EXPECT_NEAR(grown.h, grown_want.h, 1e-9);
    }
  }
  EXPECT_GT(cleaned, 30);
}

TEST(Geometry, UdpMapsBordersOfTheBoxToPixelCentres) {
  const CenterScale place{{100, 80}, {0.6F, 0.8F}};  // 120 x 160
  const Affine map = udp_affine(place, 0, 48, 64);
  double x = 40, y = 160;
  map.apply(x, y);
  EXPECT_NEAR(x, 0, 1e-4);
  EXPECT_NEAR(y, 63, 1e-4);
  // A turn about the centre, in the opposite direction of the official map's.
  double cx = 100, cy = 80;
  udp_affine(place, 30, 48, 64).apply(cx, cy);
  EXPECT_NEAR(cx, 23.5, 1e-4);
  EXPECT_NEAR(cy, 31.5, 1e-4);
}

// Golden values are float32: the bound is 1e-5 of the largest entry of a row, as their README advises.
void expect_udp(const Affine& got, const Json& want) {
  for (int row = 0; row < 2; ++row) {
    const auto w = test::numbers(want[row]);
    double largest = 0;
    for (const double v : w) largest = std::max(largest, std::abs(v));
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(got.m[3 * row + i], w[i], 1e-5 * largest);
  }
}

TEST(Geometry, GoldenUdpMatrices) {
  HR_NEEDS_ORACLE("decode/udp_warp.json");
  const auto warps = parse_json_file(test::oracle("decode/udp_warp.json"));
  for (const Json& entry : warps.GetArray()) {
    CenterScale place;
    for (int i = 0; i < 2; ++i) {
      place.center[i] = entry["center"][i].GetFloat();
      place.scale[i] = entry["scale"][i].GetFloat() / 200;
    }
    expect_udp(udp_affine(place, entry["rot"].GetDouble(), entry["size"][0].GetInt(), entry["size"][1].GetInt()),
               entry["matrix"]);
  }
  const auto golden = parse_json_file(test::oracle("transforms/boxes_and_matrices.json"));
  for (const Json& entry : golden["affine"].GetArray()) {
    CenterScale place;
    for (int i = 0; i < 2; ++i) {
      place.scale[i] = entry["scale"][i].GetFloat();
      place.center[i] = entry["center"][i].GetFloat();  // this matrix was made without the shift
    }
    expect_udp(udp_affine(place, entry["rot"].GetDouble(), entry["size"][0].GetInt(), entry["size"][1].GetInt()),
               entry["udp_matrix"]);
  }
}

TEST(Geometry, GoldenMatrices) {
  HR_NEEDS_ORACLE("transforms/boxes_and_matrices.json");
  const auto golden = parse_json_file(test::oracle("transforms/boxes_and_matrices.json"));
  for (const Json& entry : golden["affine"].GetArray()) {
    CenterScale place;
    double center[2];
    for (int i = 0; i < 2; ++i) {
      place.scale[i] = entry["scale"][i].GetFloat();
      // `shift` moves the centre by a share of the size, in float32.
      const float moved = place.scale[i] * 200.0F * entry["shift"][i].GetFloat();
      center[i] = static_cast<double>(entry["center"][i].GetFloat()) + moved;
    }
    const int w = entry["size"][0].GetInt(), h = entry["size"][1].GetInt();
    const double rotation = entry["rot"].GetDouble(), width = place.scale[0] * 200.0F;
    test::expect_matrix(official_affine(center[0], center[1], width, rotation, w, h), entry["matrix"], "matrix");
    test::expect_matrix(official_affine_inverse(center[0], center[1], width, rotation, w, h), entry["inverse"],
                        "inverse");
  }
}

}  // namespace
}  // namespace hr
