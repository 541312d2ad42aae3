// The environment switches of the GPU (core/gpu_switches.h) change the CUDA loops. These give the same bits and access
// no memory that the kernel in front of them has not written yet.
#include "ops/batch_norm_kernel.h"
#include "ops/elementwise_kernel.h"
#include "ops/fuse_kernel.h"
#include "tests/support/cuda_threads.h"

namespace hr {
namespace {

// Notes the order in which the rows are visited by the threads of the first channel.
struct Order {
  using Element = float;
  std::vector<int64_t>* order;
  int64_t row(int64_t r) const { return r; }
  template <class V>
  void one(int64_t at, int64_t c) const {
    if (c == 0) order->push_back(at);
  }
};

TEST(GpuLoops, AReversedLoopVisitsEveryRowOnceFromTheLastToTheFirst) {
  for (const int64_t rows : {1, 2, 5, 300, 1025}) {
    std::vector<int64_t> forwards, backwards;
    gpu_for_each(rows, 32, Order{&forwards});
    gpu_for_each(rows, 32, Order{&backwards}, {.reverse = true});
    for (int64_t& row : backwards) row = rows - 1 - row;
    EXPECT_EQ(forwards, backwards) << rows;
    ASSERT_EQ(static_cast<int64_t>(forwards.size()), rows);
    EXPECT_EQ(forwards.front(), 0);
  }
  for (const int64_t channels : {1, 3, 8, 18, 32, 264}) {
    for (const int64_t rows : {1, 2, 5, 257}) {
      std::vector<int> seen(static_cast<size_t>(rows * channels));
      gpu_for_each(rows, channels, Count{seen.data(), channels}, {.reverse = true});
      ASSERT_EQ(std::count(seen.begin(), seen.end(), 1), rows * channels) << rows << " x " << channels;
    }
  }
}

TEST(GpuLoops, AReversedReductionGivesTheSameBits) {
  for (const int64_t channels : {1, 18, 32}) {
    for (const int64_t rows : {1, 64, 65, 400, 1100}) {
      SCOPED_TRACE(fmt::format("{} x {}", rows, channels));
      const auto x = random<bf16>(rows * channels, 1), dz = random<bf16>(rows * channels, 2);
      const auto mean = random<float>(channels, 3);
      const ShiftedMoments<bf16> moments{x.data(), channels, block_rows(rows)};
      EXPECT_EQ(gpu_reduce_rows(rows, channels, moments, kReverse), gpu_reduce_rows(rows, channels, moments));
      const NormReduce<bf16, false> sums{dz.data(), x.data(), mean.data(), nullptr, nullptr, channels};
      EXPECT_EQ(gpu_reduce_rows(rows, channels, sums, kReverse), gpu_reduce_rows(rows, channels, sums));
    }
  }
}

// Every kernel may be launched before the one in front of it has ended, so it must not read or write before it has
// waited for that. Here the kernel in front of it makes all its inputs, and runs when the first thread waits.
TEST(GpuLoops, KernelsTouchNothingBeforeTheKernelInFrontOfThemHasEnded) {
  const int64_t rows = 200, channels = 16;
  const auto x = random<bf16>(rows * channels, 1), dz = random<bf16>(rows * channels, 2);
  const auto numbers_of = [&](uint64_t seed) { return random<float>(channels, seed); };
  const auto a = numbers_of(3), b = numbers_of(4);
  struct Memory {
    std::vector<bf16> x, dz, y;
    std::vector<float> a, b, sums;
  };
  const auto made = [&] { return Memory{x, dz, std::vector<bf16>(x.size()), a, b, std::vector<float>(3 * channels)}; };
  // Calls `kernel` on memory that the kernel in front of it still has to fill, for every kind of launch.
  const auto expect = [&](const char* what, auto&& kernel) {
    SCOPED_TRACE(what);
    Memory expected = made();
    const std::vector<float> partials = kernel(expected, 0);
    for (const int flags : {0, kStartsNext}) {
      const float nan = std::numeric_limits<float>::quiet_NaN();
      Memory memory;
      memory.x.assign(x.size(), from_float<bf16>(nan));
      memory.dz = memory.y = memory.x;
      memory.a.assign(a.size(), nan);
      memory.b = memory.a;
      memory.sums.assign(3 * channels, nan);
      // The addresses stay the same: a launch captures them before the kernel in front of it runs.
      predecessor = [&] {
        const Memory from = made();
        std::copy(from.x.begin(), from.x.end(), memory.x.begin());
        std::copy(from.dz.begin(), from.dz.end(), memory.dz.begin());
        std::copy(from.y.begin(), from.y.end(), memory.y.begin());
        std::copy(from.a.begin(), from.a.end(), memory.a.begin());
        std::copy(from.b.begin(), from.b.end(), memory.b.begin());
        std::copy(from.sums.begin(), from.sums.end(), memory.sums.begin());
      };
      waits = next_starts = 0;
      EXPECT_EQ(kernel(memory, flags), partials);
      EXPECT_GT(waits, 0);
      EXPECT_EQ(next_starts, flags == kStartsNext ? waits : 0);
      if (predecessor) std::exchange(predecessor, nullptr)();
      EXPECT_EQ(numbers(memory.y), numbers(expected.y));
      EXPECT_EQ(memory.sums, expected.sums);
    }
  };
  for (const bool keep : {false, true}) {
    expect(keep ? "elements, kept coefficients" : "elements", [&](Memory& m, int flags) {
      const NormBackward<bf16, true> f{m.dz.data(), m.x.data(), m.a.data(), m.a.data(), m.b.data(),
                                       m.a.data(),  m.b.data(), m.b.data(), m.y.data(), channels};
      gpu_for_each(rows, channels, f, {.keep = keep, .flags = flags});
      return std::vector<float>();
    });
  }
  expect("a reduction", [&](Memory& m, int flags) {
    const NormReduce<bf16, true> f{m.dz.data(), m.x.data(), m.a.data(), m.a.data(), m.b.data(), channels};
    return gpu_reduce_rows(rows, channels, f, flags);
  });
  const std::vector<float> sums = random<float>(4 * 2 * channels, 7);
  expect("a merge", [&](Memory& m, int flags) {
    gpu_for_columns(4, channels,
                    NormCoefficients<float>{.sums = sums.data(),
                                            .rows = rows,
                                            .channels = channels,
                                            .count = nullptr,
                                            .batch_statistics = true,
                                            .weight = m.a.data(),
                                            .inv_std = m.b.data(),
                                            .dweight = nullptr,
                                            .dbias = nullptr,
                                            .accumulate_weight = false,
                                            .accumulate_bias = false,
                                            .a = m.sums.data(),
                                            .b = m.sums.data() + channels,
                                            .d = m.sums.data() + 2 * channels},
                    flags);
    return std::vector<float>();
  });
  expect("a flat array", [&](Memory& m, int flags) {
    gpu_for_each_flat(rows * channels, Add<bf16>{m.x.data(), m.dz.data(), m.y.data()}, flags);
    return std::vector<float>();
  });
}

// The bits of ReLU in place of the outputs.
TEST(GpuLoops, BitsMaskAsTheOutputsDo) {
  Context cx;
  for (const int64_t channels : {8, 24, 32}) {
    for (const int64_t rows : {1, 3, 130}) {
      SCOPED_TRACE(fmt::format("{} x {}", rows, channels));
      auto x = random<bf16>(rows * channels, 1);
      const auto other = random<bf16>(rows * channels, 2), dy = random<bf16>(rows * channels, 3);
      x[0] = from_float<bf16>(std::numeric_limits<float>::quiet_NaN());
      x.back() = bf16(-to_float(other.back()));  // the sum is 0
      const auto scale = std::vector<float>(channels, 1), shift = std::vector<float>(channels, 0);
      const auto mean = random<float>(channels, 5);
      std::vector<bf16> y(x.size()), bits_y(x.size()), dz(x.size()), bits_dz(x.size());
      std::vector<uint8_t> bits(x.size() / 8, 0xaa), cpu_bits(bits.size(), 0x55);
      const auto forward = [&]<bool Bits>(std::vector<bf16>& to, std::vector<uint8_t>& signs) {
        return FuseForward<bf16, 2, Bits>{.x = {x.data(), other.data()},
                                          .scale = {scale.data(), nullptr},
                                          .shift = {shift.data(), nullptr},
                                          .up = {},
                                          .y = to.data(),
                                          .h = static_cast<uint32_t>(rows),
                                          .w = 1,
                                          .channels = channels,
                                          .floor = 0,
                                          .bits = signs.data()};
      };
      gpu_for_each(rows, channels, forward.template operator()<false>(y, bits));
      gpu_for_each(rows, channels, forward.template operator()<true>(bits_y, bits));
      EXPECT_EQ(std::memcmp(y.data(), bits_y.data(), y.size() * sizeof(bf16)), 0);
      for_each(cx, rows, channels, forward.template operator()<true>(bits_y, cpu_bits));
      EXPECT_EQ(bits, cpu_bits);
      const auto backward = [&]<bool Bits>(std::vector<bf16>& to) {
        return MaskedSumReduce<bf16, 1, Bits>{
            {.dy = {dy.data()}, .y = y.data(), .dz = to.data(), .channels = channels, .bits = bits.data()},
            x.data(),
            mean.data()};
      };
      const auto sums = gpu_reduce_rows(rows, channels, backward.template operator()<false>(dz));
      const auto bits_sums = gpu_reduce_rows(rows, channels, backward.template operator()<true>(bits_dz));
      EXPECT_EQ(std::memcmp(sums.data(), bits_sums.data(), sums.size() * sizeof(float)), 0);
      EXPECT_EQ(numbers(dz), numbers(bits_dz));
      std::vector<bf16> cpu_dz(x.size());
      for_each(cx, rows, channels, backward.template operator()<true>(cpu_dz).masked);
      EXPECT_EQ(numbers(dz), numbers(cpu_dz));
    }
  }
}

// Coefficients that a thread loads once for all its rows, and again for its next group of channels.
template <class T, class Functor>
void expect_kept_coefficients(int64_t rows, int64_t channels, const Functor& functor) {
  std::vector<T> expected(rows * channels);
  gpu_for_each(rows, channels, functor(expected.data()));
  for (const bool reverse : {false, true}) {
    for (const int64_t most : {int64_t{1}, int64_t{3}, kKeepingGrid}) {
      std::vector<T> kept(rows * channels);
      gpu_for_each(rows, channels, functor(kept.data()), {.reverse = reverse, .keep = true, .most = most});
      EXPECT_EQ(numbers(kept), numbers(expected)) << rows << " x " << channels << " on " << most << " blocks";
    }
  }
}

template <class T>
void expect_kept_coefficients(int64_t rows, int64_t channels) {
  const auto x = random<T>(rows * channels, 1), dz = random<T>(rows * channels, 2);
  const auto scale = random<float>(channels, 3), shift = random<float>(channels, 4), mean = random<float>(channels, 5);
  const auto a = random<float>(channels, 6), b = random<float>(channels, 7), d = random<float>(channels, 8);
  expect_kept_coefficients<T>(rows, channels, [&](T* y) {
    return FuseForward<T, 2>{.x = {x.data(), dz.data()},
                             .scale = {scale.data(), nullptr},
                             .shift = {shift.data(), nullptr},
                             .up = {},
                             .y = y,
                             .h = static_cast<uint32_t>(rows),
                             .w = 1,
                             .channels = channels,
                             .floor = 0};
  });
  expect_kept_coefficients<T>(rows, channels, [&](T* dx) {
    return NormBackward<T, true>{dz.data(), x.data(), mean.data(), scale.data(), shift.data(),
                                 a.data(),  b.data(), d.data(),    dx,           channels};
  });
  expect_kept_coefficients<T>(rows, channels, [&](T* dx) {
    return NormBackward<T, false>{dz.data(), x.data(), mean.data(), nullptr, nullptr,
                                  a.data(),  b.data(), d.data(),    dx,      channels};
  });
  expect_kept_coefficients<T>(rows, channels, [&](T* dx) {
    return FoldedNormBackward<T, true>{dz.data(), x.data(), scale.data(), shift.data(),
                                       b.data(),  d.data(), dx,           channels};
  });
  expect_kept_coefficients<T>(rows, channels, [&](T* dx) {
    return FoldedNormBackward<T, false>{dz.data(), x.data(), scale.data(), nullptr, b.data(), d.data(), dx, channels};
  });
}

TEST(GpuLoops, KeptCoefficientsGiveTheSameBits) {
  for (const int64_t channels : {1, 18, 32, 2056}) {
    for (const int64_t rows : {1, 129, 700}) {
      expect_kept_coefficients<float>(rows, channels);
      expect_kept_coefficients<bf16>(rows, channels);
    }
  }
}

}  // namespace
}  // namespace hr
