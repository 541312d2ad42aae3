#include "ops/conv/row_conv.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "ops/conv/depthwise_loops.h"
#include "tests/support/conv3x3.h"
#include "tests/support/cpu_levels.h"
#include "tests/support/threads.h"

namespace hr {
namespace {

using test::Floats;
using test::levels;
using test::numbers;
using test::Threads;
using test::Values;

double activated(double sum, double add, ConvAct act) {
  if (act == ConvAct::silu) return sum / (1 + std::exp(-sum)) + add;
  return act == ConvAct::relu ? std::max(0.0, sum + add) : sum + add;
}

std::string name_of(const ConvGeometry& g) {
  return fmt::format("[{}, {}, {}, {}] -> {}, {}x{}, stride {}, pad {}", g.n, g.h, g.w, g.ci, g.co, g.kh, g.kw,
                     g.stride, g.pad);
}

// The formula of ConvAct with plain loops.
Values plain(const ConvGeometry& g, const Floats& x, const Floats& f, const Floats& bias, const Floats& add,
             ConvAct act) {
  Values out;
  for (int64_t at = 0; at < g.n * g.out_h() * g.out_w(); ++at) {
    const int64_t n = at / (g.out_h() * g.out_w()), oy = at / g.out_w() % g.out_h(), ox = at % g.out_w();
    for (int64_t k = 0; k < g.co; ++k) {
      double sum = bias.empty() ? 0.0 : bias[k];
      for (int64_t tap = 0; tap < g.kh * g.kw; ++tap) {
        const int64_t y = oy * g.stride - g.pad + tap / g.kw, xx = ox * g.stride - g.pad + tap % g.kw;
        if (y < 0 || xx < 0 || y >= g.h || xx >= g.w) continue;
        for (int64_t c = 0; c < g.ci; ++c)
          sum += static_cast<double>(x[((n * g.h + y) * g.w + xx) * g.ci + c]) * f[(k * g.kh * g.kw + tap) * g.ci + c];
      }
      out.push_back(activated(sum, add.empty() ? 0.0 : add[at * g.co + k], act));
    }
  }
  return out;
}

Values as_values(const Floats& f) { return {f.begin(), f.end()}; }

// Odd sizes: channels that do not fill a vector, runs of pixels that do not fill a block, more pixels than one piece.
const std::vector<ConvGeometry> kShapes = {
    {.n = 1, .h = 1, .w = 1, .ci = 1, .co = 1},
    {.n = 2, .h = 7, .w = 5, .ci = 37, .co = 5},
    {.n = 1, .h = 13, .w = 13, .ci = 64, .co = 80},
    {.n = 3, .h = 11, .w = 23, .ci = 16, .co = 16},
    {.n = 1, .h = 2, .w = 5, .ci = 19, .co = 33},
    {.n = 1, .h = 1, .w = 19, .ci = 8, .co = 49},
    {.n = 2, .h = 14, .w = 18, .ci = 3, .co = 16, .kh = 6, .kw = 6, .stride = 2, .pad = 2},
    {.n = 1, .h = 8, .w = 62, .ci = 3, .co = 56, .kh = 6, .kw = 6, .stride = 2, .pad = 2},
    {.n = 1, .h = 3, .w = 53, .ci = 3, .co = 16, .kh = 3, .kw = 3, .stride = 1, .pad = 1},
    {.n = 1, .h = 9, .w = 7, .ci = 3, .co = 21, .kh = 3, .kw = 3, .stride = 2, .pad = 1},
    {.n = 1, .h = 5, .w = 31, .ci = 4, .co = 7, .kh = 3, .kw = 2, .stride = 1, .pad = 0},
    {.n = 2, .h = 6, .w = 3, .ci = 1, .co = 40, .kh = 1, .kw = 1, .stride = 3, .pad = 1}};

TEST(RowConv, OutputsAreThoseOfPlainLoops) {
  for (const CpuLevel level : levels()) {
    RowConv rows(level);
    for (const ConvGeometry& g : kShapes) {
      ASSERT_TRUE(rows.supports(g)) << name_of(g);
      const int64_t outputs = g.n * g.out_h() * g.out_w() * g.co;
      const Floats x = numbers(g.n * g.h * g.w * g.ci, 1), f = numbers(g.co * g.kh * g.kw * g.ci, 2),
                   bias = numbers(g.co, 3), add = numbers(outputs, 4);
      for (const ConvAct act : {ConvAct::none, ConvAct::relu, ConvAct::silu}) {
        for (const bool all : {false, true}) {
          PackedFilters packed;
          Floats y(outputs, NAN);
          // The second call reads the kept filters.
          for (int call = 0; call < 2; ++call) {
            rows.forward(Context(), g, x.data(), f.data(), all ? bias.data() : nullptr, all ? add.data() : nullptr, act,
                         y.data(), all ? &packed : nullptr);
            const Values expected = plain(g, x, f, all ? bias : Floats(), all ? add : Floats(), act);
            EXPECT_TRUE(test::close(as_values(y), expected, 2e-6 * std::max(1.0, test::max_abs(expected))))
                << name_of(g) << " level " << static_cast<int>(level) << " act " << static_cast<int>(act);
          }
        }
      }
    }
  }
}

TEST(RowConv, SiluOfAnyNumber) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  Floats x = {0, -0.0F, 1e-40F, -1e-40F, 1, -1, 20, -20, 86.9F, -86.9F, 87.1F, -87.1F, 1000, -1000, 3e38F, inf};
  for (float v = -90; v < 90; v += 0.37F) x.push_back(v);
  const Floats not_numbers = {std::nanf(""), -std::nanf(""), std::bit_cast<float>(0x7fc00155u)};
  x.insert(x.end(), not_numbers.begin(), not_numbers.end());
  const ConvGeometry g{.n = 1, .h = 1, .w = static_cast<int64_t>(x.size()), .ci = 1, .co = 1};
  const float one = 1;
  for (const CpuLevel level : levels()) {
    RowConv rows(level);
    Floats y(x.size());
    rows.forward(Context(), g, x.data(), &one, nullptr, nullptr, ConvAct::silu, y.data(), nullptr);
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(x[i])) {
        EXPECT_TRUE(std::isnan(y[i])) << y[i];
        continue;
      }
      const double expected = activated(x[i], 0, ConvAct::silu);
      // The error of log2(e) grows with v. Of numbers below -87, silu(v) is less than 1e-34; the limit makes it larger.
      const double bound = (4e-7 + 2e-8 * std::abs(static_cast<double>(x[i]))) * std::abs(expected) + 1e-34;
      const bool near = y[i] == x[i] || std::abs(y[i] - expected) <= (x[i] < -87 ? 1e-33 : bound);
      EXPECT_TRUE(near) << x[i] << ": " << y[i] << ", expected " << expected;
    }
  }
}

TEST(RowConv, BitsDoNotDependOnThreadsOrOnOtherPictures) {
  for (const CpuLevel level : levels()) {
    RowConv rows(level);
    for (const ConvGeometry& g : kShapes) {
      const int64_t outputs = g.n * g.out_h() * g.out_w() * g.co;
      const Floats x = numbers(g.n * g.h * g.w * g.ci, 1), f = numbers(g.co * g.kh * g.kw * g.ci, 2);
      Floats first;
      for (const int threads : {1, 2, 3}) {
        const Threads use(threads);
        Floats y(outputs, NAN);
        rows.forward(Context(), g, x.data(), f.data(), nullptr, nullptr, ConvAct::silu, y.data(), nullptr);
        if (first.empty()) first = y;
        EXPECT_EQ(y, first) << name_of(g) << ", " << threads << " threads";
      }
      ConvGeometry one = g;
      one.n = 1;
      Floats y(outputs / g.n, NAN);
      rows.forward(Context(), one, x.data() + x.size() / g.n * (g.n - 1), f.data(), nullptr, nullptr, ConvAct::silu,
                   y.data(), nullptr);
      EXPECT_EQ(y, Floats(first.end() - static_cast<int64_t>(y.size()), first.end())) << name_of(g);
    }
  }
}

TEST(RowConv, JoinedInputsAreThoseOfTheirConcatenation) {
  struct Part {
    int64_t channels;
    int up;
  };
  const std::vector<std::vector<Part>> cases = {{{5, 0}, {16, 0}}, {{7, 1}, {3, 0}}, {{3, 0}, {17, 2}, {4, 0}, {2, 2}}};
  for (const CpuLevel level : levels()) {
    RowConv rows(level);
    for (const auto& parts : cases) {
      ConvGeometry g{.n = 2, .h = 8, .w = 12, .co = 35};
      std::vector<Floats> data;
      std::vector<ConvInput> inputs;
      for (const Part& part : parts) {
        g.ci += part.channels;
        data.push_back(numbers(g.n * (g.h >> part.up) * (g.w >> part.up) * part.channels, data.size() + 5));
      }
      Floats joined;
      for (int64_t at = 0; at < g.n * g.h * g.w; ++at) {
        const int64_t n = at / (g.h * g.w), y = at / g.w % g.h, x = at % g.w;
        for (size_t i = 0; i < parts.size(); ++i) {
          const int up = parts[i].up;
          const int64_t from = (n * (g.h >> up) + (y >> up)) * (g.w >> up) + (x >> up);
          joined.insert(joined.end(), data[i].begin() + from * parts[i].channels,
                        data[i].begin() + (from + 1) * parts[i].channels);
        }
      }
      for (size_t i = 0; i < parts.size(); ++i) inputs.push_back({data[i].data(), parts[i].channels, parts[i].up});
      const Floats f = numbers(g.co * g.ci, 2), bias = numbers(g.co, 3);
      const Values expected = plain(g, joined, f, bias, {}, ConvAct::silu);
      PackedFilters packed;
      for (const int threads : {1, 3}) {
        const Threads use(threads);
        Floats y(g.n * g.h * g.w * g.co, NAN);
        rows.forward_joined(Context(), g, inputs, f.data(), bias.data(), ConvAct::silu, y.data(), &packed);
        EXPECT_TRUE(test::close(as_values(y), expected, 2e-6 * std::max(1.0, test::max_abs(expected)))) << parts.size();
      }
    }
  }
}

TEST(DepthwiseLoops, OutputsAreThoseOfPlainLoops) {
  struct Shape {
    int64_t n, h, w, c;
    int stride, pad;
  };
  const Shape shapes[] = {{2, 9, 13, 20, 1, 1}, {1, 11, 14, 33, 2, 1}, {1, 6, 9, 17, 1, 2}, {3, 3, 3, 16, 2, 0},
                          {1, 1, 1, 5, 1, 1},   {2, 3, 40, 8, 1, 0},   {1, 8, 10, 48, 2, 2}};
  for (const CpuLevel level : levels()) {
    const depthwise::Loop loop = depthwise::loop_at(level);
    for (const Shape& s : shapes) {
      for (const bool silu : {false, true}) {
        const int64_t out_h = (s.h + 2 * s.pad - 3) / s.stride + 1, out_w = (s.w + 2 * s.pad - 3) / s.stride + 1;
        const Floats x = numbers(s.n * s.h * s.w * s.c, 1), f = numbers(9 * s.c, 2), bias = numbers(s.c, 3);
        Values expected;
        for (int64_t at = 0; at < s.n * out_h * out_w * s.c; ++at) {
          const int64_t c = at % s.c, ox = at / s.c % out_w, oy = at / s.c / out_w % out_h,
                        n = at / s.c / out_w / out_h;
          double sum = silu ? bias[c] : 0.0;
          for (int64_t tap = 0; tap < 9; ++tap) {
            const int64_t iy = oy * s.stride - s.pad + tap / 3, ix = ox * s.stride - s.pad + tap % 3;
            if (iy < 0 || ix < 0 || iy >= s.h || ix >= s.w) continue;
            sum += static_cast<double>(x[((n * s.h + iy) * s.w + ix) * s.c + c]) * f[tap * s.c + c];
          }
          expected.push_back(activated(sum, 0, silu ? ConvAct::silu : ConvAct::none));
        }
        Floats y(expected.size(), NAN);
        const depthwise::Problem p{.x = x.data(),
                                   .filter = f.data(),
                                   .bias = silu ? bias.data() : nullptr,
                                   .y = y.data(),
                                   .h = s.h,
                                   .w = s.w,
                                   .channels = s.c,
                                   .out_h = out_h,
                                   .out_w = out_w,
                                   .stride = s.stride,
                                   .pad = s.pad,
                                   .silu = silu};
        // The runs begin and end within rows, and the first one has a single pixel.
        const int64_t pixels = s.n * out_h * out_w;
        int64_t begin = 0;
        for (const int64_t end : {int64_t{1}, pixels * 3 / 7, pixels * 5 / 7, pixels}) {
          if (end <= begin) continue;
          loop(p, begin, end);
          begin = end;
        }
        EXPECT_TRUE(test::close(as_values(y), expected, 2e-6 * std::max(1.0, test::max_abs(expected))))
            << s.h << "x" << s.w << "x" << s.c << " stride " << s.stride << " pad " << s.pad;
      }
    }
  }
}

}  // namespace
}  // namespace hr
