// Compares the shards of an epoch with torch.utils.data.DistributedSampler.
#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace hr {
namespace {

using Order = std::vector<size_t>;

Order counting(size_t n) {
  Order order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  return order;
}

// The expected lists are those of torch 2.6 for DistributedSampler(range(n), num_replicas, rank, shuffle=False).
TEST(Shard, EqualsTorchsDistributedSampler) {
  struct Case {
    size_t n;
    int ranks;
    std::vector<Order> expected;
  };
  const Case cases[] = {
      {10, 4, {{0, 4, 8}, {1, 5, 9}, {2, 6, 0}, {3, 7, 1}}},
      {8, 4, {{0, 4}, {1, 5}, {2, 6}, {3, 7}}},
      {7, 3, {{0, 3, 6}, {1, 4, 0}, {2, 5, 1}}},
      {2, 5, {{0}, {1}, {0}, {1}, {0}}},
      {1, 3, {{0}, {0}, {0}}},
      {5, 1, {{0, 1, 2, 3, 4}}},
  };
  for (const Case& c : cases) {
    for (int r = 0; r < c.ranks; ++r) {
      EXPECT_EQ((Shard{r, c.ranks}.of(counting(c.n))), c.expected[r]) << c.n << " on rank " << r << " of " << c.ranks;
    }
  }
}

TEST(Shard, EveryoneIsSeenAndOnlyThePaddingTwice) {
  for (size_t n = 1; n < 40; ++n) {
    for (int ranks = 1; ranks < 9; ++ranks) {
      std::multiset<size_t> seen;
      for (int r = 0; r < ranks; ++r) {
        const Shard shard{r, ranks};
        const Order mine = shard.of(counting(n));
        EXPECT_EQ(mine.size(), shard.size(n));
        seen.insert(mine.begin(), mine.end());
      }
      EXPECT_EQ(std::set<size_t>(seen.begin(), seen.end()).size(), n);
      EXPECT_LT(seen.size() - n, static_cast<size_t>(ranks));
    }
  }
}

// Step k of P ranks with batches of b is step k of one process with P b, except for the padding at the end.
TEST(Shard, StepsHoldTheSamplesOfOneProcess) {
  const size_t n = 24, b = 3;
  const Order order = [] {
    Order o = counting(24);
    std::reverse(o.begin(), o.end());
    return o;
  }();
  for (const int ranks : {2, 4}) {
    for (size_t step = 0; step < n / (b * ranks); ++step) {
      std::set<size_t> together;
      for (int r = 0; r < ranks; ++r) {
        const Order mine = Shard{r, ranks}.of(order);
        together.insert(mine.begin() + static_cast<ptrdiff_t>(step * b),
                        mine.begin() + static_cast<ptrdiff_t>((step + 1) * b));
      }
      const auto first = order.begin() + static_cast<ptrdiff_t>(step * b * ranks);
      EXPECT_EQ(together, (std::set<size_t>(first, first + static_cast<ptrdiff_t>(b * ranks))));
    }
  }
}

}  // namespace
}  // namespace hr
