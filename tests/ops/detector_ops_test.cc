// The ops that a detector needs besides plain convolutions: SiLU, depthwise convolution, concatenation, put_pixels.
#include <gtest/gtest.h>

#include "core/error.h"
#include "ops/concat.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/depthwise_conv2d.h"
#include "ops/max_pool2d.h"
#include "tests/support/gradients.h"

namespace hr {
namespace {

using test::Values;

double logistic(double v) { return 1 / (1 + std::exp(-v)); }
double silu(double v) { return v * logistic(v); }

// The results are sums that are exact up to a few roundings of float32, and are then rounded.
double tolerance(DType t) { return t == DType::bf16 ? 0x1p-8 : 3e-6; }

TEST(ConvSilu, IsTheActivationOfTheSumAndTheSummandComesAfterIt) {
  Context cx;
  constexpr int64_t n = 2, h = 5, w = 7, ci = 19, co = 24;
  for (const DType t : {DType::f32, DType::bf16}) {
    const Values x = test::random_values(n * h * w * ci, 1, t, -3, 3), f = test::random_values(co * ci, 2, t),
                 b = test::random_values(co, 3), z = test::random_values(n * h * w * co, 4, t, -2, 2);
    const Tensor tb = test::make(cx, {co}, DType::f32, b), tz = test::make(cx, {n, h, w, co}, t, z);
    for (const bool add : {false, true}) {
      Values expected(z.size());
      for (int64_t p = 0; p < n * h * w; ++p) {
        for (int64_t o = 0; o < co; ++o) {
          double sum = b[o];
          for (int64_t i = 0; i < ci; ++i) sum += x[p * ci + i] * f[o * ci + i];
          expected[p * co + o] = silu(sum) + (add ? z[p * co + o] : 0);
        }
      }
      const Tensor y = conv2d(cx, test::make(cx, {n, h, w, ci}, t, x), test::make(cx, {co, 1, 1, ci}, DType::f32, f),
                              {.bias = &tb, .add = add ? &tz : nullptr, .silu = true});
      EXPECT_TRUE(test::close(test::values(y), expected, tolerance(t) * test::max_abs(expected)))
          << name_of(t) << (add ? " with a summand" : "");
    }
  }
}

TEST(ConvSilu, HasNoDerivativeAndExcludesRelu) {
  test::Recording r;
  const Tensor x = test::make(r.cx, {1, 2, 2, 1}, DType::f32, {1, 2, 3, 4});
  Tensor f = test::make(r.cx, {1, 1, 1, 1}, DType::f32, {1});
  f.set_requires_grad(true);
  EXPECT_THROW(conv2d(r.cx, x, f, {.silu = true}), Error);
  Context plain;
  EXPECT_THROW(conv2d(plain, x, f, {.relu = true, .silu = true}), Error);
}

TEST(DepthwiseConv2d, EveryChannelHasItsOwnFilter) {
  Context cx;
  const struct {
    int64_t n, h, w, c, k;
    int stride, pad;
  } cases[] = {{2, 7, 5, 37, 3, 1, 1},
               {1, 8, 6, 16, 3, 2, 1},
               {1, 9, 7, 3, 5, 2, 2},
               {3, 1, 1, 8, 3, 1, 1},
               {1, 4, 5, 9, 2, 1, 0}};
  for (const auto& g : cases) {
    for (const DType t : {DType::f32, DType::bf16}) {
      for (const bool act : {false, true}) {
        const Values x = test::random_values(g.n * g.h * g.w * g.c, 1, t), f = test::random_values(g.k * g.k * g.c, 2),
                     b = test::random_values(g.c, 3);
        const int64_t oh = (g.h + 2 * g.pad - g.k) / g.stride + 1, ow = (g.w + 2 * g.pad - g.k) / g.stride + 1;
        Values expected;
        for (int64_t i = 0; i < g.n; ++i) {
          for (int64_t y = 0; y < oh; ++y) {
            for (int64_t xx = 0; xx < ow; ++xx) {
              for (int64_t c = 0; c < g.c; ++c) {
                double sum = b[c];
                for (int64_t ky = 0; ky < g.k; ++ky) {
                  for (int64_t kx = 0; kx < g.k; ++kx) {
                    const int64_t iy = y * g.stride - g.pad + ky, ix = xx * g.stride - g.pad + kx;
                    if (iy < 0 || ix < 0 || iy >= g.h || ix >= g.w) continue;
                    sum += x[((i * g.h + iy) * g.w + ix) * g.c + c] * f[(ky * g.k + kx) * g.c + c];
                  }
                }
                expected.push_back(act ? silu(sum) : sum);
              }
            }
          }
        }
        const Tensor tb = test::make(cx, {g.c}, DType::f32, b);
        const Tensor y = depthwise_conv2d(cx, test::make(cx, {g.n, g.h, g.w, g.c}, t, x),
                                          test::make(cx, {g.k, g.k, g.c}, DType::f32, f),
                                          {.stride = g.stride, .pad = g.pad, .bias = &tb, .silu = act});
        EXPECT_EQ(y.shape(), (Shape{g.n, oh, ow, g.c}));
        EXPECT_TRUE(test::close(test::values(y), expected, tolerance(t) * test::max_abs(expected)))
            << g.h << "x" << g.w << "x" << g.c << " kernel " << g.k << " " << name_of(t);
      }
    }
  }
  EXPECT_THROW(depthwise_conv2d(cx, cx.zeros({1, 4, 4, 8}, DType::f32), cx.zeros({3, 3, 9}, DType::f32)), Error);
}

TEST(Concat, TermsStandSideBySideAndMayBeUpsampled) {
  Context cx;
  for (const DType t : {DType::f32, DType::bf16}) {
    const Values a = test::random_values(2 * 2 * 3 * 5, 1, t), b = test::random_values(2 * 4 * 6 * 17, 2, t);
    const Tensor ta = test::make(cx, {2, 2, 3, 5}, t, a), tb = test::make(cx, {2, 4, 6, 17}, t, b);
    const Tensor y = concat(cx, std::array{ConcatTerm{ta, 1}, ConcatTerm{tb}});
    ASSERT_EQ(y.shape(), (Shape{2, 4, 6, 22}));
    const Values got = test::values(y);
    for (int64_t n = 0; n < 2; ++n) {
      for (int64_t i = 0; i < 4; ++i) {
        for (int64_t j = 0; j < 6; ++j) {
          const int64_t at = ((n * 4 + i) * 6 + j);
          for (int64_t c = 0; c < 22; ++c) {
            const double expected = c < 5 ? a[((n * 2 + i / 2) * 3 + j / 2) * 5 + c] : b[at * 17 + c - 5];
            ASSERT_EQ(got[at * 22 + c], expected) << at << " " << c;
          }
        }
      }
    }
  }
  const Tensor a = cx.zeros({1, 4, 4, 3}, DType::f32), b = cx.zeros({1, 4, 5, 3}, DType::f32);
  EXPECT_THROW(concat(cx, std::array{ConcatTerm{a}, ConcatTerm{b}}), Error);
}

// The sigmoid over its whole range: large arguments of either sign saturate, and a NaN stays a NaN.
TEST(PutPixels, WritesColumnsOfRowsAndTakesTheSigmoid) {
  Context cx;
  Values x = test::random_values(2 * 3 * 2 * 20, 1, DType::f32, -12, 12);
  x[0] = 1000, x[1] = -1000, x[2] = NAN;
  const Tensor table = cx.zeros({2, 10, 23}, DType::f32), tx = test::make(cx, {2, 3, 2, 20}, DType::f32, x);
  for (const int64_t plain : {0, 4}) {
    put_pixels(cx, tx, table, {.first_row = 3, .first_column = 2, .plain = plain});
    const Values got = test::values(table);
    for (int64_t n = 0; n < 2; ++n) {
      for (int64_t p = 0; p < 6; ++p) {
        for (int64_t c = 0; c < 20; ++c) {
          const double v = x[(n * 6 + p) * 20 + c], expected = c < plain ? v : logistic(v);
          const double actual = got[(n * 10 + 3 + p) * 23 + 2 + c];
          if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(actual));
          } else {
            EXPECT_NEAR(actual, expected, c < plain ? 0 : 2e-7) << v;
          }
        }
      }
    }
    EXPECT_EQ(got[0], 0);
    EXPECT_EQ(got[(3 * 23) + 1], 0);
    EXPECT_EQ(got[(3 * 23) + 22], 0);
  }
  EXPECT_THROW(put_pixels(cx, tx, table, {.first_row = 5}), Error);
}

// Without a tape no indices are kept. The maxima are the same, also a NaN.
TEST(MaxPool2d, WithoutATapeTheMaximaAreTheSame) {
  for (const DType t : {DType::f32, DType::bf16}) {
    Values v = test::random_values(int64_t{2} * 9 * 7 * 37, 1, t);
    v[100] = NAN;
    for (const MaxPool2d& o : {MaxPool2d{3, 2, 1}, MaxPool2d{5, 1, 2}, MaxPool2d{2, 1, 1}}) {
      test::Recording r;
      Tensor x = test::make(r.cx, {2, 9, 7, 37}, t, v);
      x.set_requires_grad(true);
      const Tensor recorded = max_pool2d(r.cx, x, o);
      Context plain;
      EXPECT_TRUE(test::same_bytes(max_pool2d(plain, x, o), recorded)) << o.kernel << " " << name_of(t);
    }
  }
}

}  // namespace
}  // namespace hr
