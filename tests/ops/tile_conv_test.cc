// The kernels of ops/conv/tile_conv_kernels.cuh and ops/conv/stem_conv_kernels.cuh, compiled for the CPU.
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <vector>

#include "tests/ops/tile_cases.h"
#include "tests/support/warp_simulator.h"
//
#include "ops/conv/stem_conv_kernels.cuh"
#include "ops/conv/tile_conv_kernels.cuh"

namespace hr {
namespace {

using test::for_pairs;
using test::random_numbers;
using test::tiles_of;
using Case = test::TileCase;
using simulated_warps::launch;

void expect_close(const std::vector<float>& actual, const std::vector<double>& expected, double relative) {
  double largest = 0, worst = 0;
  int64_t at = -1;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    const double off = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(off <= worst)) worst = off, at = static_cast<int64_t>(i);
  }
  EXPECT_LE(worst, relative * largest) << "worst at " << at << ": " << (at < 0 ? 0 : actual[at]) << ", expected "
                                       << (at < 0 ? 0 : expected[at]);
}

const std::vector<Case> kShapes{{1, 1, 1, 32, 32},   {2, 5, 7, 32, 32},   {1, 16, 16, 32, 32},
                                {1, 35, 17, 32, 32}, {3, 31, 15, 32, 32}, {1, 2, 48, 32, 32}};

template <class S>
void expect_forward_and_data_gradient(const Case& c, bool flipped, int epilogue) {
  constexpr int C = S::kChannels;
  SCOPED_TRACE(testing::Message() << "[" << c.n << ", " << c.h << ", " << c.w << ", " << C << "], flipped " << flipped
                                  << ", epilogue " << epilogue);
  const int64_t pixels = int64_t{c.n} * c.h * c.w;
  const std::vector<bf16> x = random_numbers(pixels * C, 1), filter = random_numbers(C * 9 * C, 2),
                          bias = random_numbers(C, 3), add = random_numbers(pixels * C, 4);
  std::vector<bf16> y(static_cast<size_t>(pixels * C), static_cast<bf16>(12345.0f));
  const bool biased = epilogue > 0, adds = epilogue > 1;
  const gpu::Tiles tiles = tiles_of(c, S::kRows, S::kColumns);
  const gpu::TileConv p{.tiles = tiles,
                        .count = tiles.n * tiles.across * tiles.down,
                        .x = x.data(),
                        .filter = filter.data(),
                        .bias = biased ? bias.data() : nullptr,
                        .add = adds ? add.data() : nullptr,
                        .y = y.data(),
                        .relu = adds};
  // There are fewer blocks than tiles, so that blocks process several tiles.
  launch((p.count + 1) / 2, S::kThreads, S::kBytes, [&] {
    flipped ? gpu::tile_conv_kernel<S, gpu::PlainEpilogue<S, true>>(p)
            : gpu::tile_conv_kernel<S, gpu::PlainEpilogue<S, false>>(p);
  });

  std::vector<double> expected(y.size(), 0.0);
  for_pairs(c, [&](int64_t out, int64_t in, int tap) {
    for (int co = 0; co < C; ++co) {
      for (int ci = 0; ci < C; ++ci) {
        const double w = to_float(filter[(co * 9 + tap) * C + ci]);
        if (flipped) {
          expected[in * C + ci] += w * to_float(x[out * C + co]);
        } else {
          expected[out * C + co] += w * to_float(x[in * C + ci]);
        }
      }
    }
  });
  std::vector<float> actual;
  for (size_t i = 0; i < y.size(); ++i) {
    if (adds) expected[i] += to_float(add[i]);
    if (biased) expected[i] += to_float(bias[i % C]);
    if (adds) expected[i] = std::max(expected[i], 0.0);
    actual.push_back(to_float(y[i]));
  }
  expect_close(actual, expected, 0x1p-8);  // one rounding to bf16
}

TEST(TileConv, ForwardAndDataGradientAtEveryOddSizeAreAPlainLoops) {
  for (const Case& c : kShapes) {
    for (const int epilogue : {0, 1, 2}) {
      expect_forward_and_data_gradient<gpu::TileShape32>(c, false, epilogue);
    }
    expect_forward_and_data_gradient<gpu::TileShape32>(c, true, 0);
  }
  const Case c{2, 35, 9, 64, 64};
  for (const int epilogue : {0, 2}) expect_forward_and_data_gradient<gpu::TileShape64>(c, false, epilogue);
  expect_forward_and_data_gradient<gpu::TileShape64>(c, true, 0);
}

TEST(TileConv, FilterGradientOfEveryPartIsAPlainLoops) {
  std::vector<Case> shapes = kShapes;
  shapes.push_back({2, 18, 9, 64, 32});
  shapes.push_back({1, 5, 20, 32, 96});
  for (const Case& c : shapes) {
    for (const int slots : {1, 3}) {
      SCOPED_TRACE(testing::Message() << "[" << c.n << ", " << c.h << ", " << c.w << ", " << c.ci << "] -> " << c.co
                                      << ", slots " << slots);
      const int64_t pixels = int64_t{c.n} * c.h * c.w;
      const std::vector<bf16> x = random_numbers(pixels * c.ci, 1), dy = random_numbers(pixels * c.co, 2);
      const int parts = c.ci / 32 * (c.co / 32);
      constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> partial(static_cast<size_t>(slots) * parts * gpu::kGradientQuads * 4, kPoison);
      std::vector<float> filter(static_cast<size_t>(c.co) * 9 * c.ci, kPoison);
      const gpu::Tiles tiles = tiles_of(c, gpu::kTile, gpu::kTile);
      const gpu::TileFilterGradient p{
          tiles, tiles.n * tiles.across * tiles.down, x.data(), dy.data(), c.ci, c.co, parts, slots, partial.data()};
      launch(parts * slots, gpu::kGradientThreads, gpu::kGradientBytes, [&] { gpu::tile_filter_gradient_kernel(p); });
      launch(parts * gpu::kGradientQuads / 32, gpu::kSumThreads, 0,
             [&] { gpu::tile_filter_sum_kernel(p, filter.data()); });

      std::vector<double> expected(filter.size(), 0.0);
      for_pairs(c, [&](int64_t out, int64_t in, int tap) {
        for (int co = 0; co < c.co; ++co) {
          for (int ci = 0; ci < c.ci; ++ci) {
            expected[(int64_t{co} * 9 + tap) * c.ci + ci] +=
                static_cast<double>(to_float(dy[out * c.co + co])) * to_float(x[in * c.ci + ci]);
          }
        }
      });
      expect_close(filter, expected, 1e-5);
    }
  }
}

TEST(TileConv, TheStemsForwardAndFilterGradientAreAPlainLoops) {
  for (const auto& [n, in_h, in_w] : {std::array{1, 2, 2}, {2, 9, 14}, {1, 33, 34}, {1, 64, 48}}) {
    for (const int epilogue : {0, 1}) {
      SCOPED_TRACE(testing::Message() << "[" << n << ", " << in_h << ", " << in_w << "], epilogue " << epilogue);
      const int h = (in_h + 1) / 2, w = (in_w + 1) / 2;
      const Case result{n, h, w, 3, 64};
      const std::vector<bf16> x = random_numbers(int64_t{n} * in_h * in_w * 3, 1), filter = random_numbers(64 * 27, 2),
                              bias = random_numbers(64, 3), dy = random_numbers(int64_t{n} * h * w * 64, 4);
      // Calls use(result's pixel, picture's pixel, tap).
      const auto for_taps = [&](const auto& use) {
        for (int64_t out = 0; out < int64_t{n} * h * w; ++out) {
          for (int tap = 0; tap < 9; ++tap) {
            const int64_t y = 2 * (out / w % h) + tap / 3 - 1, px = 2 * (out % w) + tap % 3 - 1;
            if (y >= 0 && y < in_h && px >= 0 && px < in_w) use(out, (out / w / h * in_h + y) * in_w + px, tap);
          }
        }
      };
      std::vector<bf16> y(dy.size(), static_cast<bf16>(12345.0f));
      const gpu::Tiles tiles = tiles_of(result, 16, 16);
      const int count = tiles.n * tiles.across * tiles.down;
      const gpu::StemConv p{
          tiles,    count,       in_h, in_w, x.data(), filter.data(), epilogue > 0 ? bias.data() : nullptr,
          y.data(), epilogue > 0};
      launch(count, gpu::kStemThreads, 0, [&] { gpu::stem_conv_kernel(p); });
      std::vector<double> expected(y.size(), 0.0), gradient(64 * 27, 0.0);
      for_taps([&](int64_t out, int64_t in, int tap) {
        for (int co = 0; co < 64; ++co) {
          for (int c = 0; c < 3; ++c) {
            expected[out * 64 + co] +=
                static_cast<double>(to_float(filter[co * 27 + tap * 3 + c])) * to_float(x[in * 3 + c]);
            gradient[co * 27 + tap * 3 + c] +=
                static_cast<double>(to_float(dy[out * 64 + co])) * to_float(x[in * 3 + c]);
          }
        }
      });
      std::vector<float> actual;
      for (size_t i = 0; i < y.size(); ++i) {
        if (epilogue > 0) expected[i] = std::max(0.0, expected[i] + to_float(bias[i % 64]));
        actual.push_back(to_float(y[i]));
      }
      expect_close(actual, expected, 0x1p-8);
      if (epilogue > 0) continue;

      const int blocks = (count + 1) / 2;
      constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> partial(static_cast<size_t>(blocks) * gpu::kStemSums, kPoison), made(64 * 27, kPoison);
      const gpu::StemFilterGradient q{tiles, count, in_h, in_w, x.data(), dy.data(), partial.data(), blocks};
      launch(blocks, gpu::kStemThreads, gpu::kStemGradientBytes, [&] { gpu::stem_filter_gradient_kernel(q); });
      launch(64, gpu::kSumThreads, 0, [&] { gpu::stem_filter_sum_kernel(q, made.data()); });
      expect_close(made, gradient, 1e-5);
    }
  }
}

}  // namespace
}  // namespace hr
