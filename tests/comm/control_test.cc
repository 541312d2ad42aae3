// The control connections: how ranks find each other, and how they notice that one of them is lost.
#include "core/comm/control.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <latch>

#include "tests/support/ranks.h"

namespace hr {
namespace {

using test::RankEnd;
using test::RankSetup;
using test::run_ranks;

TEST(Control, GathersInTheOrderOfRanks) {
  const auto ends = run_ranks(
      4,
      [](World& w) {
        for (int round = 0; round < 3; ++round) {
          const std::string mine(static_cast<size_t>(w.rank()) * 1000, static_cast<char>('a' + w.rank() + round));
          const std::vector<std::string> all = w.control->all_gather(mine);
          ASSERT_EQ(all.size(), 4u);
          for (int r = 0; r < 4; ++r)
            EXPECT_EQ(all[r], std::string(static_cast<size_t>(r) * 1000, static_cast<char>('a' + r + round)));
        }
        w.control->barrier();
        if (w.rank() == 1) w.control->put("key", "value");
        EXPECT_EQ(w.control->get("key"), "value");
      },
      test::kRankTimeout, false);
  expect_no_errors(ends);
}

TEST(Control, OneRanksErrorReachesTheTerminalWithItsRank) {
  const auto ends = run_ranks(
      3,
      [](World& w) {
        if (w.rank() == 2) fail("photo.jpg: truncated");
        w.control->barrier();
      },
      test::kRankTimeout, false);
  EXPECT_EQ(ends[0].failure->rank, 2);
  EXPECT_EQ(ends[1].failure->what, "photo.jpg: truncated");
  ASSERT_EQ(ends[0].settlement.lines.size(), 1u);
  EXPECT_TRUE(ends[0].settlement.lines[0].starts_with("rank 2 (host ")) << ends[0].settlement.lines[0];
  EXPECT_TRUE(ends[0].settlement.lines[0].ends_with("): photo.jpg: truncated")) << ends[0].settlement.lines[0];
  for (const RankEnd& end : ends) EXPECT_EQ(end.settlement.status, 2);
  EXPECT_TRUE(ends[1].settlement.lines.empty());
  EXPECT_TRUE(ends[2].settlement.lines.empty());
}

TEST(Control, TheSameErrorOnAllRanksIsPrintedOnce) {
  const auto ends = run_ranks(
      3, [](World&) { fail("--lr: no"); }, test::kRankTimeout, false);
  EXPECT_EQ(ends[0].settlement.lines, std::vector<std::string>{"--lr: no"});
  EXPECT_TRUE(ends[1].settlement.lines.empty());
  EXPECT_TRUE(ends[2].settlement.lines.empty());
}

TEST(Control, TwoRanksWithOneNumberAreNamed) {
  RankSetup setup(2);
  setup.ranks[1].rank = 0;
  setup.ranks[1].listen_fd = -1;
  setup.ranks.push_back(setup.ranks[1]);
  std::string message;
  Control first(setup.ranks[0], test::kRankTimeout);
  // A second rank 0 connects like any other rank, as after a wrong RANK on another host.
  Channel other(connect_to("127.0.0.1", setup.ranks[0].port, Clock::now() + test::kRankTimeout));
  other.send(1, Packer().text("hrnet.cpp ranks 1").u32(0).u32(2).text("elsewhere").u32(77).u32(0).text("test").str());
  other.flush();
  try {
    first.join();
    ADD_FAILURE() << "two ranks 0 were accepted";
  } catch (const RankFailed& e) {
    message = e.what();
    EXPECT_EQ(first.settle({}).status, 2);
  }
  EXPECT_NE(message.find("RANK=0"), std::string::npos) << message;
  EXPECT_NE(message.find("elsewhere"), std::string::npos) << message;
}

TEST(Control, AnotherWorldSizeIsNamedWithBothValues) {
  RankSetup setup(2);
  setup.ranks[1].size = 3;
  std::string messages[2];
  std::thread other([&] {
    Control control(setup.ranks[1], test::kRankTimeout);
    try {
      control.join();
    } catch (const RankFailed& e) {
      messages[1] = e.what();
    }
  });
  Control control(setup.ranks[0], test::kRankTimeout);
  try {
    control.join();
  } catch (const RankFailed& e) {
    messages[0] = e.what();
    EXPECT_EQ(control.settle({}).lines, std::vector<std::string>{messages[0]});
  }
  other.join();
  for (const std::string& m : messages) {
    EXPECT_NE(m.find("WORLD_SIZE=2"), std::string::npos) << m;
    EXPECT_NE(m.find("WORLD_SIZE=3"), std::string::npos) << m;
  }
}

TEST(Control, MissingRanksAreNamed) {
  RankSetup setup(3);
  Control control(setup.ranks[0], Milliseconds(400));
  try {
    control.join();
    ADD_FAILURE();
  } catch (const RankFailed& e) {
    EXPECT_NE(std::string(e.what()).find("(`dist_timeout`): 1, 2"), std::string::npos) << e.what();
  }
  control.settle({});
}

TEST(Control, APortInUseAndAnUnreachableMasterAreNamed) {
  const Descriptor taken = listen_on(0);
  const int port = port_of(taken);
  const auto message = [&](const Ranks& ranks) -> std::string {
    try {
      const Control control(ranks, Milliseconds(400));
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  const std::string in_use =
      message({.rank = 0, .size = 2, .port = port, .port_name = fmt::format("MASTER_PORT={}", port)});
  EXPECT_NE(in_use.find(fmt::format("MASTER_PORT={}", port)), std::string::npos) << in_use;
  Descriptor gone = listen_on(0);
  const int closed = port_of(gone);
  gone.reset();
  const std::string unreachable = message({.rank = 1, .size = 2, .port = closed});
  EXPECT_NE(unreachable.find(fmt::format("127.0.0.1:{}", closed)), std::string::npos) << unreachable;
  EXPECT_NE(unreachable.find("refused"), std::string::npos) << unreachable;
}

TEST(Control, SomethingElseBehindThePortIsSaid) {
  const Descriptor listener = listen_on(0, true);
  Control control({.rank = 1, .size = 2, .local_rank = 1, .port = port_of(listener)}, Milliseconds(2000));
  Descriptor stranger;
  for (int i = 0; i < 200 && !stranger.open(); ++i) {
    stranger = accept_from(listener);
    std::this_thread::sleep_for(Milliseconds(5));
  }
  ASSERT_TRUE(stranger.open());
  const std::string_view greeting = "220 mail.example.org ESMTP ready to take your mail\r\n";
  ASSERT_EQ(::send(stranger.get(), greeting.data(), greeting.size(), 0), static_cast<ssize_t>(greeting.size()));
  try {
    control.join();
    ADD_FAILURE();
  } catch (const RankFailed& e) {
    EXPECT_NE(std::string(e.what()).find("is not rank 0"), std::string::npos) << e.what();
    EXPECT_EQ(e.failure.status, 2);
  }
  control.settle({});
}

TEST(Control, ARankThatIsTurnedAwayHearsWhyHoweverMuchItHasSaid) {
  RankSetup setup(2);
  Ranks wrong = setup.ranks[1];
  wrong.size = 3;
  Control second(wrong, Milliseconds(4000));
  std::this_thread::sleep_for(3 * second.beat());  // its first words are all there when rank 0 comes to listen
  Control first(setup.ranks[0], test::kRankTimeout);
  for (Control* control : {&second, &first}) {
    try {
      control->join();
      ADD_FAILURE();
    } catch (const RankFailed& e) {
      EXPECT_NE(std::string(e.what()).find("has WORLD_SIZE=3, rank 0 has WORLD_SIZE=2"), std::string::npos) << e.what();
      EXPECT_EQ(e.failure.status, 2);
    }
  }
  std::thread other([&] { EXPECT_EQ(second.settle({}).status, 2); });
  EXPECT_EQ(first.settle({}).status, 2);
  other.join();
}

TEST(Control, StrangersAtThePortAreIgnored) {
  RankSetup setup(2);
  Channel stranger(connect_to("127.0.0.1", setup.ranks[0].port, Clock::now() + test::kRankTimeout));
  stranger.send(1, "GET / HTTP/1.1");
  stranger.flush();
  Control first(setup.ranks[0], test::kRankTimeout);
  Control second(setup.ranks[1], test::kRankTimeout);
  std::thread other([&] {
    second.join();
    second.leave();
  });
  first.join();
  first.leave();
  other.join();
}

// Starts a rank as a process of its own, to be killed or stopped. It joins and then waits in a barrier that no other
// rank enters.
pid_t fork_rank(const Ranks& ranks, Milliseconds timeout) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    Control control(ranks, timeout);
    control.join();
    control.barrier();
  } catch (const Error&) {
    ::_exit(1);
  }
  ::_exit(0);
}

// Sends `signal` to rank `lost`. All others must hear of it within `timeout`, and exactly one of them must print it.
void expect_noticed(int lost, int signal, const char* why) {
  const Milliseconds timeout(2000);
  const int n = 4;
  RankSetup setup(n);
  const pid_t victim = fork_rank(setup.ranks[lost], timeout);
  if (lost == 0) Descriptor(setup.ranks[0].listen_fd).reset();  // the child has a copy of it
  std::vector<std::unique_ptr<Control>> controls;
  std::vector<std::thread> threads;
  std::vector<std::string> messages(n);
  std::vector<Control::Settlement> settlements(n);
  std::vector<Milliseconds> after(n);
  std::atomic<int> joined{0};
  std::atomic<Clock::time_point> hit{Clock::time_point{}};
  for (int r = 0; r < n; ++r) {
    if (r == lost) continue;
    threads.emplace_back([&, r] {
      Control control(setup.ranks[r], timeout);
      try {
        control.join();
        ++joined;
        // The ranks do not wait in a barrier, because the lost rank may have entered that one already.
        while (true) {
          control.check();
          std::this_thread::sleep_for(Milliseconds(5));
        }
      } catch (const RankFailed& e) {
        after[r] = std::chrono::duration_cast<Milliseconds>(Clock::now() - hit.load());
        messages[r] = e.what();
        settlements[r] = control.settle({});
      }
    });
  }
  const auto until = Clock::now() + test::kRankTimeout;
  while (joined < n - 1 && Clock::now() < until) std::this_thread::sleep_for(Milliseconds(5));
  EXPECT_EQ(joined, n - 1);
  hit = Clock::now();
  ::kill(victim, signal);
  for (std::thread& t : threads) t.join();
  int spoken = 0;
  for (int r = 0; r < n; ++r) {
    if (r == lost) continue;
    EXPECT_NE(messages[r].find(fmt::format("rank {} (host ", lost)), std::string::npos) << messages[r];
    EXPECT_NE(messages[r].find(fmt::format("process {}", victim)), std::string::npos) << messages[r];
    EXPECT_NE(messages[r].find(why), std::string::npos) << messages[r];
    EXPECT_LT(after[r].count(), timeout.count()) << "rank " << r;
    EXPECT_EQ(settlements[r].status, kExitRankLost);
    spoken += static_cast<int>(settlements[r].lines.size());
  }
  EXPECT_EQ(spoken, 1);
  ::kill(victim, SIGKILL);
  ::waitpid(victim, nullptr, 0);
}

TEST(Control, AKilledRankIsNoticed) { expect_noticed(2, SIGKILL, "ended without a word"); }
TEST(Control, AStoppedRankIsNoticed) { expect_noticed(2, SIGSTOP, "silent"); }
TEST(Control, AKilledRankZeroIsNoticed) { expect_noticed(0, SIGKILL, "ended without a word"); }
TEST(Control, AStoppedRankZeroIsNoticed) { expect_noticed(0, SIGSTOP, "silent"); }

// A rank that waits for an answer of rank 0 must hear that rank 0 is lost, not that the answer is late. Many ranks
// wait, because the mistake was a race.
TEST(Control, WaitersOfALostRankZeroHearOfIt) {
  RankSetup setup(2);
  const pid_t victim = fork_rank(setup.ranks[0], test::kRankTimeout);
  Descriptor(setup.ranks[0].listen_fd).reset();
  Control control(setup.ranks[1], test::kRankTimeout);
  control.join();
  constexpr int kWaiters = 32;
  std::vector<std::string> heard(kWaiters);
  std::latch begun(kWaiters);
  std::vector<std::thread> waiters;
  waiters.reserve(kWaiters);
  for (int i = 0; i < kWaiters; ++i) {
    waiters.emplace_back([&, i] {
      begun.count_down();
      try {
        control.get(fmt::format("a key that nobody puts {}", i));
      } catch (const Error& e) {
        heard[i] = e.what();
      }
    });
  }
  begun.wait();
  ::kill(victim, SIGKILL);
  for (std::thread& t : waiters) t.join();
  for (const std::string& what : heard) EXPECT_NE(what.find("rank 0 (host "), std::string::npos) << what;
  ::waitpid(victim, nullptr, 0);
}

// A rank that is alive but does not enter the collective in which the others wait.
TEST(Control, AStuckRankIsNamed) {
  const auto ends = run_ranks(
      3,
      [](World& w) {
        w.control->begin_collective(0);
        w.control->end_collective(0);
        if (w.rank() != 1) w.control->begin_collective(0);
        for (;;) {
          w.control->check();
          std::this_thread::sleep_for(Milliseconds(10));
        }
      },
      Milliseconds(500), false);
  for (const RankEnd& end : ends) {
    EXPECT_EQ(end.failure->rank, 1) << end.error;
    EXPECT_NE(end.error.find("stuck"), std::string::npos) << end.error;
  }
}

// The same, but the rank has declared that it is busy.
TEST(Control, ABusyRankIsWaitedFor) {
  const auto ends = run_ranks(
      2,
      [](World& w) {
        if (w.rank() == 0) {
          const Control::Busy busy(w.control.get());
          std::this_thread::sleep_for(Milliseconds(1500));
        } else {
          w.control->begin_collective(0);
        }
        w.control->barrier();
        w.control->end_collective(0);
      },
      Milliseconds(500), false);
  expect_no_errors(ends);
}

// The same, but the busy rank itself waits for the stuck one: rank 0 validates and gathers the people of all ranks,
// while the data that rank 2 needs in the collective before that have been lost.
TEST(Control, ABusyRankThatWaitsInAGatherIsNotWaitedFor) {
  const auto ends = run_ranks(
      3,
      [](World& w) {
        w.control->begin_collective(0);
        if (w.rank() == 2) {
          for (;;) {
            w.control->check();
            std::this_thread::sleep_for(Milliseconds(10));
          }
        }
        w.control->end_collective(0);
        const Control::Busy busy(w.rank() == 0 ? w.control.get() : nullptr);
        w.control->barrier();
      },
      Milliseconds(500), false);
  for (const RankEnd& end : ends) {
    EXPECT_NE(end.error.find("has not arrived"), std::string::npos) << end.error;
  }
}

// After Ctrl-Z and fg of the whole run no rank counts as silent, because none of them was running.
TEST(Control, ARunThatWasStoppedAsAWholeGoesOn) {
  const Milliseconds timeout(1000);
  RankSetup setup(3);
  std::array<int, 2> joined{}, continued{};
  ASSERT_EQ(::pipe(joined.data()), 0);
  ASSERT_EQ(::pipe(continued.data()), 0);
  std::vector<pid_t> children;
  for (int r = 0; r < 3; ++r) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(continued[1]);
      char byte = 0;
      try {
        Control control(setup.ranks[r], timeout);
        control.join();
        check(::write(joined[1], &byte, 1) == 1, "the test has ended");
        check(::read(continued[0], &byte, 1) == 0, "expected the end of the pipe");
        control.barrier();
        control.leave();
      } catch (const Error& e) {
        fmt::print(stderr, "rank {}: {}\n", r, e.what());
        ::_exit(1);
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  Descriptor(setup.ranks[0].listen_fd).reset();
  ::close(joined[1]);
  for (size_t r = 0; r < children.size(); ++r) {
    pollfd ready{joined[0], POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, static_cast<int>(test::kRankTimeout.count())), 1) << "a rank has not joined";
    char byte = 0;
    ASSERT_EQ(::read(joined[0], &byte, 1), 1) << "a rank ended before it had joined";
  }
  for (const pid_t pid : children) ::kill(pid, SIGSTOP);
  std::this_thread::sleep_for(Milliseconds(2500));  // longer than the silence that the ranks allow each other
  for (const pid_t pid : children) ::kill(pid, SIGCONT);
  ::close(continued[1]);
  for (const pid_t pid : children) {
    int status = -1;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST(Control, ValuesThatDifferAreNamedWithBothRanks) {
  const auto ends = run_ranks(
      3,
      [](World& w) {
        require_agreement(w, {{"--model", "hrnet_w32"}, {"--seed", "1"}});
        require_agreement(w, {{"--lr", w.rank() == 2 ? "0.002" : "0.001"}});
      },
      test::kRankTimeout, false);
  for (const RankEnd& end : ends) {
    EXPECT_NE(end.error.find("--lr: rank 0 (host "), std::string::npos) << end.error;
    EXPECT_NE(end.error.find("has 0.001, rank 2 (host "), std::string::npos) << end.error;
    EXPECT_NE(end.error.find("has 0.002"), std::string::npos) << end.error;
    EXPECT_EQ(end.settlement.status, 2);
  }
  EXPECT_EQ(ends[0].settlement.lines.size(), 1u);
  EXPECT_TRUE(ends[1].settlement.lines.empty());
}

}  // namespace
}  // namespace hr
