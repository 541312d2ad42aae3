// The CUDA loops (tests/support/cuda_threads.h) against those of the CPU and against plain sums.
#include <bit>

#include "ops/adam_kernel.h"
#include "ops/batch_norm_kernel.h"
#include "ops/crop_kernel.h"
#include "ops/elementwise_kernel.h"
#include "ops/fuse_kernel.h"
#include "ops/heatmaps_kernel.h"
#include "ops/joints_loss_kernel.h"
#include "ops/max_pool2d_kernel.h"
#include "tests/support/cuda_threads.h"

namespace hr {
namespace {

struct CountFlat {
  using Element = bf16;
  int* seen;
  template <class V>
  void one(int64_t at) const {
    for (int i = 0; i < Lanes<V>::kCount; ++i) ++seen[at + i];
  }
};

TEST(GpuLoops, VisitEveryElementOnce) {
  for (const int64_t channels : {1, 2, 3, 4, 7, 8, 17, 18, 32, 48, 64, 133, 256, 1023, 1024, 2048, 2050}) {
    for (const int64_t rows : {1, 2, 5, 64, 255, 256, 257}) {
      std::vector<int> seen(static_cast<size_t>(rows * channels));
      gpu_for_each(rows, channels, Count{seen.data(), channels});
      ASSERT_EQ(std::count(seen.begin(), seen.end(), 1), rows * channels) << rows << " x " << channels;
    }
  }
  // There are more rows than the grid has threads, so the kernel's own loop is used.
  const int64_t many = kGridCap * 256 + 77;
  std::vector<int> seen(static_cast<size_t>(many));
  gpu_for_each(many, 1, Count{seen.data(), 1});
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), many);
  for (const int64_t n : {1, 7, 8, 9, 255, 2047, 2048, 2049, 100003}) {
    std::vector<int> flat(static_cast<size_t>(n));
    gpu_for_each_flat(n, CountFlat{flat.data()});
    ASSERT_EQ(std::count(flat.begin(), flat.end(), 1), n) << n;
  }
}

TEST(Launch, CoversRangesExactlyUpToTwoToTheThirtySix) {
  for (const size_t bytes : {2, 4, 8}) {
    for (const int64_t channels : {1, 3, 8, 17, 32, 64, 256, 2048, 100000}) {
      for (const int64_t rows : {int64_t{1}, int64_t{255}, int64_t{1} << 20, (int64_t{1} << 31) - 1, int64_t{1} << 31,
                                 (int64_t{1} << 32) + 5}) {
        const RowsLaunch l = launch_rows(rows, channels, bytes);
        EXPECT_EQ(channels % l.lanes, 0);
        EXPECT_LE(l.lanes * bytes, 16u);
        EXPECT_LE(l.threads_x * l.threads_y, static_cast<uint32_t>(kThreads));
        EXPECT_GE(l.threads_y, 1u);
        EXPECT_GE(l.blocks, 1u);
        EXPECT_LE(l.blocks, kGridCap);
        // Every row has a thread, in one sweep of the blocks or in the next: blocks * threads_y rows per sweep.
        EXPECT_TRUE(l.blocks == kGridCap || int64_t{l.blocks} * l.threads_y >= rows);
        EXPECT_TRUE(l.blocks == 1 || int64_t{l.blocks - 1} * l.threads_y < rows) << "no idle block";
        const RowsLaunch r = launch_reduction(rows, channels, bytes);
        EXPECT_GE(int64_t{r.blocks} * block_rows(rows), rows);
        EXPECT_LT(int64_t{r.blocks - 1} * block_rows(rows), rows);
        EXPECT_LE(r.blocks, kGridMax);
      }
    }
  }
  for (const int64_t n : {int64_t{1}, (int64_t{1} << 31) - 1, int64_t{1} << 31, int64_t{1} << 36}) {
    const FlatLaunch l = launch_flat(n, 4);
    EXPECT_GE(l.blocks, 1u);
    EXPECT_TRUE(l.blocks == kGridCap || int64_t{l.blocks} * l.threads >= n / 4 + n % 4);
  }
  for (const int64_t parts : {1, 2, 3, 5, 63, 64, 65, 1536}) {
    EXPECT_EQ(launch_columns(parts, 1).blocks, 1u);
    EXPECT_EQ(launch_columns(parts, 16).blocks, 1u);
    EXPECT_EQ(launch_columns(parts, 17).blocks, 2u);
    const int64_t strands = launch_columns(parts, 1).strands;
    EXPECT_TRUE(std::has_single_bit(static_cast<uint64_t>(strands)) && strands <= kColumnStrands);
    EXPECT_TRUE(strands == kColumnStrands || (strands >= parts && strands < 2 * parts)) << parts;
  }
}

TEST(Launch, ReductionsHaveBlocksForAWholeGpuAndShortSums) {
  for (const int64_t rows : {1, 64, 65, 6144, 24576, 98304, 393216, 786432, 1 << 30}) {
    const int64_t block = block_rows(rows), blocks = (rows + block - 1) / block;
    EXPECT_TRUE(std::has_single_bit(static_cast<uint64_t>(block)) && block >= 64 && block <= 1024) << rows;
    EXPECT_TRUE(blocks <= 512 || block == 1024) << rows;
    EXPECT_TRUE(blocks > 256 || block == 64) << rows;
  }
}

template <class T>
void expect_moments(int64_t rows, int64_t channels) {
  SCOPED_TRACE(fmt::format("{} x {}", rows, channels));
  std::vector<T> x = random<T>(rows * channels, 5);
  for (T& v : x) v = from_float<T>(to_float(v) + 3);  // shifted sums must survive such a mean
  const int64_t block = block_rows(rows);
  const std::vector<float> partial = gpu_reduce_rows(rows, channels, ShiftedMoments<T>{x.data(), channels, block});
  std::vector<float> weight(channels, 2), bias(channels, 0.5f), running_mean(channels), running_var(channels, 1);
  std::vector<float> scale(channels), shift(channels), mean(channels), inv_std(channels);
  const NormalisedPointers out{weight.data(), bias.data(),  running_mean.data(), running_var.data(), 1e-5,
                               0.1,           scale.data(), shift.data(),        mean.data(),        inv_std.data()};
  gpu_for_columns((rows + block - 1) / block, channels,
                  BatchStatistics<BlockMoments<T>>{{x.data(), partial.data(), rows, channels, block}, out});
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) sum += to_float(x[r * channels + c]);
    const double m = sum / static_cast<double>(rows);
    for (int64_t r = 0; r < rows; ++r) squares += std::pow(to_float(x[r * channels + c]) - m, 2);
    ASSERT_NEAR(mean[c], m, 1e-6 * std::abs(m)) << c;
    ASSERT_NEAR(inv_std[c], 1 / std::sqrt(squares / static_cast<double>(rows) + 1e-5), 1e-5 * inv_std[c]) << c;
    ASSERT_NEAR(running_var[c], 0.9 + 0.1 * squares / static_cast<double>(rows - 1), 1e-6) << c;
  }
}

TEST(GpuLoops, BatchStatisticsAreTheDoublePrecisionOnes) {
  for (const int64_t channels : {1, 3, 17, 18, 32, 40, 48}) expect_moments<float>(300, channels);
  expect_moments<bf16>(1100, 32);
  expect_moments<bf16>(2, 8);
  expect_moments<float>(2600, 5);    // 41 blocks on 64 strands
  expect_moments<float>(4500, 3);    // 71 blocks: runs of two, the last strands without
  expect_moments<float>(257, 1028);  // more groups of channels than a block has threads
}

TEST(GpuLoops, ReductionWritesItsOutputsToo) {
  const int64_t rows = 400, channels = 24;
  const auto a = random<float>(rows * channels, 1), b = random<float>(rows * channels, 2),
             y = random<float>(rows * channels, 3), x = random<float>(rows * channels, 4);
  const auto mean = random<float>(channels, 5);
  std::vector<float> dz(rows * channels), cpu_dz(rows * channels);
  const auto functor = [&](std::vector<float>& out) {
    return MaskedSumReduce<float, 2>{
        {.dy = {a.data(), b.data()}, .y = y.data(), .dz = out.data(), .channels = channels}, x.data(), mean.data()};
  };
  const std::vector<float> gpu = gpu_reduce_rows(rows, channels, functor(dz));
  Context cx;
  const Partials cpu = reduce_rows(cx, rows, channels, functor(cpu_dz));
  EXPECT_EQ(dz, cpu_dz);
  // The sums are of 256 numbers below 4, in another order.
  EXPECT_TRUE(test::close(numbers(gpu), test::values(cpu.sums), 256 * 4 * 0x1p-24));
}

template <class T, int Up>
void expect_fuse(int64_t n, int64_t h, int64_t w, int64_t channels) {
  SCOPED_TRACE(fmt::format("up {}, {} channels", Up, channels));
  const int64_t rows = n * (h << Up) * (w << Up);
  const auto low = random<T>(n * h * w * channels, 1), high = random<T>(rows * channels, 2);
  const auto scale = random<float>(channels, 3), shift = random<float>(channels, 4);
  std::vector<T> gpu(rows * channels), cpu(rows * channels);
  const auto functor = [&](std::vector<T>& y) {
    return FuseForward<T, 2>{.x = {low.data(), high.data()},
                             .scale = {scale.data(), nullptr},
                             .shift = {shift.data(), nullptr},
                             .up = {Up, 0},
                             .y = y.data(),
                             .h = static_cast<uint32_t>(h << Up),
                             .w = static_cast<uint32_t>(w << Up),
                             .channels = channels,
                             .floor = 0};
  };
  gpu_for_each(rows, channels, functor(gpu));
  Context cx;
  for_each(cx, rows, channels, functor(cpu));
  // The CPU may fuse the multiplication and the addition, which is one rounding of numbers below 2.
  EXPECT_TRUE(test::close(numbers(gpu), numbers(cpu), 2 * test::rounding(dtype_of<T>)));

  std::vector<T> gpu_low(n * h * w * channels), cpu_low(gpu_low.size());
  const auto footprint = [&](std::vector<T>& out) {
    return FootprintSum<T, Up>{high.data(), out.data(), static_cast<uint32_t>(h), static_cast<uint32_t>(w), channels};
  };
  gpu_for_each(n * h * w, channels, footprint(gpu_low));
  for_each(cx, n * h * w, channels, footprint(cpu_low));
  EXPECT_EQ(numbers(gpu_low), numbers(cpu_low));
}

TEST(GpuLoops, FuseAndItsFootprintsAreTheCpus) {
  for (const int64_t channels : {1, 3, 8, 17, 18, 32}) {
    expect_fuse<float, 1>(2, 3, 5, channels);
    expect_fuse<bf16, 2>(1, 3, 2, channels);
    expect_fuse<float, 3>(3, 1, 2, channels);
  }
}

// Functors that read several rows before they compute, with numbers of rows that leave a remainder.
template <class T>
void expect_rows_ahead(int64_t rows, int64_t channels) {
  SCOPED_TRACE(fmt::format("{} x {}", rows, channels));
  Context cx;
  const auto x = random<T>(rows * channels, 1), dz = random<T>(rows * channels, 2);
  const auto scale = random<float>(channels, 3), shift = random<float>(channels, 4), mean = random<float>(channels, 5);
  const double u = test::rounding(dtype_of<T>);

  std::vector<T> gpu_y(rows * channels), cpu_y(rows * channels);
  const auto forward = [&](std::vector<T>& y) {
    return FuseForward<T, 1>{.x = {x.data()},
                             .scale = {scale.data()},
                             .shift = {shift.data()},
                             .y = y.data(),
                             .h = static_cast<uint32_t>(rows),
                             .w = 1,
                             .channels = channels,
                             .floor = 0};
  };
  gpu_for_each(rows, channels, forward(gpu_y));
  for_each(cx, rows, channels, forward(cpu_y));
  EXPECT_TRUE(test::close(numbers(gpu_y), numbers(cpu_y), 2 * u));  // the CPU may fuse the multiply and the add

  const NormReduce<T, true> sums{dz.data(), x.data(), mean.data(), scale.data(), shift.data(), channels};
  const Values partial = numbers(gpu_reduce_rows(rows, channels, sums));
  EXPECT_TRUE(test::close(partial, test::values(reduce_rows(cx, rows, channels, sums).sums),
                          static_cast<double>(block_rows(rows)) * 2 * 0x1p-24));
  Values direct(2 * channels), total(2 * channels);  // in double: sums over the elements that forward let pass
  for (int64_t i = 0; i < rows * channels; ++i) {
    if (to_float(gpu_y[i]) <= 0) continue;
    direct[i % channels] += to_float(dz[i]);
    direct[channels + i % channels] +=
        static_cast<double>(to_float(dz[i])) * (to_float(x[i]) - static_cast<double>(mean[i % channels]));
  }
  for (size_t i = 0; i < partial.size(); ++i) total[i % (2 * channels)] += partial[i];
  EXPECT_TRUE(test::close(total, direct, static_cast<double>(rows) * 4 * 0x1p-24));

  std::vector<T> gpu_dx(rows * channels), cpu_dx(rows * channels);
  const auto backward = [&](std::vector<T>& dx) {
    return NormBackward<T, true>{dz.data(),    x.data(),     mean.data(), scale.data(), shift.data(),
                                 scale.data(), shift.data(), mean.data(), dx.data(),    channels};
  };
  gpu_for_each(rows, channels, backward(gpu_dx));
  for_each(cx, rows, channels, backward(cpu_dx));
  EXPECT_TRUE(test::close(numbers(gpu_dx), numbers(cpu_dx), 4 * u));

  const auto folded = [&](std::vector<T>& dx) {
    return FoldedNormBackward<T, true>{dz.data(),    x.data(),    scale.data(), shift.data(),
                                       shift.data(), mean.data(), dx.data(),    channels};
  };
  gpu_for_each(rows, channels, folded(gpu_dx));
  for_each(cx, rows, channels, folded(cpu_dx));
  EXPECT_TRUE(test::close(numbers(gpu_dx), numbers(cpu_dx), 4 * u));
}

TEST(GpuLoops, ReadingRowsAheadChangesNothing) {
  for (const int64_t channels : {1, 18, 32, 264}) {
    for (const int64_t rows : {1, 3, 129, 1025}) {
      expect_rows_ahead<float>(rows, channels);
      expect_rows_ahead<bf16>(rows, channels);
    }
  }
}

TEST(GpuLoops, OtherFunctorsGiveTheCpusNumbers) {
  Context cx;
  const int64_t n = 2, h = 9, w = 7, channels = 20;
  const auto x = random<float>(n * h * w * channels, 1);
  const PoolGeometry g{
      .h = h, .w = w, .channels = channels, .out_h = 5, .out_w = 4, .kernel = 3, .stride = 2, .pad = 1};
  std::vector<float> gpu_y(n * 5 * 4 * channels), cpu_y(gpu_y.size());
  std::vector<uint8_t> gpu_at(gpu_y.size()), cpu_at(gpu_y.size());
  gpu_for_each(n * 20, channels, MaxPoolForward<float>{x.data(), gpu_y.data(), gpu_at.data(), g});
  for_each(cx, n * 20, channels, MaxPoolForward<float>{x.data(), cpu_y.data(), cpu_at.data(), g});
  EXPECT_EQ(gpu_y, cpu_y);
  EXPECT_EQ(gpu_at, cpu_at);

  for (const int width : {4, 5, 6, 300}) {
    // Two slots of noise with coordinates in and around a part of 19 x 11 pixels; one is mirrored, and one is in the
    // order B, G, R.
    const int height = 7;
    const size_t slot = CropSource::slot_bytes(width, height);
    std::vector<uint8_t> sources(2 * slot);
    Philox rng(7, 0, 0);
    for (uint8_t& v : sources) v = static_cast<uint8_t>(rng.below(256));
    for (const int i : {0, 1}) {
      const CropSource head{.left = 3 * i, .top = 2, .width = 19, .height = 11, .mirrored = i, .bgr = 1 - i};
      std::memcpy(sources.data() + i * slot, &head, sizeof head);
      auto* tables = reinterpret_cast<int32_t*>(sources.data() + i * slot + sizeof head);
      for (int k = 0; k < 2 * (width + height); ++k) tables[k] = static_cast<int32_t>(rng.below(26 << 10)) - (8 << 10);
    }
    const auto normal = random<float>(3 * 256, 9);
    std::vector<float> gpu(2 * 7 * 3 * static_cast<size_t>(width)), cpu(gpu.size());
    const auto functor = [&](std::vector<float>& images) {
      return CropWarp<float>{
          sources.data(), normal.data(), images.data(), static_cast<int64_t>(slot), 7, static_cast<uint32_t>(width)};
    };
    gpu_for_each(2 * height, int64_t{3} * width, functor(gpu));
    for_each(cx, 2 * height, int64_t{3} * width, functor(cpu));
    EXPECT_EQ(gpu, cpu) << width;
  }

  for (const int64_t count : {5, 1027}) {
    const auto p = random<float>(count, 2), m = random<float>(count, 3), grad = random<float>(count, 5);
    auto v = random<float>(count, 4);
    for (float& s : v) s = std::abs(s);
    const AdamNumbers step{.beta2 = 0.999f,
                           .one_minus_beta1 = 0.1f,
                           .one_minus_beta2 = 0.001f,
                           .eps = 1e-8f,
                           .step_size = 0.01f,
                           .inv_sqrt_correction2 = 3,
                           .l2 = 0.01f,
                           .keep = 0.99f};
    auto gp = p, gm = m, gv = v, cp = p, cm = m, cv = v;
    const float loss = 1;
    gpu_for_each_flat(count, AdamUpdate{gp.data(), gm.data(), gv.data(), grad.data(), &step, &loss});
    for_each_flat(cx, count, AdamUpdate{cp.data(), cm.data(), cv.data(), grad.data(), &step, &loss});
    EXPECT_TRUE(test::close(numbers(gp), numbers(cp), 4 * 0x1p-24));
    EXPECT_TRUE(test::close(numbers(gm), numbers(cm), 4 * 0x1p-24));
    // The rounded copy is what a conversion of the new values gives, and the values are the same with it.
    auto rp = p, rm = m, rv = v;
    std::vector<bf16> rounded(count), converted(count);
    gpu_for_each_flat(count, AdamUpdate{rp.data(), rm.data(), rv.data(), grad.data(), &step, &loss, rounded.data()});
    gpu_for_each_flat(count, Convert<float, bf16>{gp.data(), converted.data()});
    EXPECT_EQ(rp, gp);
    EXPECT_EQ(numbers(rounded), numbers(converted));
    EXPECT_TRUE(test::close(numbers(gv), numbers(cv), 4 * 0x1p-24));
    const float not_finite = std::numeric_limits<float>::infinity();
    const auto before = gp;
    gpu_for_each_flat(count, AdamUpdate{gp.data(), gm.data(), gv.data(), grad.data(), &step, &not_finite});
    EXPECT_EQ(gp, before) << "a step without a finite loss changes nothing";
  }
}

}  // namespace
}  // namespace hr
