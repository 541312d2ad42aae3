#include "tools/bench/scaling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

namespace hr {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr int64_t kMillion = 1000000;

// Two gradients of 4 MB: that of the back half of the slab is ready after 1 s of backward, that of the front half at
// its end.
LoneStep two_halves() {
  return {.until_backward = 1, .backward = 4, .after = 0.5, .ready = {{kMillion, 1.0}, {0, 4.0}}};
}
const std::vector<Bucket> kTwo{{kMillion, 2 * kMillion, 1}, {0, kMillion, 1}};
const std::vector<Bucket> kOne{{0, 2 * kMillion, 2}};

TEST(Scaling, AllReduceMovesWhatItMust) {
  // 8 ranks in one host exchange 2 * 7/8 of the bytes.
  EXPECT_NEAR(all_reduce_seconds({.ranks = 8, .ranks_per_host = 8, .inside = 100}, 800), 14, 1e-12);
  // Two hosts of 8 exchange that within the hosts, and 2 * 1/2 of an eighth between them.
  EXPECT_NEAR(all_reduce_seconds({.ranks = 16, .ranks_per_host = 8, .inside = 100, .between = 10}, 800), 14 + 10,
              1e-12);
  // 1,024 hosts of one rank: 10 levels up and 10 down.
  EXPECT_NEAR(all_reduce_seconds({.ranks = 1024, .ranks_per_host = 1, .between = kInfinite, .hop = 1}, 800), 20, 1e-12);
  EXPECT_EQ(all_reduce_seconds({.ranks = 1, .ranks_per_host = 8}, 800), 0);
}

TEST(Scaling, OneRankExchangesNothing) {
  const PredictedStep p = predict_step(two_halves(), {.ranks = 1}, kTwo);
  EXPECT_EQ(p.seconds, 5.5);
  EXPECT_EQ(p.exposed, 0);
}

TEST(Scaling, WhatIsReadyEarlyIsHidden) {
  // 4 MB/s between two ranks is a second for each half. The first one is hidden by backward, the second one cannot be.
  Network net{.ranks = 2, .between = 4e6};
  PredictedStep p = predict_step(two_halves(), net, kTwo);
  EXPECT_NEAR(p.exposed, 1, 1e-12);
  EXPECT_NEAR(p.busy, 2, 1e-12);
  EXPECT_NEAR(p.seconds, 6.5, 1e-12);
  // With one bucket nothing is hidden.
  EXPECT_NEAR(predict_step(two_halves(), net, kOne).exposed, 2, 1e-12);
  // 1 MB/s: the first half is sent from 1 to 5 s, the second one until 9, and backward ends at 4.
  net.between = 1e6;
  EXPECT_NEAR(predict_step(two_halves(), net, kTwo).exposed, 5, 1e-12);
}

TEST(Scaling, ProcessorsThatExchangeDoNotCompute) {
  // 8 MB at 50 ns each: backward takes 0.4 s longer, which also hide more of the exchange.
  const Network net{.ranks = 2, .between = 4e6, .host_seconds_per_byte = 50e-9};
  EXPECT_NEAR(predict_step(two_halves(), net, kTwo).exposed, 0.4 + 1, 1e-12);
}

TEST(Scaling, SmallAllReducesWaitForTheirHops) {
  const Network net{.ranks = 4, .between = kInfinite, .hop = 0.01};
  // Each message goes 2 levels up and 2 down, and so does the last bucket after backward.
  EXPECT_NEAR(predict_step(two_halves(), net, kTwo, 10).exposed, 11 * 0.04, 1e-12);
}

TEST(Scaling, AStepScaledToAnotherDeviceKeepsItsProportions) {
  const LoneStep half = two_halves().scaled_to(2.75);
  EXPECT_NEAR(half.seconds(), 2.75, 1e-12);
  EXPECT_NEAR(half.backward, 2, 1e-12);
  EXPECT_NEAR(half.ready[1].at, 2, 1e-12);
}

TEST(Scaling, BucketsThatLeaveGradientsOutAreAnError) {
  const std::vector<Bucket> back{kTwo[0]};
  EXPECT_THROW(predict_step(two_halves(), {.ranks = 2, .between = 1}, back), Error);
}

}  // namespace
}  // namespace hr
