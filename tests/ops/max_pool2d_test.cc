#include "ops/max_pool2d.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/error.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

struct Case {
  Shape x;
  MaxPool2d o;
  Shape y() const {
    return {x[0], (x[1] + 2 * o.pad - o.kernel) / o.stride + 1, (x[2] + 2 * o.pad - o.kernel) / o.stride + 1, x[3]};
  }
};

Values plain(const Case& c, const Values& x) {
  const Shape s = c.y();
  Values y(numel(s), -std::numeric_limits<double>::infinity());
  for (int64_t n = 0; n < s[0]; ++n) {
    for (int64_t oy = 0; oy < s[1]; ++oy) {
      for (int64_t ox = 0; ox < s[2]; ++ox) {
        for (int k = 0; k < c.o.kernel * c.o.kernel; ++k) {
          const int64_t iy = oy * c.o.stride - c.o.pad + k / c.o.kernel,
                        ix = ox * c.o.stride - c.o.pad + k % c.o.kernel;
          if (iy < 0 || iy >= c.x[1] || ix < 0 || ix >= c.x[2]) continue;
          for (int64_t ch = 0; ch < s[3]; ++ch) {
            double& best = y[((n * s[1] + oy) * s[2] + ox) * s[3] + ch];
            best = std::max(best, x[((n * c.x[1] + iy) * c.x[2] + ix) * s[3] + ch]);
          }
        }
      }
    }
  }
  return y;
}

TEST(MaxPool2d, ForwardIsExactAndBackwardIsTheFiniteDifference) {
  uint64_t seed = 1;
  for (const Case& c :
       {Case{{1, 1, 1, 1}, {}}, Case{{3, 1, 1, 17}, {}}, Case{{1, 3, 3, 3}, {}}, Case{{3, 7, 5, 17}, {}},
        Case{{1, 8, 6, 27}, {}}, Case{{1, 3, 2, 33}, {}}, Case{{1, 7, 5, 3}, {3, 1, 1}}, Case{{1, 7, 5, 3}, {2, 2, 0}},
        Case{{1, 5, 5, 3}, {1, 2, 0}}, Case{{2, 7, 5, 3}, {2, 3, 1}}}) {
    for (const DType t : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(to_string(c.x) + " " + std::string(name_of(t)));
      // The values are a shuffled sequence, no two of them so near that a finite difference would exchange them.
      Values x(numel(c.x));
      for (size_t i = 0; i < x.size(); ++i) x[i] = test::rounded(static_cast<double>(i % 200) - 100, t);
      Philox rng(++seed, 0, 0);
      for (size_t i = x.size(); i > 1; --i) std::swap(x[i - 1], x[rng.below(i)]);
      if (x.size() > 200) x = test::random_values(numel(c.x), seed);
      for (double& v : x) v = test::rounded(v, t);
      test::Recording r;
      Tensor tx = test::make(r.cx, c.x, t, x);
      const auto dx = test::watch(r.cx, tx);
      const Tensor y = max_pool2d(r.cx, tx, c.o);
      ASSERT_EQ(y.shape(), c.y());
      EXPECT_EQ(test::values(y), plain(c, x));
      if (t == DType::bf16 && x.size() > 200) continue;  // it has many ties: see the next test
      const Values dy = test::random_values(numel(c.y()), ++seed, t);
      r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, c.y(), t, dy)}}));
      const auto f = [&](const std::vector<Values>& in) { return plain(c, in[0]); };
      // At most 9 windows share a pixel.
      EXPECT_TRUE(test::close(test::values(*dx), test::finite_difference(f, {x}, 0, dy), 9 * test::rounding(t) + 1e-8));
    }
  }
}

TEST(MaxPool2d, TheFirstOfEqualMaximaTakesTheGradient) {
  for (const DType t : {DType::f32, DType::bf16}) {
    test::Recording r;
    Tensor x = test::make(r.cx, {1, 4, 4, 2}, t, Values(32, -3));  // below the zeros of a padding, if there were one
    const auto dx = test::watch(r.cx, x);
    const Tensor y = max_pool2d(r.cx, x);
    EXPECT_EQ(test::values(y), Values(8, -3));
    r.tape.backward(r.cx,
                    test::weighted_sum(r.cx, {{y, test::make(r.cx, y.shape(), t, {1, 2, 4, 8, 16, 32, 64, 128})}}));
    Values expected(32);
    const auto at = [&](int row, int col, int c) -> double& { return expected[(row * 4 + col) * 2 + c]; };
    at(0, 0, 0) = 1, at(0, 0, 1) = 2, at(0, 1, 0) = 4, at(0, 1, 1) = 8;
    at(1, 0, 0) = 16, at(1, 0, 1) = 32, at(1, 1, 0) = 64, at(1, 1, 1) = 128;
    EXPECT_EQ(test::values(*dx), expected);
  }
}

TEST(MaxPool2d, AnInputUsedTwiceReceivesBothGradients) {
  test::Recording r;
  Tensor x = test::make(r.cx, {1, 2, 2, 1}, DType::f32, {1, 4, 2, 3});
  const auto dx = test::watch(r.cx, x);
  const Tensor a = max_pool2d(r.cx, x), b = max_pool2d(r.cx, x, {2, 2, 0});
  const Tensor one = test::make(r.cx, {1, 1, 1, 1}, DType::f32, {1}),
               ten = test::make(r.cx, {1, 1, 1, 1}, DType::f32, {10});
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{a, one}, {b, ten}, {a, ten}}));
  EXPECT_EQ(test::values(*dx), (Values{0, 21, 0, 0}));
}

TEST(MaxPool2d, InfinityAndNanComeThrough) {
  Context cx;
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(test::values(max_pool2d(cx, test::make(cx, {1, 1, 1, 1}, DType::f32, {-inf}))), Values{-inf});
  const Tensor y = max_pool2d(cx, test::make(cx, {1, 2, 2, 1}, DType::f32, {1, std::nan(""), 5, 2}));
  EXPECT_TRUE(std::isnan(*y.data<float>()));
}

TEST(MaxPool2d, RefusesWhatDoesNotFit) {
  Context cx;
  EXPECT_THROW(max_pool2d(cx, cx.zeros({4, 4, 3}, DType::f32)), Error);
  EXPECT_THROW(max_pool2d(cx, cx.zeros({1, 4, 4, 3}, DType::f32), {3, 2, 2}), Error) << "a window of padding only";
  EXPECT_THROW(max_pool2d(cx, cx.zeros({1, 4, 4, 3}, DType::f32), {5, 2, 0}), Error);
  EXPECT_THROW(max_pool2d(cx, cx.zeros({1, 4, 4, 3}, DType::f32), {3, 0, 1}), Error);
  EXPECT_THROW(max_pool2d(cx, cx.zeros({1, 4, 4, 3}, DType::u8)), Error);
}

TEST(MaxPool2d, MatchesTheGoldenData) {
  HR_NEEDS_ORACLE("train/layers.safetensors");
  const SafetensorsFile golden(test::oracle("train/layers.safetensors"));
  test::Recording r;
  Tensor x = test::make(r.cx, golden.at("maxpool3x3_s2_p1.x"));
  const auto dx = test::watch(r.cx, x);
  const Tensor y = max_pool2d(r.cx, x);
  EXPECT_EQ(test::values(y), test::ours(golden.at("maxpool3x3_s2_p1.y")));
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, golden.at("maxpool3x3_s2_p1.dy"))}}));
  const Values expected = test::ours(golden.at("maxpool3x3_s2_p1.dx"));
  EXPECT_TRUE(test::close(test::values(*dx), expected, 1e-5 * test::max_abs(expected)));
}

}  // namespace
}  // namespace hr
