#include "ops/conv/pixel_products.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/conv/cpu_conv.h"
#include "tests/support/conv3x3.h"
#include "tests/support/cpu_levels.h"
#include "tests/support/threads.h"

namespace hr {
namespace {

using test::Floats;
using test::levels;
using test::numbers;
using test::Threads;
using test::x_size;
using test::y_size;

std::string name_of(const ConvGeometry& g) {
  return fmt::format("[{}, {}, {}, {}] -> {}, {}x{}, stride {}, pad {}", g.n, g.h, g.w, g.ci, g.co, g.kh, g.kw,
                     g.stride, g.pad);
}

// Odd sizes of maps; output channels around the 6 and 12 that are in registers; one vector of input channels, two, and
// an odd number; strides that leave out pixels; taps that read only padding; bands that end with a picture, and rows
// shorter and longer than a band. The last three have several strands of rows, the last one so many that a piece is a
// whole strand.
const std::vector<ConvGeometry> kShapes = {
    {.n = 1, .h = 1, .w = 1, .ci = 16, .co = 1},
    {.n = 2, .h = 7, .w = 5, .ci = 48, .co = 13},
    {.n = 1, .h = 13, .w = 11, .ci = 64, .co = 25, .kh = 3, .kw = 3, .stride = 2, .pad = 1},
    {.n = 3, .h = 6, .w = 10, .ci = 32, .co = 12, .kh = 3, .kw = 3, .stride = 2, .pad = 1},
    {.n = 1, .h = 2, .w = 1, .ci = 16, .co = 7, .kh = 3, .kw = 3, .stride = 2, .pad = 1},
    {.n = 2, .h = 3, .w = 4, .ci = 16, .co = 5, .kh = 5, .kw = 3, .stride = 3, .pad = 4},
    {.n = 1, .h = 9, .w = 301, .ci = 16, .co = 6, .kh = 1, .kw = 2, .stride = 1, .pad = 0},
    {.n = 2, .h = 8, .w = 8, .ci = 80, .co = 24, .kh = 1, .kw = 1, .stride = 3, .pad = 0},
    {.n = 2, .h = 41, .w = 39, .ci = 48, .co = 14},
    {.n = 3, .h = 81, .w = 65, .ci = 16, .co = 5, .kh = 3, .kw = 3, .stride = 2, .pad = 1},
    {.n = 2, .h = 81, .w = 79, .ci = 32, .co = 9}};

// The gradient in double precision, and the sum of the sizes of its terms. A sum of n fused operations is off by at
// most n 2^-24 of the latter.
struct Reference {
  std::vector<double> sum, size;
};

Reference reference(const ConvGeometry& g, const Floats& x, const Floats& dy) {
  const auto filters = static_cast<size_t>(g.co * g.kh * g.kw * g.ci);
  Reference r{std::vector<double>(filters), std::vector<double>(filters)};
  for (int64_t at = 0; at < g.n * g.out_h() * g.out_w(); ++at) {
    const int64_t n = at / (g.out_h() * g.out_w()), oy = at / g.out_w() % g.out_h(), ox = at % g.out_w();
    for (int64_t tap = 0; tap < g.kh * g.kw; ++tap) {
      const int64_t y = oy * g.stride - g.pad + tap / g.kw, u = ox * g.stride - g.pad + tap % g.kw;
      if (y < 0 || u < 0 || y >= g.h || u >= g.w) continue;
      for (int64_t k = 0; k < g.co; ++k) {
        for (int64_t c = 0; c < g.ci; ++c) {
          const double term = static_cast<double>(x[((n * g.h + y) * g.w + u) * g.ci + c]) * dy[at * g.co + k];
          const auto to = static_cast<size_t>((k * g.kh * g.kw + tap) * g.ci + c);
          r.sum[to] += term;
          r.size[to] += std::abs(term);
        }
      }
    }
  }
  return r;
}

TEST(PixelProducts, TheFilterGradientIsWithinTheBoundOfItsRoundings) {
  for (const ConvGeometry& g : kShapes) {
    const Floats x = numbers(x_size(g), 1), dy = numbers(y_size(g), 2);
    const Reference r = reference(g, x, dy);
    const double roundings = static_cast<double>(g.n * g.out_h() * g.out_w()) * 0x1p-24;
    for (const CpuLevel level : levels()) {
      const PixelProducts products(level);
      ASSERT_TRUE(products.supports(g)) << name_of(g);
      Floats dfilter(r.sum.size(), NAN);
      products.backward_filter(Context(), g, x.data(), dy.data(), dfilter.data());
      for (size_t i = 0; i < dfilter.size(); ++i) {
        ASSERT_LE(std::abs(dfilter[i] - r.sum[i]), roundings * r.size[i])
            << name_of(g) << ", level " << static_cast<int>(level) << ", filter " << i;
      }
    }
  }
}

TEST(PixelProducts, AnyNumberOfThreadsGivesTheSameBits) {
  for (const ConvGeometry& g : kShapes) {
    const Floats x = numbers(x_size(g), 1), dy = numbers(y_size(g), 2);
    for (const CpuLevel level : levels()) {
      const PixelProducts products(level);
      Floats first;
      for (const int threads : {1, 2, 3, 8}) {
        const Threads use(threads);
        Floats dfilter(static_cast<size_t>(g.co * g.kh * g.kw * g.ci), NAN);
        products.backward_filter(Context(), g, x.data(), dy.data(), dfilter.data());
        if (first.empty()) first = dfilter;
        EXPECT_TRUE(dfilter == first) << name_of(g) << ", " << threads << " threads";
      }
    }
  }
}

TEST(PixelProducts, OtherConvolutionsAreLeftToOneDNN) {
  const ConvGeometry possible = kShapes[1];
  for (const CpuLevel level : levels()) {
    const PixelProducts products(level);
    EXPECT_TRUE(products.supports(possible));
    ConvGeometry g = possible;
    g.transposed = true;
    EXPECT_FALSE(products.supports(g));
    g = possible;
    g.src = DType::bf16;
    EXPECT_FALSE(products.supports(g));
    g = possible;
    g.ci = 17;
    EXPECT_FALSE(products.supports(g));
  }
  EXPECT_FALSE(PixelProducts(CpuLevel::v2).supports(possible));
}

TEST(PixelProducts, ServesTrainingUnlessItShallBeExactOrThereIsABias) {
  if (!PixelProducts().supports(kShapes[1])) GTEST_SKIP() << "no AVX2";
  for (const ConvGeometry& g : {kShapes[9], kShapes[10]}) {
    const Floats x = numbers(x_size(g), 1), dy = numbers(y_size(g), 2);
    const auto gradient = [&](auto&& compute) {
      Floats dfilter(static_cast<size_t>(g.co * g.kh * g.kw * g.ci));
      compute(dfilter.data());
      return dfilter;
    };
    CpuConv conv({});
    DnnlConv dnnl;
    Floats bias(static_cast<size_t>(g.co));
    Context exact;
    exact.exact = true;
    const Floats own =
        gradient([&](float* to) { PixelProducts().backward_filter(Context(), g, x.data(), dy.data(), to); });
    const Floats direct =
        gradient([&](float* to) { dnnl.backward_filter(Context(), g, x.data(), dy.data(), to, nullptr); });
    const Floats with_bias =
        gradient([&](float* to) { dnnl.backward_filter(Context(), g, x.data(), dy.data(), to, bias.data()); });
    EXPECT_FALSE(own == direct) << "the test needs shapes that show the way";
    EXPECT_TRUE(own ==
                gradient([&](float* to) { conv.backward_filter(Context(), g, x.data(), dy.data(), to, nullptr); }));
    EXPECT_TRUE(direct ==
                gradient([&](float* to) { conv.backward_filter(exact, g, x.data(), dy.data(), to, nullptr); }));
    EXPECT_TRUE(with_bias ==
                gradient([&](float* to) { conv.backward_filter(Context(), g, x.data(), dy.data(), to, bias.data()); }));
  }
}

}  // namespace
}  // namespace hr
