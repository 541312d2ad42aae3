#include "ops/heatmaps.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/tensors.h"

namespace hr {
namespace {

float at(const Tensor& t, int64_t n, int64_t y, int64_t x, int64_t k) {
  return t.data<float>()[((n * t.dim(1) + y) * t.dim(2) + x) * t.dim(3) + k];
}

TEST(FlipAverage, MirrorsBackExchangesJointsAndMovesOneColumn) {
  Context cx;
  const int32_t mirror[] = {0, 2, 1};
  const Tensor indices = cx.empty({3}, DType::i32);
  cx.upload(indices, std::as_bytes(std::span(mirror)));
  const Tensor maps = test::make(cx, {4, 3, 5, 3}, DType::f32, test::random_values(4 * 3 * 5 * 3, 8));
  for (const bool shift : {false, true}) {
    const Tensor mean = flip_average(cx, maps, indices, shift);
    for (int n = 0; n < 2; ++n) {
      for (int y = 0; y < 3; ++y) {
        for (int x = 0; x < 5; ++x) {
          const int column = shift && x > 0 ? x - 1 : x;
          for (int k = 0; k < 3; ++k) {
            EXPECT_EQ(at(mean, n, y, x, k), 0.5f * (at(maps, n, y, x, k) + at(maps, n + 2, y, 4 - column, mirror[k])));
          }
        }
      }
    }
  }
  EXPECT_THROW(flip_average(cx, maps, cx.empty({2}, DType::i32), false), Error);
}

TEST(FlipAverage, OfAPictureAndItsMirrorImageIsThePicture) {
  Context cx;
  const Tensor images = test::make(cx, {4, 3, 5, 3}, DType::f32, test::random_values(4 * 3 * 5 * 3, 9));
  append_mirrored(cx, images);
  const int32_t same[] = {0, 1, 2};
  const Tensor indices = cx.empty({3}, DType::i32);
  cx.upload(indices, std::as_bytes(std::span(same)));
  EXPECT_TRUE(test::same_bytes(flip_average(cx, images, indices, false), images.view({2, 3, 5, 3})));
}

TEST(GaussianTargets, AreProductsOfColumnsAndRows) {
  Context cx;
  const int64_t n = 2, h = 4, w = 3, joints = 19;
  const test::Values numbers = test::random_values(n * (w + h) * joints, 3);
  const Tensor profiles = cx.empty({n, w + h, joints}, DType::f64);
  cx.upload(profiles, std::as_bytes(std::span(numbers)));
  const Tensor targets = gaussian_targets(cx, profiles, 4, 3);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t y = 0; y < h; ++y) {
      for (int64_t x = 0; x < w; ++x) {
        for (int64_t k = 0; k < joints; ++k) {
          const double* of = numbers.data() + i * (w + h) * joints + k;
          EXPECT_EQ(at(targets, i, y, x, k), static_cast<float>(of[x * joints] * of[(w + y) * joints]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace hr
