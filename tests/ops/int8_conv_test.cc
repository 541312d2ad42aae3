// Convolutions with 8-bit integers against a plain loop, at odd sizes, on every path of this processor.
#include "ops/conv/int8_conv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <tuple>

#include "core/error.h"
#include "ops/int8_depthwise.h"
#include "ops/int8_ops.h"
#include "ops/int8_stem.h"

namespace hr {
namespace {

using Shape = Int8Conv::Shape;

struct Case {
  Shape shape;
  int64_t n, h, w;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.n << "x" << c.h << "x" << c.w << " " << c.shape.in << "->" << c.shape.out << " k" << c.shape.kernel
             << " s" << c.shape.stride << (c.shape.transposed ? " transposed" : "");
}

// A quantised tensor with its border.
struct Bytes {
  Int8Layout layout;
  std::vector<uint8_t> data;
  explicit Bytes(const Int8Layout& l) : layout(l), data(static_cast<size_t>(l.bytes()), 0) {}
  uint8_t& at(int64_t n, int64_t y, int64_t x, int64_t c) {
    return data[static_cast<size_t>(layout.first() + n * layout.image() + y * layout.row() + x * layout.pixel() + c)];
  }
};

struct Problem {
  Case c;
  Int8Weights weights;
  float in_scale = 0.03F, out_scale = 0.05F, add_scale = 0.02F;
  Bytes x, add;
  std::vector<float> add_f32;
  int64_t out_h = 0, out_w = 0;

  static Int8Layout out_layout(const Case& c) {
    const Shape& s = c.shape;
    const auto out = [&](int64_t size) {
      return s.transposed ? 2 * size : (size + 2 * s.pad - s.kernel) / s.stride + 1;
    };
    return {c.n, out(c.h), out(c.w), s.out};
  }

  explicit Problem(const Case& of, int seed = 1) : c(of), x({of.n, of.h, of.w, of.shape.in}), add(out_layout(of)) {
    std::mt19937 random(static_cast<uint32_t>(seed));
    const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
    out_h = add.layout.h;
    out_w = add.layout.w;
    const auto outs = static_cast<size_t>(c.shape.out);
    weights.values.resize(outs * static_cast<size_t>(c.shape.kernel * c.shape.kernel * c.shape.in));
    for (int8_t& v : weights.values) v = static_cast<int8_t>(pick(-127, 127));
    for (size_t o = 0; o < outs; ++o) {
      weights.scale.push_back(0.0004F * static_cast<float>(pick(1, 20)));
      weights.bias.push_back(0.1F * static_cast<float>(pick(-20, 20)));
    }
    const auto fill = [&](Bytes& t) {
      for (int64_t n = 0; n < t.layout.n; ++n)
        for (int64_t y = 0; y < t.layout.h; ++y)
          for (int64_t px = 0; px < t.layout.w; ++px)
            for (int64_t ch = 0; ch < t.layout.c; ++ch) t.at(n, y, px, ch) = static_cast<uint8_t>(pick(0, 255));
    };
    fill(x);
    fill(add);
    for (int64_t i = 0; i < c.n * out_h * out_w * c.shape.out; ++i)
      add_f32.push_back(0.01F * static_cast<float>(pick(-500, 500)));
    // Not numbers, and numbers that do not fit into 32 bits.
    for (size_t i = 0; i < add_f32.size(); i += 7) add_f32[i] = i % 2 == 0 ? std::nanf("") : i % 3 == 0 ? 3e9F : -3e9F;
  }

  // The sum over the taps, by the definitions of convolution and transposed convolution.
  int64_t sum(int64_t n, int64_t oy, int64_t ox, int64_t o) {
    const Shape& s = c.shape;
    int64_t total = 0;
    for (int64_t ky = 0; ky < s.kernel; ++ky) {
      for (int64_t kx = 0; kx < s.kernel; ++kx) {
        int64_t y = oy * s.stride - s.pad + ky, px = ox * s.stride - s.pad + kx;
        if (s.transposed) {
          y = oy + s.pad - ky;
          px = ox + s.pad - kx;
          if (y % s.stride != 0 || px % s.stride != 0) continue;
          y /= s.stride;
          px /= s.stride;
        }
        if (y < 0 || y >= c.h || px < 0 || px >= c.w) continue;
        for (int64_t i = 0; i < s.in; ++i) {
          const size_t at = static_cast<size_t>(((o * s.kernel + ky) * s.kernel + kx) * s.in + i);
          total += int64_t{x.at(n, y, px, i)} * weights.values[at];
        }
      }
    }
    return total;
  }
};

enum class Add { none, bytes, floats };

// Compares every output with the plain loop. `volatile` keeps the compiler from fusing a multiplication and an
// addition.
void check_case(const Case& c, Add add, bool floats, int8::Path path) {
  SCOPED_TRACE(testing::Message() << c << " add " << static_cast<int>(add) << " floats " << floats << " path "
                                  << static_cast<int>(path));
  Problem p(c);
  const float out_scale = floats ? 0.0F : p.out_scale;
  const Int8Conv conv(c.shape, p.weights, p.in_scale, out_scale, false, add == Add::bytes ? p.add_scale : 1.0F);
  Bytes y(p.add.layout);
  const size_t count = static_cast<size_t>(c.n * p.out_h * p.out_w * c.shape.out);
  std::vector<float> y_f32(count, -1.0F);
  Int8Conv::Call call{.in = p.x.layout, .x = p.x.data.data(), .relu = true};
  if (floats) {
    call.y_f32 = y_f32.data();
  } else {
    call.y_u8 = y.data.data();
  }
  if (add == Add::bytes) {
    call.add_u8 = p.add.data.data();
  }
  if (add == Add::floats) call.add_f32 = p.add_f32.data();
  conv.run_all(call, path);
  std::vector<uint8_t> interior(y.data.size(), 0);
  size_t at = 0;
  int wrong = 0;
  for (int64_t n = 0; n < c.n; ++n) {
    for (int64_t oy = 0; oy < p.out_h; ++oy) {
      for (int64_t ox = 0; ox < p.out_w; ++ox) {
        for (int64_t o = 0; o < c.shape.out; ++o, ++at) {
          const auto k = static_cast<size_t>(o);
          const double unit = static_cast<double>(p.in_scale) * p.weights.scale[k];
          const auto bias = static_cast<int64_t>(std::nearbyint(p.weights.bias[k] / unit));
          const auto scale = static_cast<float>(floats ? unit : unit / p.out_scale);
          volatile float v = static_cast<float>(p.sum(n, oy, ox, o) + bias) * scale;
          const float add_scale = (add == Add::bytes ? p.add_scale : 1.0F) / (floats ? 1.0F : p.out_scale);
          if (add != Add::none) {
            volatile float more =
                (add == Add::bytes ? static_cast<float>(p.add.at(n, oy, ox, o)) : p.add_f32[at]) * add_scale;
            v = v + more;
          }
          if (floats) {
            const float expected = v > 0 ? v : 0.0F;
            wrong += std::bit_cast<uint32_t>(expected) != std::bit_cast<uint32_t>(y_f32[at]) ? 1 : 0;
          } else {
            const float positive = v > 0 ? v : 0.0F;  // A NaN becomes 0.
            const auto expected = static_cast<uint8_t>(std::nearbyint(std::min(positive, 255.0F)));
            wrong += expected != y.at(n, oy, ox, o) ? 1 : 0;
            y.at(n, oy, ox, o) = 0;
          }
        }
      }
    }
  }
  EXPECT_EQ(wrong, 0) << "of " << count;
  EXPECT_EQ(y.data, interior) << "bytes outside of the picture were written";
}

const std::vector<Case> kCases = {
    {{32, 32, 3, 1, 1}, 1, 7, 5},       {{32, 32, 3, 1, 1}, 2, 4, 12},      {{64, 64, 3, 1, 1}, 1, 8, 6},
    {{18, 18, 3, 1, 1}, 2, 5, 13},      {{5, 49, 3, 1, 1}, 1, 3, 3},        {{1, 1, 3, 1, 1}, 1, 1, 1},
    {{32, 64, 3, 2, 1}, 2, 9, 7},       {{16, 33, 3, 2, 1}, 1, 8, 6},       {{64, 32, 1, 1, 0}, 2, 3, 11},
    {{20, 17, 1, 2, 0}, 1, 7, 5},       {{256, 40, 1, 1, 0}, 1, 1, 2},      {{128, 96, 3, 1, 1}, 1, 2, 3},
    {{12, 40, 4, 2, 1, true}, 2, 3, 5}, {{33, 16, 4, 2, 1, true}, 1, 1, 1}, {{300, 70, 3, 1, 1}, 1, 4, 4},
};

TEST(Int8Conv, EqualsThePlainLoopBitByBitOnEveryPath) {
  for (const int8::Path path : {int8::Path::plain, int8::Path::avx2, int8::Path::vnni}) {
    if (!int8::has_path(path)) continue;
    for (const Case& c : kCases) {
      for (const Add add : {Add::none, Add::bytes, Add::floats}) {
        for (const bool floats : {false, true}) {
          if (c.shape.transposed && add == Add::floats) continue;
          if (floats && add == Add::bytes) continue;
          check_case(c, add, floats, path);
        }
      }
    }
  }
}

double silu(double v) { return v / (1 + std::exp(-v)); }

// Fills the border of the input with its zero, as the networks do.
void fill_border(Bytes& t, int zero) {
  for (int64_t n = 0; n < t.layout.n; ++n) int8_fill_border(t.layout, n, static_cast<uint8_t>(zero), t.data.data());
}

// Factors of channels, which differ by up to a hundred times.
std::vector<float> some_factors(int64_t channels, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> exponent(-2, 0);
  std::vector<float> factors(static_cast<size_t>(channels));
  for (float& f : factors) f = std::pow(10.0F, exponent(random));
  return factors;
}

// A convolution with SiLU, whose input, summand and output have a zero of their own and whose channels have factors, in
// double precision.
TEST(Int8Conv, WithSiluAndZerosIsWithinOneStepAndHasTheSameBitsOnEveryPath) {
  constexpr int kIn = 37, kAdd = 11, kOut = 5;
  for (const Case& c : {Case{{32, 32, 3, 1, 1}, 1, 7, 5}, Case{{18, 20, 3, 1, 1}, 2, 5, 13},
                        Case{{5, 49, 3, 2, 1}, 1, 6, 3}, Case{{64, 33, 1, 1, 0}, 2, 3, 11}}) {
    for (const bool floats : {false, true}) {
      SCOPED_TRACE(testing::Message() << c << " floats " << floats);
      Problem p(c);
      for (float& s : p.weights.scale) s *= 0.05F;
      fill_border(p.x, kIn);
      const std::vector<float> factors = some_factors(c.shape.out, 8), add_factors = some_factors(c.shape.out, 9);
      const Int8Steps out = floats ? Int8Steps() : Int8Steps(p.out_scale, kOut, factors);
      const Int8Steps add = floats ? Int8Steps(1.0F) : Int8Steps(p.add_scale, kAdd, add_factors);
      const Int8Conv conv(c.shape, p.weights, {p.in_scale, kIn}, out, true, add);
      std::vector<std::vector<uint8_t>> bytes;
      std::vector<std::vector<float>> reals;
      for (const int8::Path path : {int8::Path::plain, int8::Path::avx2, int8::Path::vnni}) {
        if (!int8::has_path(path)) continue;
        bytes.emplace_back(p.add.data.size(), 0);
        reals.emplace_back(p.add_f32.size(), 0.0F);
        Int8Conv::Call call{.in = p.x.layout, .x = p.x.data.data()};
        floats ? void(call.y_f32 = reals.back().data()) : void(call.y_u8 = bytes.back().data());
        if (!floats) call.add_u8 = p.add.data.data();
        conv.run_all(call, path);
        EXPECT_EQ(bytes.back(), bytes.front());
        EXPECT_EQ(reals.back(), reals.front());
      }
      Bytes y(p.add.layout);
      y.data = bytes.front();
      size_t at = 0, inside = 0;
      for (int64_t n = 0; n < c.n; ++n) {
        for (int64_t oy = 0; oy < p.out_h; ++oy) {
          for (int64_t ox = 0; ox < p.out_w; ++ox) {
            for (int64_t o = 0; o < c.shape.out; ++o, ++at) {
              const auto k = static_cast<size_t>(o);
              double sum = 0;
              for (int64_t ky = 0; ky < c.shape.kernel; ++ky) {
                for (int64_t kx = 0; kx < c.shape.kernel; ++kx) {
                  const int64_t iy = oy * c.shape.stride - c.shape.pad + ky,
                                ix = ox * c.shape.stride - c.shape.pad + kx;
                  if (iy < 0 || iy >= c.h || ix < 0 || ix >= c.w) continue;
                  for (int64_t i = 0; i < c.shape.in; ++i)
                    sum += (p.x.at(n, iy, ix, i) - kIn) *
                           p.weights.values[static_cast<size_t>(
                               ((o * c.shape.kernel + ky) * c.shape.kernel + kx) * c.shape.in + i)];
                }
              }
              const double unit = static_cast<double>(p.in_scale) * p.weights.scale[k];
              double v = silu((sum + std::nearbyint(p.weights.bias[k] / unit)) * unit);
              if (floats) {
                ASSERT_NEAR(reals.front()[at], v, 2e-5 * std::max(1.0, std::abs(v)));
                continue;
              }
              v += (p.add.at(n, oy, ox, o) - kAdd) * static_cast<double>(p.add_scale) * add_factors[k];
              const double steps = v / (static_cast<double>(p.out_scale) * factors[k]) + kOut;
              ASSERT_NEAR(y.at(n, oy, ox, o), std::clamp(steps, 0.0, 255.0), 0.501);
              inside += steps > 0 && steps < 255 ? 1 : 0;
            }
          }
        }
      }
      EXPECT_TRUE(floats || inside > at / 10) << "most results were limited, so nothing was tested";
    }
  }
}

TEST(Int8Depthwise, IsWithinOneStepOfTheSumInDoublePrecision) {
  constexpr int kIn = 21, kOut = 9;
  for (const Case& c :
       {Case{{7, 7, 3, 1, 1}, 2, 5, 4}, Case{{40, 40, 3, 2, 1}, 1, 9, 6}, Case{{33, 33, 5, 1, 1}, 1, 7, 7}}) {
    SCOPED_TRACE(testing::Message() << c);
    Problem p({{c.shape.in, c.shape.out, 3, c.shape.stride, c.shape.pad}, c.n, c.h, c.w});
    fill_border(p.x, kIn);
    const int64_t taps = int64_t{c.shape.kernel} * c.shape.kernel;
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 0.3F);
    std::vector<float> filter(static_cast<size_t>(c.shape.in * taps)), bias(static_cast<size_t>(c.shape.in));
    for (float& v : filter) v = normal(random);
    for (float& v : bias) v = normal(random);
    const std::vector<float> factors = some_factors(c.shape.out, 8);
    const Int8Depthwise conv(c.shape, filter, bias, {p.in_scale, kIn}, {p.out_scale, kOut, factors}),
        of_floats(c.shape, filter, bias, {}, {p.out_scale, kOut, factors});
    std::vector<float> x;  // The same numbers as floats, without a border.
    for (int64_t n = 0; n < c.n; ++n) {
      for (int64_t i = 0; i < c.h * c.w * c.shape.in; ++i) {
        const int64_t pixel = i / c.shape.in;
        x.push_back(static_cast<float>(p.x.at(n, pixel / c.w, pixel % c.w, i % c.shape.in) - kIn) * p.in_scale);
      }
    }
    const auto side = [&](int64_t a) { return (a + 2 * c.shape.pad - c.shape.kernel) / c.shape.stride + 1; };
    Bytes y({c.n, side(c.h), side(c.w), c.shape.out}), z(y.layout);
    for (int64_t n = 0; n < c.n; ++n) {
      for (int64_t oy = 0; oy < y.layout.h; ++oy) {
        conv.row(p.x.layout, p.x.data.data(), y.layout, n, oy, y.data.data());
        of_floats.row(p.x.layout, x.data(), z.layout, n, oy, z.data.data());
        for (int64_t ox = 0; ox < y.layout.w; ++ox) {
          for (int64_t o = 0; o < c.shape.out; ++o) {
            double sum = bias[static_cast<size_t>(o)];
            for (int64_t t = 0; t < taps; ++t) {
              const int64_t iy = oy * c.shape.stride - c.shape.pad + t / c.shape.kernel,
                            ix = ox * c.shape.stride - c.shape.pad + t % c.shape.kernel;
              if (iy < 0 || iy >= c.h || ix < 0 || ix >= c.w) continue;
              sum += (p.x.at(n, iy, ix, o) - kIn) * static_cast<double>(p.in_scale) *
                     filter[static_cast<size_t>(o * taps + t)];
            }
            const double step = static_cast<double>(p.out_scale) * factors[static_cast<size_t>(o)];
            // With a small factor a step is small, and the rounding of the sums to float32 is a larger part of it.
            const double steps = std::clamp(silu(sum) / step + kOut, 0.0, 255.0), most = 0.501 + 1e-5 / step;
            ASSERT_NEAR(y.at(n, oy, ox, o), steps, most);
            ASSERT_NEAR(z.at(n, oy, ox, o), steps, most);
          }
        }
      }
    }
  }
}

TEST(Int8Conv, RefusesFactorsThatDoNotFit) {
  const Shape s{4, 4, 1, 1, 0};
  const std::vector<float> filter(16, 0.5F), bias(4, 0.0F), one_channel(4, 0.5F);
  const Int8Weights w = quantise_weights(filter, bias);
  const Int8Step in(1.0F, 3);
  EXPECT_NO_THROW(Int8Conv(s, w, in, {1.0F, 3, {1, 1, 1, 1}}, true, {1.0F, 3, {1, 1, 1, 1}}));
  EXPECT_THROW(Int8Conv(s, w, 1.0F, {1.0F, 0, {1, 1, 1, 1}}), Error) << "without SiLU";
  for (const std::vector<float>& bad : {std::vector<float>(3, 1), {1, 1, 0, 1}, {1, 1, -1, 1}, {1, 1, NAN, 1}}) {
    EXPECT_THROW(Int8Conv(s, w, in, {1.0F, 3, bad}, true), Error);
    EXPECT_THROW(Int8Conv(s, w, in, {1.0F, 3}, true, {1.0F, 3, bad}), Error);
    EXPECT_THROW(Int8Stem(s, filter, bias, {1.0F, 3, bad}, true), Error);
    EXPECT_THROW(Int8Depthwise(s, one_channel, bias, in, {1.0F, 3, bad}), Error);
  }
  EXPECT_THROW(Int8Stem(s, filter, bias, Int8Steps()), Error) << "floats without SiLU";
  EXPECT_THROW(Int8Depthwise(s, one_channel, bias, in, Int8Steps()), Error) << "floats out";
}

TEST(Int8Conv, QuantisedWeightsReachTheLargestByteAndComeBackWithinHalfAStep) {
  const std::vector<float> filter{0.5F, -1.0F, 0.25F, 0.0F, 3.0F, -6.0F, 6.0F, 0.01F}, bias{1.0F, 2.0F};
  const Int8Weights w = quantise_weights(filter, bias);
  ASSERT_EQ(w.values.size(), filter.size());
  EXPECT_EQ(w.values[1], -127);
  EXPECT_EQ(w.values[5], -127);
  EXPECT_EQ(w.values[6], 127);
  for (size_t i = 0; i < filter.size(); ++i)
    EXPECT_NEAR(static_cast<float>(w.values[i]) * w.scale[i / 4], filter[i], w.scale[i / 4] * 0.5001F);
}

TEST(Int8Conv, RefusesShapesAndScalesThatItCannotCompute) {
  const auto weights = [](const Shape& s) {
    Int8Weights w;
    w.values.assign(static_cast<size_t>(s.out * s.in * s.kernel * s.kernel), 1);
    w.scale.assign(static_cast<size_t>(s.out), 1.0F);
    w.bias.assign(static_cast<size_t>(s.out), 0.0F);
    return w;
  };
  const Shape good{8, 8, 3, 1, 1};
  EXPECT_NO_THROW(Int8Conv(good, weights(good), 1.0F, 1.0F));
  EXPECT_THROW(Int8Conv(good, weights({8, 9, 3, 1, 1}), 1.0F, 1.0F), Error);
  EXPECT_THROW(Int8Conv(good, weights(good), 0.0F, 1.0F), Error);
  EXPECT_THROW(Int8Conv(good, weights(good), 1.0F, -1.0F), Error);
  EXPECT_THROW(Int8Conv(good, weights(good), NAN, 1.0F), Error);
  const Shape wide_pad{8, 8, 7, 2, 3}, odd_transposed{8, 8, 3, 2, 1, true}, many{33200, 1, 1, 1, 0};
  EXPECT_THROW(Int8Conv(wide_pad, weights(wide_pad), 1.0F, 1.0F), Error);
  EXPECT_THROW(Int8Conv(odd_transposed, weights(odd_transposed), 1.0F, 1.0F), Error);
  EXPECT_THROW(Int8Conv(many, weights(many), 1.0F, 1.0F), Error);
  Int8Weights infinite = weights(good);
  infinite.bias[3] = INFINITY;
  EXPECT_THROW(Int8Conv(good, infinite, 1.0F, 1.0F), Error);
}

TEST(Int8Stem, EqualsThePlainLoopBitByBit) {
  struct Sizes {
    Shape shape;
    int64_t h, w;
  };
  for (const Sizes& c : {Sizes{{3, 64, 3, 2, 1}, 9, 13}, Sizes{{3, 64, 7, 2, 3}, 8, 22}, Sizes{{3, 18, 3, 1, 1}, 1, 1},
                         Sizes{{2, 40, 3, 2, 1}, 4, 7}}) {
    SCOPED_TRACE(testing::Message() << c.h << "x" << c.w << " k" << c.shape.kernel << " to " << c.shape.out);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    const auto numbers = [&](int64_t count) {
      std::vector<float> all(static_cast<size_t>(count));
      for (float& v : all) v = normal(random);
      return all;
    };
    const Shape& s = c.shape;
    const int64_t n = 2, row = s.kernel * s.in;
    const std::vector<float> images = numbers(n * c.h * c.w * s.in), filter = numbers(s.out * s.kernel * row),
                             bias = numbers(s.out);
    const Int8Stem stem(s, filter, bias, 0.05F);
    Bytes y({n, stem.out_side(c.h), stem.out_side(c.w), s.out});
    int wrong = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t oy = 0; oy < y.layout.h; ++oy) {
        stem.row(images.data(), c.h, c.w, y.layout, i, oy, y.data.data());
        for (int64_t ox = 0; ox < y.layout.w; ++ox) {
          for (int64_t o = 0; o < s.out; ++o) {
            volatile float sum = bias[static_cast<size_t>(o)];
            for (int64_t t = 0; t < s.kernel * row; ++t) {
              const int64_t iy = oy * s.stride - s.pad + t / row, ix = ox * s.stride - s.pad + t % row / s.in;
              if (iy < 0 || iy >= c.h || ix < 0 || ix >= c.w) continue;
              const auto at = static_cast<size_t>(((i * c.h + iy) * c.w + ix) * s.in + t % s.in);
              volatile float product = images[at] * filter[static_cast<size_t>(o * s.kernel * row + t)];
              sum = sum + product;
            }
            volatile float steps = sum * (1.0F / 0.05F);
            const auto expected = static_cast<uint8_t>(std::nearbyint(std::clamp(float{steps}, 0.0F, 255.0F)));
            wrong += expected != y.at(i, oy, ox, o) ? 1 : 0;
            y.at(i, oy, ox, o) = 0;
          }
        }
      }
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(y.data, std::vector<uint8_t>(y.data.size(), 0)) << "bytes outside of the picture were written";
  }
}

// With SiLU, as bytes with a zero and factors, and as floats.
TEST(Int8Stem, WithSiluIsWithinOneStepOrFloat) {
  const Shape s{3, 37, 3, 2, 1};
  const int64_t h = 7, w = 15, taps = int64_t{s.kernel} * s.kernel * s.in;
  constexpr int kOut = 30;
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  const auto numbers = [&](int64_t count) {
    std::vector<float> all(static_cast<size_t>(count));
    for (float& v : all) v = normal(random);
    return all;
  };
  const std::vector<float> images = numbers(2 * h * w * s.in), filter = numbers(s.out * taps), bias = numbers(s.out),
                           factors = some_factors(s.out, 8);
  const Int8Stem stem(s, filter, bias, {0.05F, kOut, factors}, true), exact(s, filter, bias, Int8Steps(), true);
  Bytes y({2, stem.out_side(h), stem.out_side(w), s.out});
  std::vector<float> floats(static_cast<size_t>(2 * y.layout.h * y.layout.w * s.out));
  size_t at = 0;
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t oy = 0; oy < y.layout.h; ++oy) {
      stem.row(images.data(), h, w, y.layout, n, oy, y.data.data());
      exact.row(images.data(), h, w, y.layout, n, oy, nullptr, floats.data());
      for (int64_t i = 0; i < y.layout.w * s.out; ++i, ++at) {
        const int64_t ox = i / s.out, o = i % s.out;
        double sum = bias[static_cast<size_t>(o)];
        for (int64_t t = 0; t < taps; ++t) {
          const int64_t iy = oy * s.stride - s.pad + t / (s.kernel * s.in),
                        ix = ox * s.stride - s.pad + t / s.in % s.kernel;
          if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
          sum += static_cast<double>(images[static_cast<size_t>(((n * h + iy) * w + ix) * s.in + t % s.in)]) *
                 filter[static_cast<size_t>(o * taps + t)];
        }
        ASSERT_NEAR(floats[at], silu(sum), 2e-5 * std::max(1.0, std::abs(sum)));
        const double step = 0.05 * factors[static_cast<size_t>(o)];
        ASSERT_NEAR(y.at(n, oy, ox, o), std::clamp(silu(sum) / step + kOut, 0.0, 255.0), 0.501 + 1e-5 / step);
      }
    }
  }
}

}  // namespace
}  // namespace hr
