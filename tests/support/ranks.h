// Runs several ranks as threads of one test.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "core/comm/world.h"

namespace hr::test {

constexpr Milliseconds kRankTimeout{20000};  // long, because the machine may be busy

// Ranks 0 .. n-1, each with its control connection. Rank 0 has the listening socket.
struct RankSetup {
  explicit RankSetup(int n) {
    Descriptor listener = listen_on(0, true);
    const int port = port_of(listener);
    for (int r = 0; r < n; ++r) {
      ranks.push_back({.rank = r, .size = n, .local_rank = r, .local_size = n, .port = port, .run = "test"});
    }
    ranks[0].listen_fd = listener.release();
  }
  std::vector<Ranks> ranks;
};

// How a rank ended: the Error of its body, and what settle() returned after it.
struct RankEnd {
  std::string error;
  std::optional<Failure> failure;  // of another rank, if that was the reason
  Control::Settlement settlement;
};

// Runs body(World&) on n threads over Gloo. An Error ends its rank as it would end a program.
inline std::vector<RankEnd> run_ranks(int n, const std::function<void(World&)>& body,
                                      Milliseconds timeout = kRankTimeout, bool engine = true) {
  RankSetup setup(n);
  std::vector<RankEnd> ends(n);
  std::vector<std::thread> threads;
  threads.reserve(n);
  for (int r = 0; r < n; ++r) {
    threads.emplace_back([&, r] {
      World world{.ranks = setup.ranks[r]};
      try {
        world.control = std::make_shared<Control>(setup.ranks[r], timeout);
        world.control->join();
        if (engine) make_engine(world, {});
        body(world);
        world.control->leave();
      } catch (const RankFailed& e) {
        ends[r].error = e.what();
        ends[r].failure = e.failure;
        ends[r].settlement = world.control->settle({});
      } catch (const Error& e) {
        ends[r].error = e.what();
        if (world.control) ends[r].settlement = world.control->settle(Failure{.rank = r, .what = e.what()});
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return ends;
}

inline void expect_no_errors(const std::vector<RankEnd>& ends) {
  for (size_t r = 0; r < ends.size(); ++r) EXPECT_EQ(ends[r].error, "") << "rank " << r;
}

}  // namespace hr::test
