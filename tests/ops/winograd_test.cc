#include "ops/conv/winograd.h"

#include <gtest/gtest.h>

#include <set>

#include "core/parallel.h"
#include "ops/conv/dnnl_conv.h"
#include "ops/conv/winograd_prefetch.h"
#include "tests/support/conv3x3.h"
#include "tests/support/cpu_levels.h"
#include "tests/support/threads.h"

namespace hr {
namespace {

using test::filter_size;
using test::Floats;
using test::geometry;
using test::levels;
using test::name_of;
using test::numbers;
using test::Threads;
using test::Values;
using test::x_size;
using test::y_size;

// Sizes around the tile of 4 and the patch of 6, channels around the vectors of 8 and 16 and the blocks of 16 and 32,
// and both ways to divide the work: the last three have so many channels and so few tiles that channels are divided.
std::vector<ConvGeometry> geometries() {
  std::vector<ConvGeometry> list;
  for (const auto& [h, w] : {std::pair{1, 1}, {1, 7}, {4, 4}, {5, 3}, {6, 9}, {13, 11}}) {
    for (const auto& [ci, co] : {std::pair{1, 1}, {3, 17}, {16, 32}, {33, 7}, {40, 49}}) {
      list.push_back(geometry(2, h, w, ci, co));
    }
  }
  for (const int pad : {0, 2}) {
    list.push_back(geometry(1, 3, 3, 5, 6, pad));
    list.push_back(geometry(2, 7, 10, 18, 20, pad));
  }
  list.push_back(geometry(1, 8, 6, 130, 70));
  list.push_back(geometry(3, 7, 5, 96, 97));
  list.push_back(geometry(2, 6, 6, 70, 130, 0));
  return list;
}

// The convolution in double precision, and for each output a bound of Winograd's error: its formula with the absolute
// values of all numbers gives the size of everything that is added up, S. Every rounding of one operation changes its
// result by at most 2^-24 of it, and no term of the sum passes through more than C + 30 of them: 4 for each of the two
// multiplications with G and with B^T (the constant, the product and two sums), 1 for the product, C - 1 for the sum
// over the channels, 5 for each of the two with A^T, and bias and summand. So |error| <= (C + 30) 2^-24 S.
struct Reference {
  Values y, bound;
};

constexpr double kA = 0.70710678118654752, kB = 1.41421356237309505;
constexpr double kG[6][3] = {{1, 0, 0},
                             {-2. / 3, -2 * kA / 3, -1. / 3},
                             {-2. / 3, 2 * kA / 3, -1. / 3},
                             {1. / 6, kB / 6, 1. / 3},
                             {1. / 6, -kB / 6, 1. / 3},
                             {0, 0, 1}};
constexpr double kBt[6][6] = {{1, 0, -2.5, 0, 1, 0},       {0, -2 * kA, -2, kA, 1, 0},  {0, 2 * kA, -2, -kA, 1, 0},
                              {0, -kB / 2, -.5, kB, 1, 0}, {0, kB / 2, -.5, -kB, 1, 0}, {0, 1, 0, -2.5, 0, 1}};
constexpr double kAt[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, kA, -kA, kB, -kB, 0}, {0, .5, .5, 2, 2, 0}, {0, kA / 2, -kA / 2, 2 * kB, -2 * kB, 1}};

// Element (i, j) of |M| |data| |M|^T.
template <size_t Rows, size_t Columns, class Data>
double size_of_transform(const double (&m)[Rows][Columns], size_t i, size_t j, const Data& data) {
  double sum = 0;
  for (size_t y = 0; y < Columns; ++y) {
    for (size_t x = 0; x < Columns; ++x) sum += std::abs(m[i][y] * data(y, x) * m[j][x]);
  }
  return sum;
}

Reference reference(const ConvGeometry& g, const Floats& x, const Floats& filter) {
  const auto at = [&](int64_t n, int64_t y, int64_t u, int64_t c) {
    return y < 0 || y >= g.h || u < 0 || u >= g.w ? 0.0 : x[((n * g.h + y) * g.w + u) * g.ci + c];
  };
  Reference r{Values(y_size(g)), Values(y_size(g))};
  std::vector<double> u(36 * g.ci * g.co);
  for (int64_t k = 0; k < g.co; ++k) {
    for (int64_t c = 0; c < g.ci; ++c) {
      for (size_t p = 0; p < 36; ++p) {
        u[(p * g.ci + c) * g.co + k] = size_of_transform(
            kG, p / 6, p % 6, [&](size_t i, size_t j) { return filter[((k * 3 + i) * 3 + j) * g.ci + c]; });
      }
    }
  }
  for (int64_t n = 0; n < g.n; ++n) {
    for (int64_t y0 = 0; y0 < g.out_h(); y0 += 4) {
      for (int64_t x0 = 0; x0 < g.out_w(); x0 += 4) {
        std::vector<double> m(36 * g.co);
        for (size_t p = 0; p < 36; ++p) {
          for (int64_t c = 0; c < g.ci; ++c) {
            const double v = size_of_transform(kBt, p / 6, p % 6, [&](size_t i, size_t j) {
              return at(n, y0 - g.pad + static_cast<int64_t>(i), x0 - g.pad + static_cast<int64_t>(j), c);
            });
            for (int64_t k = 0; k < g.co; ++k) m[p * g.co + k] += v * u[(p * g.ci + c) * g.co + k];
          }
        }
        for (int64_t i = y0; i < std::min(y0 + 4, g.out_h()); ++i) {
          for (int64_t j = x0; j < std::min(x0 + 4, g.out_w()); ++j) {
            for (int64_t k = 0; k < g.co; ++k) {
              const int64_t to = ((n * g.out_h() + i) * g.out_w() + j) * g.co + k;
              r.bound[to] =
                  static_cast<double>(g.ci + 30) * 0x1p-24 *
                  size_of_transform(kAt, i - y0, j - x0, [&](size_t s, size_t t) { return m[(s * 6 + t) * g.co + k]; });
              for (int64_t t = 0; t < 9; ++t) {
                for (int64_t c = 0; c < g.ci; ++c) {
                  r.y[to] += at(n, i - g.pad + t / 3, j - g.pad + t % 3, c) * filter[(k * 9 + t) * g.ci + c];
                }
              }
            }
          }
        }
      }
    }
  }
  return r;
}

testing::AssertionResult within(const Floats& actual, const Values& exact, const Values& bound) {
  for (size_t i = 0; i < exact.size(); ++i) {
    if (!(std::abs(actual[i] - exact[i]) <= bound[i])) {
      return testing::AssertionFailure() << "element " << i << " of " << exact.size() << ": " << actual[i]
                                         << ", expected " << exact[i] << " +- " << bound[i];
    }
  }
  return testing::AssertionSuccess();
}

// Nothing before or after y is written.
class Guarded {
 public:
  explicit Guarded(int64_t n) : all_(n + 2 * kGuard, kMark) {}
  float* data() { return all_.data() + kGuard; }
  Floats values() const {
    for (size_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(all_[i], kMark);
      EXPECT_EQ(all_[all_.size() - 1 - i], kMark);
    }
    return Floats(all_.begin() + kGuard, all_.end() - kGuard);
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr float kMark = 12345;
  Floats all_;
};

Floats forward(Winograd& winograd, const ConvGeometry& g, const Floats& x, const Floats& filter,
               const float* bias = nullptr, const float* add = nullptr, ConvAct act = ConvAct::none) {
  Guarded y(y_size(g));
  winograd.forward(Context(), g, x.data(), filter.data(), bias, add, act, y.data());
  return y.values();
}

TEST(Winograd, EveryOutputIsWithinTheBoundOfItsRoundings) {
  for (const ConvGeometry& g : geometries()) {
    const Floats x = numbers(x_size(g), 1), filter = numbers(filter_size(g), 2);
    const Reference r = reference(g, x, filter);
    for (const CpuLevel level : levels()) {
      SCOPED_TRACE(fmt::format("{}, level {}", name_of(g), static_cast<int>(level)));
      Winograd winograd(level);
      ASSERT_TRUE(winograd.supports(g));
      EXPECT_TRUE(within(forward(winograd, g, x, filter), r.y, r.bound));
    }
  }
}

// The bound above is the worst case. In practice roundings cancel: the rms error is about twice the direct sum's.
TEST(Winograd, TheRmsErrorIsAtMostThreeTimesThatOfTheDirectSum) {
  const ConvGeometry g = geometry(1, 16, 12, 64, 32);
  Floats x = numbers(x_size(g), 1);
  for (float& v : x) v = std::max(v, 0.0f);
  const Floats filter = numbers(filter_size(g), 2);
  const Values exact = reference(g, x, filter).y;
  const auto rms = [&](const Floats& got) {
    double errors = 0, values = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      errors += (got[i] - exact[i]) * (got[i] - exact[i]);
      values += exact[i] * exact[i];
    }
    return std::sqrt(errors / values);
  };
  DnnlConv direct;
  Floats y(y_size(g));
  direct.forward(Context(), g, x.data(), {filter.data()}, nullptr, nullptr, ConvAct::none, y.data(), nullptr);
  for (const CpuLevel level : levels()) {
    Winograd winograd(level);
    const double error = rms(forward(winograd, g, x, filter));
    EXPECT_LE(error, 3 * rms(y)) << "level " << static_cast<int>(level);
    EXPECT_LE(error, 1e-6) << "level " << static_cast<int>(level);
  }
}

// Bias, summand and activation in every combination, at channels that fill no vector.
TEST(Winograd, TheEpilogueIsThatOfConv2d) {
  for (const auto& [h, w, ci, co] : {std::array{5, 6, 9, 21}, {8, 8, 70, 120}}) {
    const ConvGeometry g = geometry(2, h, w, ci, co);
    const Floats x = numbers(x_size(g), 1), filter = numbers(filter_size(g), 2), bias = numbers(g.co, 3),
                 add = numbers(y_size(g), 4);
    const Reference r = reference(g, x, filter);
    for (const CpuLevel level : levels()) {
      Winograd winograd(level);
      for (const ConvAct act : {ConvAct::none, ConvAct::relu, ConvAct::silu}) {
        for (const int parts : {0, 1, 2, 3}) {
          const float* b = (parts & 1) != 0 ? bias.data() : nullptr;
          const float* s = (parts & 2) != 0 ? add.data() : nullptr;
          Values exact = r.y, bound = r.bound;
          for (size_t i = 0; i < exact.size(); ++i) {
            double v = exact[i] + (b != nullptr ? b[i % static_cast<size_t>(g.co)] : 0);
            if (act == ConvAct::silu) {
              v = v / (1 + std::exp(-v));
              // The derivative is at most 1.1, and the vectorised exponential is within a few roundings.
              bound[i] = 1.1 * bound[i] + 8 * 0x1p-24 * std::abs(v);
            }
            if (s != nullptr) v += s[i];
            bound[i] += 2 * 0x1p-24 * (std::abs(v) + std::abs(exact[i]));
            exact[i] = act == ConvAct::relu ? std::max(v, 0.0) : v;
          }
          EXPECT_TRUE(within(forward(winograd, g, x, filter, b, s, act), exact, bound))
              << name_of(g) << ", level " << static_cast<int>(level) << ", activation " << static_cast<int>(act)
              << ", parts " << parts;
        }
      }
    }
  }
}

// dx is the convolution of dy with the filters turned by half a turn, inputs and outputs exchanged.
TEST(Winograd, TheDataGradientIsWithinTheBoundOfItsRoundings) {
  for (const ConvGeometry& g : geometries()) {
    const Floats dy = numbers(y_size(g), 1), filter = numbers(filter_size(g), 2);
    Floats turned(filter.size());
    for (int64_t k = 0; k < g.co; ++k) {
      for (int64_t t = 0; t < 9; ++t) {
        for (int64_t c = 0; c < g.ci; ++c) turned[(c * 9 + 8 - t) * g.co + k] = filter[(k * 9 + t) * g.ci + c];
      }
    }
    const Reference r = reference(geometry(g.n, g.out_h(), g.out_w(), g.co, g.ci, 2 - g.pad), dy, turned);
    for (const CpuLevel level : levels()) {
      Winograd winograd(level);
      Guarded dx(x_size(g));
      winograd.backward_data(Context(), g, dy.data(), filter.data(), dx.data());
      EXPECT_TRUE(within(dx.values(), r.y, r.bound)) << name_of(g) << ", level " << static_cast<int>(level);
    }
  }
}

// The gradient of a filter and its bound: the formula of the gradient with absolute values. No term of the sum passes
// through more than T + 32 roundings for T tiles: 4 for each of the multiplications with B^T and with A, 1 for the
// product, T - 1 for the sum over the tiles, and 6 for each of the two with G^T.
Reference reference_of_filters(const ConvGeometry& g, const Floats& x, const Floats& dy) {
  const auto in = [&](int64_t n, int64_t y, int64_t u, int64_t c) {
    return y < 0 || y >= g.h || u < 0 || u >= g.w ? 0.0 : x[((n * g.h + y) * g.w + u) * g.ci + c];
  };
  const auto out = [&](int64_t n, int64_t y, int64_t u, int64_t k) {
    return y >= g.out_h() || u >= g.out_w() ? 0.0 : dy[((n * g.out_h() + y) * g.out_w() + u) * g.co + k];
  };
  double gt[3][6], a[6][4];
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = 0; j < 3; ++j) gt[j][i] = kG[i][j];
    for (size_t j = 0; j < 4; ++j) a[i][j] = kAt[j][i];
  }
  Reference r{Values(filter_size(g)), Values(filter_size(g))};
  std::vector<double> sums(36 * g.co * g.ci), v(36 * g.ci), m(36 * g.co);
  int64_t tiles = 0;
  for (int64_t n = 0; n < g.n; ++n) {
    for (int64_t y0 = 0; y0 < g.out_h(); y0 += 4) {
      for (int64_t x0 = 0; x0 < g.out_w(); x0 += 4) {
        ++tiles;
        for (size_t p = 0; p < 36; ++p) {
          for (int64_t c = 0; c < g.ci; ++c) {
            v[p * g.ci + c] = size_of_transform(kBt, p / 6, p % 6, [&](size_t i, size_t j) {
              return in(n, y0 - g.pad + static_cast<int64_t>(i), x0 - g.pad + static_cast<int64_t>(j), c);
            });
          }
          for (int64_t k = 0; k < g.co; ++k) {
            const double s = size_of_transform(a, p / 6, p % 6, [&](size_t i, size_t j) {
              return out(n, y0 + static_cast<int64_t>(i), x0 + static_cast<int64_t>(j), k);
            });
            for (int64_t c = 0; c < g.ci; ++c) sums[(p * g.co + k) * g.ci + c] += s * v[p * g.ci + c];
          }
        }
      }
    }
  }
  for (int64_t k = 0; k < g.co; ++k) {
    for (int64_t t = 0; t < 9; ++t) {
      for (int64_t c = 0; c < g.ci; ++c) {
        const int64_t to = (k * 9 + t) * g.ci + c;
        r.bound[to] = static_cast<double>(tiles + 32) * 0x1p-24 *
                      size_of_transform(gt, t / 3, t % 3,
                                        [&](size_t i, size_t j) { return sums[((i * 6 + j) * g.co + k) * g.ci + c]; });
        for (int64_t n = 0; n < g.n; ++n) {
          for (int64_t y = 0; y < g.out_h(); ++y) {
            for (int64_t u = 0; u < g.out_w(); ++u) {
              r.y[to] += in(n, y - g.pad + t / 3, u - g.pad + t % 3, c) * out(n, y, u, k);
            }
          }
        }
      }
    }
  }
  return r;
}

// The last but one needs several rounds of tiles. The last one is divided into strands, of which some end with fewer
// tiles than are transformed at once.
TEST(Winograd, TheFilterGradientIsWithinTheBoundOfItsRoundings) {
  std::vector<ConvGeometry> list = geometries();
  list.push_back(geometry(2, 37, 70, 120, 40));
  list.push_back(geometry(2, 57, 61, 24, 37));
  for (const ConvGeometry& g : list) {
    const Floats x = numbers(x_size(g), 1), dy = numbers(y_size(g), 2);
    const Reference r = reference_of_filters(g, x, dy);
    for (const CpuLevel level : levels()) {
      Winograd winograd(level);
      Guarded dfilter(filter_size(g));
      winograd.backward_filter(g, x.data(), dy.data(), dfilter.data());
      EXPECT_TRUE(within(dfilter.values(), r.y, r.bound)) << name_of(g) << ", level " << static_cast<int>(level);
    }
  }
}

// Any division of tiles and channels visits the lines of all outputs, and no other line.
TEST(Winograd, OutputLinesAreThoseOfTheOutputs) {
  for (const ConvGeometry& g : geometries()) {
    Floats y(y_size(g));
    winograd::Problem p = winograd::problem_of(g);
    p.y = y.data();
    std::set<uintptr_t> visited, expected;
    for (int64_t t = 0; t < p.tiles(); t += 3) {
      for (int64_t k0 = 0; k0 < p.k; k0 += 32) {
        winograd::for_output_lines(p, t, std::min(t + 3, p.tiles()), k0, k0 + 32,
                                   [&](const void* line) { visited.insert(reinterpret_cast<uintptr_t>(line)); });
      }
    }
    for (const float& v : y) expected.insert(reinterpret_cast<uintptr_t>(&v) / 64 * 64);
    ASSERT_TRUE(visited == expected) << name_of(g);
  }
}

// The sums of each part, counted in double precision from the outputs, which are those of forward(). Numbers with a
// mean of 100 lose no digits.
TEST(Winograd, StatisticsAreThoseOfTheOutputs) {
  std::vector<ConvGeometry> list = geometries();
  list.push_back(geometry(1, 64, 60, 512, 32));
  for (const ConvGeometry& g : list) {
    const Floats filter = numbers(filter_size(g), 2);
    Floats x = numbers(x_size(g), 1);
    for (float& v : x) v += 100;
    for (const CpuLevel level : levels()) {
      Winograd winograd(level);
      const Floats expected = forward(winograd, g, x, filter, nullptr, nullptr, ConvAct::none);
      Floats first;
      for (const int threads : {1, 2, 8, 3}) {
        const Threads scope(threads);
        Guarded y(y_size(g));
        const Tensor parts = winograd.forward_with_statistics(Context(), g, x.data(), filter.data(), y.data());
        const std::string where = fmt::format("{}, level {}", name_of(g), static_cast<int>(level));
        ASSERT_TRUE(y.values() == expected) << where;
        ASSERT_TRUE(parts.rank() == 3 && parts.dim(1) == 4 && parts.dim(2) == g.co) << where;
        const Floats all(parts.data<float>(), parts.data<float>() + parts.numel());
        if (first.empty()) first = all;
        ASSERT_TRUE(all == first) << where << ", " << threads << " threads";
      }
      // All sums are moved to one shift, the first output.
      const int64_t pixels = y_size(g) / g.co, count = static_cast<int64_t>(first.size()) / 4 / g.co;
      for (int64_t k = 0; k < g.co; ++k) {
        double n = 0, sum = 0, squares = 0, true_sum = 0, true_squares = 0;
        for (int64_t part = 0; part < count; ++part) {
          const float* at = first.data() + part * 4 * g.co + k;
          const double d = static_cast<double>(at[g.co]) - expected[k];
          n += at[0];
          sum += at[2 * g.co] + at[0] * d;
          squares += at[3 * g.co] + d * (2.0 * at[2 * g.co] + at[0] * d);
        }
        for (int64_t i = 0; i < pixels; ++i) {
          const double d = static_cast<double>(expected[i * g.co + k]) - expected[k];
          true_sum += d;
          true_squares += d * d;
        }
        ASSERT_EQ(n, static_cast<double>(pixels)) << name_of(g) << ", channel " << k;
        const double spread = std::sqrt(static_cast<double>(pixels) * true_squares);
        ASSERT_NEAR(sum, true_sum, 2e-5 * spread) << name_of(g) << ", channel " << k;
        ASSERT_NEAR(squares, true_squares, 4e-5 * true_squares) << name_of(g) << ", channel " << k;
      }
    }
  }
}

// With one or two threads each has filters of its own for the first shape, with eight they share them. With one thread
// the last shape is divided by tiles, with eight by channels, in two rounds.
TEST(Winograd, AnyNumberOfThreadsGivesTheSameBits) {
  for (const ConvGeometry& g : {geometry(2, 33, 37, 24, 40), geometry(3, 8, 6, 130, 70), geometry(1, 64, 60, 512, 32),
                                geometry(2, 57, 61, 24, 37)}) {
    const Floats x = numbers(x_size(g), 1), filter = numbers(filter_size(g), 2), bias = numbers(g.co, 3);
    for (const CpuLevel level : levels()) {
      Winograd winograd(level);
      Floats one, gradient, filter_gradient;
      for (const int threads : {1, 2, 8, 3}) {
        const Threads scope(threads);
        const Floats y = forward(winograd, g, x, filter, bias.data(), nullptr, ConvAct::relu);
        Floats dx(x.size());
        winograd.backward_data(Context(), g, y.data(), filter.data(), dx.data());
        Floats dfilter(filter.size());
        winograd.backward_filter(g, x.data(), y.data(), dfilter.data());
        if (threads == 1) one = y, gradient = dx, filter_gradient = dfilter;
        EXPECT_TRUE(y == one) << name_of(g) << ", " << threads << " threads";
        EXPECT_TRUE(dx == gradient) << name_of(g) << ", " << threads << " threads";
        EXPECT_TRUE(dfilter == filter_gradient) << name_of(g) << ", " << threads << " threads";
      }
    }
  }
}

TEST(Winograd, APictureGetsTheSameBitsInAnyBatch) {
  const ConvGeometry g = geometry(5, 9, 7, 40, 48);
  const Floats x = numbers(x_size(g), 1), filter = numbers(filter_size(g), 2);
  for (const CpuLevel level : levels()) {
    Winograd winograd(level);
    const Floats all = forward(winograd, g, x, filter);
    ConvGeometry one = g;
    one.n = 1;
    for (int64_t n = 0; n < g.n; ++n) {
      const Floats picture(x.begin() + n * x_size(one), x.begin() + (n + 1) * x_size(one));
      EXPECT_TRUE(forward(winograd, one, picture, filter) ==
                  Floats(all.begin() + n * y_size(one), all.begin() + (n + 1) * y_size(one)))
          << "picture " << n;
    }
  }
}

TEST(Winograd, OtherConvolutionsAreLeftToTheDirectSum) {
  Winograd winograd(CpuLevel::v3);
  const ConvGeometry g = geometry(1, 8, 8, 32, 32);
  EXPECT_EQ(winograd.supports(g), winograd.exists());
  const auto refused = [&](auto change) {
    ConvGeometry other = g;
    change(other);
    return !winograd.supports(other);
  };
  EXPECT_TRUE(refused([](auto& o) { o.stride = 2; }));
  EXPECT_TRUE(refused([](auto& o) { o.kh = 1; }));
  EXPECT_TRUE(refused([](auto& o) { o.kw = 5; }));
  EXPECT_TRUE(refused([](auto& o) { o.pad = 3; }));
  EXPECT_TRUE(refused([](auto& o) { o.transposed = true; }));
  EXPECT_TRUE(refused([](auto& o) { o.src = DType::bf16; }));
  EXPECT_TRUE(refused([](auto& o) { o.dst = DType::bf16; }));
  EXPECT_FALSE(Winograd(CpuLevel::v2).exists()) << "without FMA there are no loops";
}

}  // namespace
}  // namespace hr
