// The epilogues of our 3x3 convolution (ops/conv/tile_epilogue.cuh) on the CPU's stand-in of a warp, with numbers for
// which every order of the sums is exact, so that all results are those of plain loops to the last bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "ops/batch_norm_kernel.h"
#include "ops/conv/tile_conv.h"
#include "tests/ops/tile_cases.h"
#include "tests/support/warp_simulator.h"
//
#include "ops/conv/tile_conv_kernels.cuh"

namespace hr {
namespace {

using test::for_pairs;
using test::random_numbers;
using test::tiles_of;
using Case = test::TileCase;
using simulated_warps::launch;

// Whole numbers so small that every order of the sums is exact in float32, and that bf16 holds the results exactly.
std::vector<bf16> whole_numbers(int64_t count, uint64_t stream, int largest, double density = 1) {
  Philox rng(11, 0, stream);
  std::vector<bf16> v(static_cast<size_t>(count));
  for (bf16& x : v) {
    const bool zero = rng.uniform() >= density;
    const auto number = static_cast<float>(std::floor(rng.uniform() * (2 * largest + 1)) - largest);
    x = static_cast<bf16>(zero ? 0.0f : number);
  }
  return v;
}

// The sums of a convolution, or of the gradient of its data, of such numbers.
std::vector<float> exact_sums(const Case& c, const std::vector<bf16>& x, const std::vector<bf16>& filter,
                              bool flipped) {
  const int C = c.ci;
  std::vector<float> filter32, sums(x.size(), 0.0f);
  for (const bf16 w : filter) filter32.push_back(to_float(w));
  for_pairs(c, [&](int64_t out, int64_t in, int tap) {
    for (int co = 0; co < C; ++co) {
      const float* w = &filter32[(static_cast<size_t>(co) * 9 + static_cast<size_t>(tap)) * C];
      for (int ci = 0; ci < C; ++ci) {
        flipped ? sums[in * C + ci] += w[ci] * to_float(x[out * C + co])
                : sums[out * C + co] += w[ci] * to_float(x[in * C + ci]);
      }
    }
  });
  return sums;
}

// Sizes around the edges of the tiles, which have 16x16 pixels for 32 channels and 32x8 for 64.
std::vector<Case> odd_cases(int channels) {
  if (channels == 32) {
    return {{1, 1, 1, 32, 32},  {2, 1, 17, 32, 32}, {3, 3, 7, 32, 32},   {1, 15, 15, 32, 32},
            {1, 33, 1, 32, 32}, {2, 17, 9, 32, 32}, {1, 31, 33, 32, 32}, {1, 16, 16, 32, 32}};
  }
  return {{1, 1, 1, 64, 64}, {2, 3, 7, 64, 64}, {1, 33, 9, 64, 64}, {1, 31, 8, 64, 64}, {1, 5, 17, 64, 64}};
}

// Launches the kernel as ops/conv/tile_conv_cuda.cu does, for a GPU that holds half of the tiles at a time.
template <class S, class Epilogue>
int launch_tiles(gpu::TileConv p, const Case& c, const std::function<float*(int blocks)>& parts) {
  p.tiles = tiles_of(c, S::kRows, S::kColumns);
  p.count = p.tiles.n * p.tiles.across * p.tiles.down;
  const int blocks = (p.count + 1) / 2;
  p.parts = parts(blocks);
  launch(blocks, S::kThreads, gpu::kTileConvBytes<S, Epilogue>, [&] { gpu::tile_conv_kernel<S, Epilogue>(p); });
  return blocks;
}

template <class S>
void expect_exact_statistics(const Case& c) {
  constexpr int C = S::kChannels;
  SCOPED_TRACE(testing::Message() << "[" << c.n << ", " << c.h << ", " << c.w << ", " << C << "]");
  const int64_t pixels = int64_t{c.n} * c.h * c.w;
  const std::vector<bf16> x = whole_numbers(pixels * C, 1, 1), filter = whole_numbers(C * 9 * C, 2, 1, 0.125);
  std::vector<bf16> y(x.size(), static_cast<bf16>(12345.0f));
  std::vector<float> parts;
  const int blocks = launch_tiles<S, gpu::StatisticsEpilogue<S>>(
      {.x = x.data(), .filter = filter.data(), .y = y.data()}, c, [&](int count) {
        parts.assign(static_cast<size_t>(count) * 4 * C, std::numeric_limits<float>::quiet_NaN());
        return parts.data();
      });
  const std::vector<float> expected = exact_sums(c, x, filter, false);
  std::vector<double> sum(C, 0.0), squares(C, 0.0);
  for (size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(to_float(y[i]), expected[i]) << "at " << i;
    sum[i % C] += expected[i];
    squares[i % C] += static_cast<double>(expected[i]) * expected[i];
  }
  for (int ch = 0; ch < C; ++ch) {
    double count = 0, s = 0, q = 0;
    for (int b = 0; b < blocks; ++b) {
      const float* part = &parts[static_cast<size_t>(b) * 4 * C + ch];
      const double n = part[0], k = part[C], d = part[2 * C], dd = part[3 * C];
      ASSERT_GT(n, 0);
      count += n;
      s += d + n * k;
      q += dd + 2 * k * d + n * k * k;
    }
    ASSERT_EQ(count, static_cast<double>(pixels));
    ASSERT_EQ(s, sum[ch]) << "channel " << ch;
    ASSERT_EQ(q, squares[ch]) << "channel " << ch;
  }
}

TEST(TileEpilogue, StatisticsOfTheResultAreExactForWholeNumbersAtEveryOddSize) {
  for (const Case& c : odd_cases(32)) expect_exact_statistics<gpu::TileShape32>(c);
  for (const Case& c : odd_cases(64)) expect_exact_statistics<gpu::TileShape64>(c);
}

TEST(TileEpilogue, StatisticsOfLargeMeansLoseNoDigits) {
  // The last row of tiles leaves most warps without pixels, whose sums must not count.
  const Case c{2, 35, 17, 32, 32};
  constexpr int C = 32;
  using S = gpu::TileShape32;
  std::vector<bf16> x = random_numbers(int64_t{c.n} * c.h * c.w * C, 1), filter(C * 9 * C, static_cast<bf16>(0.0f));
  for (bf16& v : x) v = static_cast<bf16>(1000.0f + 4 * to_float(v));
  for (int i = 0; i < C; ++i) filter[(i * 9 + 4) * C + i] = static_cast<bf16>(1.0f);  // The identity.
  std::vector<bf16> y(x.size());
  std::vector<float> parts;
  const int blocks = launch_tiles<S, gpu::StatisticsEpilogue<S>>(
      {.x = x.data(), .filter = filter.data(), .y = y.data()}, c, [&](int count) {
        parts.resize(static_cast<size_t>(count) * 4 * C);
        return parts.data();
      });
  const auto pixels = static_cast<double>(x.size()) / C;
  const PartMoments merge{parts.data(), static_cast<int64_t>(pixels), C};
  for (int ch = 0; ch < C; ++ch) {
    ShiftedSums state = merge.part(0, ch);
    for (int b = 1; b < blocks; ++b) state.add(merge.part(b, ch));
    const Moments m = merge.moments(ch, state);
    double mean = 0, m2 = 0;
    for (size_t i = ch; i < y.size(); i += C) mean += to_float(y[i]) / pixels;
    for (size_t i = ch; i < y.size(); i += C) m2 += (to_float(y[i]) - mean) * (to_float(y[i]) - mean);
    EXPECT_NEAR(m.mean, mean, 1e-9 * mean);
    EXPECT_NEAR(m.m2, m2, 1e-6 * m2);
  }
}

// The parts of the epilogue of a gradient that are in use.
struct GradientParts {
  bool add, mask, sums;
  bool bits = false;  // The mask is given as its signs.
};

template <class S>
void expect_exact_gradient(const Case& c, const GradientParts& with) {
  constexpr int C = S::kChannels;
  SCOPED_TRACE(testing::Message() << "[" << c.n << ", " << c.h << ", " << c.w << ", " << C << "], add " << with.add
                                  << ", mask " << with.mask << ", sums " << with.sums << ", bits " << with.bits);
  const int64_t pixels = int64_t{c.n} * c.h * c.w;
  const std::vector<bf16> dy = whole_numbers(pixels * C, 1, 1), filter = whole_numbers(C * 9 * C, 2, 1, 0.125),
                          add = whole_numbers(pixels * C, 3, 5), mask = whole_numbers(pixels * C, 4, 1),
                          normalised = whole_numbers(pixels * C, 5, 3);
  std::vector<float> mean, scale, shift;
  for (int ch = 0; ch < C; ++ch) {
    mean.push_back(0.25f * static_cast<float>(ch % 9 - 4));
    scale.push_back(ch % 3 == 0 ? -1.0f : 0.5f);
    shift.push_back(static_cast<float>(ch % 4 - 2) * 0.5f);
  }
  std::vector<uint8_t> bits(mask.size() / 8, 0);
  for (size_t i = 0; i < mask.size(); ++i)
    bits[i / 8] |= static_cast<uint8_t>((to_float(mask[i]) > 0 ? 1 : 0) << i % 8);
  // The result takes the memory of the summand.
  std::vector<bf16> dx = with.add ? add : std::vector<bf16>(add.size(), static_cast<bf16>(12345.0f));
  std::vector<float> parts;
  const int blocks = launch_tiles<S, gpu::MaskedGradientEpilogue<S>>(
      {.x = dy.data(),
       .filter = filter.data(),
       .add = with.add ? dx.data() : nullptr,
       .y = dx.data(),
       .mask = with.mask && !with.bits ? mask.data() : nullptr,
       .bits = with.mask && with.bits ? bits.data() : nullptr,
       .normalised = with.sums ? normalised.data() : nullptr,
       .mean = mean.data(),
       .scale = scale.data(),
       .shift = shift.data()},
      c, [&](int count) -> float* {
        parts.assign(static_cast<size_t>(count) * 2 * C, std::numeric_limits<float>::quiet_NaN());
        return with.sums ? parts.data() : nullptr;
      });
  const std::vector<float> gradient = exact_sums(c, dy, filter, true);
  std::vector<double> sum(C, 0.0), product(C, 0.0);
  for (size_t i = 0; i < dx.size(); ++i) {
    const size_t ch = i % C;
    const float x = to_float(normalised[i]), sign = with.mask ? to_float(mask[i]) : x * scale[ch] + shift[ch],
                g = sign > 0 ? gradient[i] + (with.add ? to_float(add[i]) : 0) : 0;
    ASSERT_EQ(to_float(dx[i]), g) << "at " << i;
    sum[ch] += g;
    product[ch] += static_cast<double>(g) * (x - mean[ch]);
  }
  if (!with.sums) return;
  for (int ch = 0; ch < C; ++ch) {
    double s = 0, p = 0;
    for (int b = 0; b < blocks; ++b) {
      s += parts[static_cast<size_t>(b) * 2 * C + ch];
      p += parts[static_cast<size_t>(b) * 2 * C + C + ch];
    }
    ASSERT_EQ(s, sum[ch]) << "channel " << ch;
    ASSERT_EQ(p, product[ch]) << "channel " << ch;
  }
}

TEST(TileEpilogue, GradientWithSummandMaskAndSumsIsExactForWholeNumbersAtEveryOddSize) {
  for (const Case& c : odd_cases(32))
    expect_exact_gradient<gpu::TileShape32>(c, {.add = true, .mask = true, .sums = true});
  for (const Case& c : odd_cases(64))
    expect_exact_gradient<gpu::TileShape64>(c, {.add = true, .mask = true, .sums = true});
  for (const GradientParts& with : {GradientParts{true, true, false},
                                    {false, true, false},
                                    {false, true, true},
                                    {true, false, true},
                                    {false, false, true},
                                    {.add = true, .mask = true, .sums = true, .bits = true},
                                    {.add = false, .mask = true, .sums = false, .bits = true}}) {
    for (const Case& c : {Case{1, 5, 9, 32, 32}, {2, 19, 33, 32, 32}}) expect_exact_gradient<gpu::TileShape32>(c, with);
    expect_exact_gradient<gpu::TileShape64>({1, 35, 9, 64, 64}, with);
  }
}

TEST(TileEpilogue, ForwardOfWholeNumbersIsExactAtEveryOddSize) {
  const auto expect_exact = []<class S>(const Case& c, bool flipped) {
    SCOPED_TRACE(testing::Message() << "[" << c.n << ", " << c.h << ", " << c.w << ", " << c.ci << "]");
    const int64_t pixels = int64_t{c.n} * c.h * c.w;
    const std::vector<bf16> x = whole_numbers(pixels * c.ci, 1, 1),
                            filter = whole_numbers(int64_t{c.ci} * 9 * c.ci, 2, 1, 0.125);
    std::vector<bf16> y(x.size(), static_cast<bf16>(12345.0f));
    const gpu::TileConv p{.x = x.data(), .filter = filter.data(), .y = y.data()};
    const auto none = [](int) -> float* { return nullptr; };
    flipped ? launch_tiles<S, gpu::PlainEpilogue<S, true>>(p, c, none)
            : launch_tiles<S, gpu::PlainEpilogue<S, false>>(p, c, none);
    const std::vector<float> expected = exact_sums(c, x, filter, flipped);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(to_float(y[i]), expected[i]) << "at " << i;
  };
  for (const Case& c : odd_cases(32)) {
    for (const bool flipped : {false, true}) expect_exact.template operator()<gpu::TileShape32>(c, flipped);
  }
  for (const Case& c : odd_cases(64)) {
    for (const bool flipped : {false, true}) expect_exact.template operator()<gpu::TileShape64>(c, flipped);
  }
}

TEST(TileEpilogue, SettingsComeFromTheEnvironment) {
  const auto with = [](const char* channels, const char* epilogues) {
    ::setenv("HRNET_TILE_CHANNELS", channels, 1);
    ::setenv("HRNET_TILE_EPILOGUES", epilogues, 1);
    return TileSettings::from_environment();
  };
  const TileSettings none = with("", "");
  EXPECT_EQ(std::tuple(none.most_channels, none.statistics, none.gradient), std::tuple(32, false, false));
  const TileSettings all = with("64", "all");
  EXPECT_EQ(std::tuple(all.most_channels, all.statistics, all.gradient), std::tuple(64, true, true));
  EXPECT_TRUE(with("32", "statistics").statistics);
  EXPECT_FALSE(with("32", "statistics").gradient);
  EXPECT_TRUE(with("", "gradient").gradient);
  EXPECT_THROW(with("48", ""), Error);
  EXPECT_THROW(with("", "yes"), Error);
  ::unsetenv("HRNET_TILE_CHANNELS");
  ::unsetenv("HRNET_TILE_EPILOGUES");
}

}  // namespace
}  // namespace hr
