// Tests the collectives in host memory, with one process and with several.
#include "core/comm/gloo.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "core/comm/local.h"
#include "core/context.h"
#include "core/philox.h"
#include "tests/support/ranks.h"

namespace hr {
namespace {

using test::run_ranks;

std::vector<float> numbers(int rank, int64_t n) {
  Philox rng(7, static_cast<uint64_t>(rank), 0);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = static_cast<float>(rng.normal());
  return v;
}

bool equal(const Tensor& t, int64_t first, const std::vector<float>& v) {
  return std::equal(v.begin(), v.end(), t.data<float>() + first);
}

Tensor tensor(const Context& cx, const std::vector<float>& v) {
  Tensor t = cx.empty({static_cast<int64_t>(v.size())}, DType::f32);
  std::memcpy(t.raw(), v.data(), t.bytes());
  return t;
}

class Sizes : public testing::TestWithParam<int> {};

// The expected sums are computed in double. Each of P - 1 additions rounds once: the error is at most (P - 1) 2^-24 of
// the sum of the magnitudes.
TEST_P(Sizes, AllReduceSumsAndMeans) {
  const int n = GetParam();
  for (const int64_t length : {int64_t{1}, int64_t{3}, int64_t{1000}, int64_t{300001}}) {
    std::vector<double> sum(length), magnitude(length);
    for (int r = 0; r < n; ++r) {
      const auto v = numbers(r, length);
      for (int64_t i = 0; i < length; ++i) sum[i] += v[i], magnitude[i] += std::abs(v[i]);
    }
    std::vector<std::vector<float>> results(n);
    const auto ends = run_ranks(n, [&](World& w) {
      const Context cx;
      const Tensor t = tensor(cx, numbers(w.rank(), length)), mean = tensor(cx, numbers(w.rank(), length));
      w.comm->all_reduce(t, Reduce::sum);
      w.comm->all_reduce(mean, Reduce::mean);
      for (int64_t i = 0; i < length; ++i) {
        const double bound = n * 0x1p-24 * magnitude[i];
        ASSERT_NEAR(t.data<float>()[i], sum[i], bound);
        ASSERT_NEAR(mean.data<float>()[i], sum[i] / n, bound);
      }
      results[w.rank()].assign(t.data<float>(), t.data<float>() + length);
      const std::vector<float> mine = numbers(w.rank(), length);
      std::vector<double> host(mine.begin(), mine.end());
      w.comm->all_reduce(std::span(host), Reduce::sum);
      for (int64_t i = 0; i < length; ++i) ASSERT_NEAR(host[i], sum[i], 1e-14 * magnitude[i]);
    });
    expect_no_errors(ends);
    for (const auto& result : results) EXPECT_EQ(result, results[0]);  // the same bits on every rank
  }
}

TEST_P(Sizes, BackgroundAllReducesOverlapTheCallersOwn) {
  const int n = GetParam();
  const auto ends = run_ranks(n, [&](World& w) {
    const Context cx;
    std::vector<Tensor> buckets;
    buckets.reserve(5);
    for (int b = 0; b < 5; ++b) buckets.push_back(tensor(cx, numbers(w.rank() + 10 * b, 50000 + b)));
    for (int round = 0; round < 3; ++round) {
      for (Tensor& b : buckets) w.comm->start_all_reduce(b, Reduce::mean);
      double count[] = {1.0};
      for (int k = 0; k < 20; ++k) {  // statistics of batch norm are exchanged while buckets are
        count[0] = 1;
        w.comm->all_reduce(std::span(count), Reduce::sum);
        ASSERT_EQ(count[0], n);
      }
      w.comm->finish();
    }
    for (int b = 0; b < 5; ++b) {
      double expected = 0;
      for (int r = 0; r < n; ++r) expected += numbers(r + 10 * b, 1)[0];
      ASSERT_NEAR(buckets[b].data<float>()[0], expected / n, 1e-5);
    }
    EXPECT_EQ(w.comm->clock.bytes, 3 * 4 * (5 * 50000 + 10));
  });
  expect_no_errors(ends);
}

TEST_P(Sizes, BroadcastAndGather) {
  const int n = GetParam();
  const auto ends = run_ranks(n, [&](World& w) {
    const Context cx;
    for (int root = 0; root < n; ++root) {
      const Tensor t = tensor(cx, numbers(w.rank(), 1001));
      w.comm->broadcast(t, root);
      EXPECT_TRUE(equal(t, 0, numbers(root, 1001)));
    }
    // Rank 1 sends nothing, and each rank after it sends more.
    const auto all = w.comm->all_gather(std::string(static_cast<size_t>(std::abs(w.rank() - 1)) * 700, 'x'));
    ASSERT_EQ(all.size(), static_cast<size_t>(n));
    for (int r = 0; r < n; ++r) EXPECT_EQ(all[r], std::string(static_cast<size_t>(std::abs(r - 1)) * 700, 'x'));
    EXPECT_EQ(w.comm->all_gather(std::string_view{}), std::vector<std::string>(n));
    const Tensor mine = tensor(cx, numbers(w.rank(), 17)), rows = cx.empty({n, 17}, DType::f32);
    w.comm->all_gather(mine, rows);
    for (int r = 0; r < n; ++r) EXPECT_TRUE(equal(rows, static_cast<int64_t>(r) * 17, numbers(r, 17)));
    w.comm->barrier();
  });
  expect_no_errors(ends);
}

INSTANTIATE_TEST_SUITE_P(Gloo, Sizes, testing::Values(2, 3, 4), [](const auto& i) { return std::to_string(i.param); });

TEST(Gloo, TheSameBitsInEveryRun) {
  std::vector<float> results[2];
  for (auto& result : results) {
    const auto ends = run_ranks(3, [&](World& w) {
      const Context cx;
      const Tensor t = tensor(cx, numbers(w.rank(), 100003));
      w.comm->all_reduce(t, Reduce::mean);
      if (w.rank() == 2) result.assign(t.data<float>(), t.data<float>() + t.numel());
    });
    expect_no_errors(ends);
  }
  EXPECT_EQ(results[0], results[1]);
}

// A rank fails while the others wait for it in a collective. They must wake up and hear the reason.
TEST(Gloo, AFailureWakesThoseWhoWait) {
  const auto began = Clock::now();
  const auto ends = run_ranks(3, [](World& w) {
    const Context cx;
    const Tensor t = tensor(cx, numbers(w.rank(), 100000));
    w.comm->all_reduce(t, Reduce::sum);
    if (w.rank() == 1) fail("a reason of its own");
    if (w.rank() == 0) w.comm->all_reduce(t, Reduce::sum);
    w.comm->start_all_reduce(t, Reduce::sum);
    w.comm->finish();
  });
  EXPECT_LT(std::chrono::duration<double>(Clock::now() - began).count(), 10);
  for (const int r : {0, 2}) {
    ASSERT_TRUE(ends[r].failure) << ends[r].error;
    EXPECT_EQ(ends[r].failure->rank, 1);
    EXPECT_EQ(ends[r].error, "a reason of its own");
  }
}

TEST(Gloo, RefusesWhatItCannotReduce) {
  const auto ends = run_ranks(2, [](World& w) {
    const Context cx;
    EXPECT_THROW(w.comm->all_reduce(cx.zeros({4}, DType::bf16), Reduce::sum), Error);
    EXPECT_THROW(w.comm->all_gather(cx.zeros({4}, DType::f32), cx.zeros({4}, DType::f32)), Error);
  });
  expect_no_errors(ends);
}

TEST(Local, EveryCollectiveIsTheIdentity) {
  const Context cx;
  const auto comm = make_local_comm();
  EXPECT_EQ(comm->size(), 1);
  const auto v = numbers(0, 33);
  const Tensor t = tensor(cx, v), all = cx.zeros({33}, DType::f32);
  comm->all_reduce(t, Reduce::mean);
  comm->start_all_reduce(t, Reduce::sum);
  comm->finish();
  comm->broadcast(t, 0);
  comm->all_gather(t, all);
  comm->barrier();
  EXPECT_TRUE(equal(t, 0, v));
  EXPECT_TRUE(equal(all, 0, v));
  EXPECT_EQ(comm->all_gather("abc"), std::vector<std::string>{"abc"});
}

}  // namespace
}  // namespace hr
