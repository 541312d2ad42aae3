// Batch norm over several ranks: each rank computes its part of what one process computes for the whole batch.
#include <gtest/gtest.h>

#include "core/error.h"
#include "ops/batch_norm.h"
#include "ops/fuse.h"
#include "tests/support/gradients.h"
#include "tests/support/ranks.h"

namespace hr {
namespace {

using test::Values;

struct Case {
  std::vector<int64_t> samples;  // of each rank
  int64_t h, w, channels;
  double mean;
  DType dtype = DType::f32;
  bool from_parts = false;  // The ranks get their statistics as a convolution hands them over, one part per sample.
};

// Returns the statistics of f32 samples [samples, 4, channels], relative to the first pixel of each.
Tensor statistics_of(const Context& cx, const Tensor& x) {
  const int64_t samples = x.dim(0), pixels = x.dim(1) * x.dim(2), channels = x.dim(3);
  const Tensor statistics = cx.zeros({samples, 4, channels}, DType::f32);
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t c = 0; c < channels; ++c) {
      const float* from = x.data<float>() + s * pixels * channels + c;
      float* part = statistics.data<float>() + s * 4 * channels + c;
      part[0] = static_cast<float>(pixels);
      part[channels] = from[0];
      for (int64_t p = 0; p < pixels; ++p) {
        const float d = from[p * channels] - from[0];
        part[2 * channels] += d;
        part[3 * channels] += d * d;
      }
    }
  }
  return statistics;
}

struct Result {
  Values y, dx, dweight, dbias, mean, inv_std, running_mean, running_var;
};

// Runs forward and backward of relu(batch_norm(x)) for samples [first, first + n) of the case's batch.
Result run(const Case& c, int64_t first, int64_t n, Comm* ranks) {
  int64_t total = 0;
  for (const int64_t s : c.samples) total += s;
  const int64_t one = c.h * c.w * c.channels;
  const auto part = [&](uint64_t seed, double shift, DType t) {
    Values all = test::random_values(total * one, seed, t);
    for (double& v : all) v = test::rounded(v + shift, t);
    return Values(all.begin() + first * one, all.begin() + (first + n) * one);
  };
  test::Recording r(true);
  r.cx.sync_bn = ranks;
  const Shape shape{n, c.h, c.w, c.channels};
  Tensor x = test::make(r.cx, shape, c.dtype, part(1, c.mean, c.dtype));
  const auto dx = test::watch(r.cx, x);
  const auto vector = [&](uint64_t seed, double lo) {
    return test::make(r.cx, {c.channels}, DType::f32, test::random_values(c.channels, seed, DType::f32, lo, lo + 1));
  };
  BatchNormState state{vector(2, 0.5), vector(3, -0.5), vector(4, 0), vector(5, 0.5)};
  state.weight.set_requires_grad(true);
  state.bias.set_requires_grad(true);
  const Tensor dweight = r.cx.zeros({c.channels}, DType::f32), dbias = r.cx.zeros({c.channels}, DType::f32);
  r.tape.bind(state.weight, dweight);
  r.tape.bind(state.bias, dbias);
  const bool from_parts = c.from_parts && ranks != nullptr;
  const Normalised norm = batch_norm(r.cx, x, state, from_parts ? statistics_of(r.cx, x) : Tensor());
  const Tensor y = fuse(r.cx, {{x, &norm}}, Act::relu);
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, shape, c.dtype, part(6, 0, c.dtype))}}));
  return {test::values(y),
          test::values(*dx),
          test::values(dweight),
          test::values(dbias),
          test::values(norm.mean),
          test::values(norm.inv_std),
          test::values(state.running_mean),
          test::values(state.running_var)};
}

double largest_gap(const Values& a, const Values& b, int64_t first = 0) {
  double gap = 0;
  for (size_t i = 0; i < a.size(); ++i) gap = std::max(gap, std::abs(a[i] - b[static_cast<size_t>(first) + i]));
  return gap;
}

void expect_equal_to_one_process(const Case& c, double statistics, double elements) {
  const int n = static_cast<int>(c.samples.size());
  int64_t total = 0;
  for (const int64_t s : c.samples) total += s;
  const Result whole = run(c, 0, total, nullptr);
  std::vector<Result> parts(n);
  const auto ends = test::run_ranks(n, [&](World& w) {
    int64_t first = 0;
    for (int r = 0; r < w.rank(); ++r) first += c.samples[r];
    parts[w.rank()] = run(c, first, c.samples[w.rank()], w.comm.get());
  });
  expect_no_errors(ends);
  Values dweight(c.channels), dbias(c.channels);
  int64_t first = 0;
  for (int r = 0; r < n; ++r) {
    SCOPED_TRACE(r);
    const Result& p = parts[r];
    const double size = std::abs(c.mean) + 1;
    EXPECT_LE(largest_gap(p.mean, whole.mean), statistics * size);
    EXPECT_LE(largest_gap(p.inv_std, whole.inv_std), statistics * test::max_abs(whole.inv_std));
    EXPECT_LE(largest_gap(p.running_mean, whole.running_mean), statistics * size);
    EXPECT_LE(largest_gap(p.running_var, whole.running_var), statistics);
    EXPECT_EQ(p.mean, parts[0].mean) << "the same bits on every rank";
    EXPECT_EQ(p.running_var, parts[0].running_var);
    EXPECT_LE(largest_gap(p.y, whole.y, first), elements * size);
    EXPECT_LE(largest_gap(p.dx, whole.dx, first), elements * test::max_abs(whole.dx));
    for (int64_t i = 0; i < c.channels; ++i) dweight[i] += p.dweight[i], dbias[i] += p.dbias[i];
    first += c.samples[r] * c.h * c.w * c.channels;
  }
  // Each rank has its own part of these gradients; averaging adds the parts up.
  EXPECT_LE(largest_gap(dweight, whole.dweight), elements * (test::max_abs(whole.dweight) + 1));
  EXPECT_LE(largest_gap(dbias, whole.dbias), elements * (test::max_abs(whole.dbias) + 1));
}

// Samples have 256 pixels, so every process sums the same blocks and merges them in double. There remains one rounding
// to float32, of the statistics and of their factors.
TEST(SyncBatchNorm, WholeBlocksGiveTheSameStatisticsButForOneRounding) {
  for (const double mean : {0.0, 1e4}) {
    expect_equal_to_one_process({{2, 2}, 16, 16, 24, mean}, 0x1p-24, 8 * 0x1p-24);
    expect_equal_to_one_process({{1, 1, 1, 1}, 16, 16, 5, mean}, 0x1p-24, 8 * 0x1p-24);
  }
}

// Blocks are divided elsewhere: sums of up to 256 float32 numbers of size <= 1 in another order.
TEST(SyncBatchNorm, AnyShapeAndUnequalPartsAgreeToTheRoundingOfASum) {
  expect_equal_to_one_process({{2, 2}, 7, 5, 17, 0}, 256 * 0x1p-24, 512 * 0x1p-24);
  expect_equal_to_one_process({{1, 3}, 9, 11, 8, 100}, 256 * 0x1p-24, 512 * 0x1p-24);
  expect_equal_to_one_process({{3, 1, 2}, 13, 6, 33, -3}, 256 * 0x1p-24, 512 * 0x1p-24);
}

TEST(SyncBatchNorm, StatisticsOfAConvolutionAreMergedToo) {
  const auto case_of = [](std::vector<int64_t> samples, double mean) {
    return Case{std::move(samples), 9, 11, 8, mean, DType::f32, true};
  };
  expect_equal_to_one_process(case_of({1, 3}, 100), 256 * 0x1p-24, 512 * 0x1p-24);
  expect_equal_to_one_process(case_of({3, 1, 2}, -3), 256 * 0x1p-24, 512 * 0x1p-24);
}

// Each rank has one pixel. Alone it has no variance, but together the ranks have one.
TEST(SyncBatchNorm, OneValuePerRankIsEnough) {
  expect_equal_to_one_process({{1, 1}, 1, 1, 4, 0}, 4 * 0x1p-24, 64 * 0x1p-24);
}

TEST(SyncBatchNorm, Bf16Activations) {
  expect_equal_to_one_process({{2, 2}, 16, 16, 16, 1, DType::bf16}, 0x1p-24, 0x1p-7);
}

// Without synchronisation ranks use their own statistics, which gives another function.
TEST(SyncBatchNorm, WithoutItEveryRankNormalisesByItself) {
  const Case c{{2, 2}, 6, 6, 8, 0};
  const Result whole = run(c, 0, 4, nullptr), part = run(c, 0, 2, nullptr);
  EXPECT_GT(largest_gap(part.mean, whole.mean), 1e-3);
}

}  // namespace
}  // namespace hr
