#include "core/loop_graph.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <future>
#include <latch>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"

namespace hr {
namespace {

ByteRange range(const std::vector<int64_t>& numbers) { return std::as_bytes(std::span(numbers)); }

// Loops over arrays of numbers, each from two arrays to a third one, as the ops of a network with branches.
struct RandomProgram {
  static constexpr size_t kArrays = 6, kNumbers = 40, kLoops = 60;
  std::vector<std::vector<int64_t>> arrays;
  std::vector<std::array<size_t, 3>> steps;

  explicit RandomProgram(unsigned seed) : arrays(kArrays, std::vector<int64_t>(kNumbers)) {
    std::mt19937 random(seed);
    for (auto& array : arrays) std::iota(array.begin(), array.end(), static_cast<int64_t>(random() % 100));
    for (size_t i = 0; i < kLoops; ++i) steps.push_back({random() % kArrays, random() % kArrays, random() % kArrays});
  }
  // Writes element i of array `to`, which no piece of the same loop reads except the one of i.
  void element(const std::array<size_t, 3>& s, size_t i) {
    const int64_t other = s[1] == s[2] ? arrays[s[1]][i] : arrays[s[1]][kNumbers - 1 - i];
    // The numbers grow beyond 64 bits, and unsigned ones wrap around.
    arrays[s[2]][i] =
        static_cast<int64_t>(3 * static_cast<uint64_t>(arrays[s[0]][i]) + static_cast<uint64_t>(other) + i);
  }
  void run_in_order() {
    for (const auto& s : steps) {
      for (size_t i = 0; i < kNumbers; ++i) element(s, i);
    }
  }
  std::shared_ptr<const LoopGraph> record() {
    LoopRecorder recorder;
    for (size_t k = 0; k < steps.size(); ++k) {
      const auto s = steps[k];
      Loop loop{.pieces = kNumbers, .body = [this, s](int64_t i, LoopWorker&) { element(s, static_cast<size_t>(i)); }};
      // Some loops do not say what they read and write.
      if (k % 17 != 16) loop.operands = LoopOperands{{range(arrays[s[0]]), range(arrays[s[1]])}, {range(arrays[s[2]])}};
      recorder.add(std::move(loop));
    }
    return recorder.finish();
  }
};

TEST(LoopGraph, ResultsAreThoseOfTheLoopsInTheirOrderForAnyNumberOfThreads) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    RandomProgram in_order(seed);
    for (int repeat = 0; repeat < 3; ++repeat) in_order.run_in_order();
    for (const int threads : {1, 2, 3, 5}) {
      RandomProgram program(seed);
      const auto graph = program.record();
      LoopTeam team(threads);
      for (int repeat = 0; repeat < 3; ++repeat) team.run(graph);
      EXPECT_EQ(program.arrays, in_order.arrays) << "seed " << seed << ", " << threads << " threads";
    }
  }
}

Loop loop_on(const std::vector<int64_t>& from, const std::vector<int64_t>& to, std::function<void()> body,
             int64_t pieces = 1) {
  return {.pieces = pieces,
          .body = [body = std::move(body)](int64_t, LoopWorker&) { body(); },
          .operands = LoopOperands{{range(from)}, {range(to)}}};
}

TEST(LoopGraph, OnlyLoopsThatNeedEachOtherAreOrdered) {
  const std::vector<int64_t> a(1), b(1), c(1), d(1);
  LoopRecorder recorder;
  recorder.add(loop_on(a, b, [] {}));
  recorder.add(loop_on(a, c, [] {}));  // Beside the first one.
  recorder.add(loop_on(c, d, [] {}));  // After the second one.
  EXPECT_EQ(recorder.finish()->levels(), 2);
  recorder.add(loop_on(a, b, [] {}));
  recorder.add(loop_on(c, a, [] {}));  // It writes what the first one reads.
  recorder.add(loop_on(d, a, [] {}));  // It writes what the second one writes.
  EXPECT_EQ(recorder.finish()->levels(), 3);
  recorder.add(loop_on(a, b, [] {}));
  recorder.add({.pieces = 1, .body = [](int64_t, LoopWorker&) {}});  // It does not say what it reads and writes.
  recorder.add(loop_on(c, d, [] {}));
  recorder.add(loop_on(
      c, d, [] {}, 0));  // It has no work and is dropped.
  const auto graph = recorder.finish();
  EXPECT_EQ(graph->levels(), 3);
  EXPECT_EQ(graph->size(), 3U);
}

// The piece of one branch ends only when all loops of the other branch have ended. With a barrier after each loop this
// would never end.
TEST(LoopGraph, AThreadThatIsLateHoldsUpOnlyWhatNeedsItsPiece) {
  const std::vector<int64_t> x(1), a(1), b(1), y(1);
  std::promise<void> other_branch_ended;
  std::atomic<bool> met{false};
  LoopRecorder recorder;
  recorder.add(loop_on(x, a, [ended = other_branch_ended.get_future().share()] { ended.wait(); }));
  for (int i = 0; i < 5; ++i)
    recorder.add(loop_on(
        x, b, [] {}, 7));
  recorder.add(loop_on(b, b, [&] { other_branch_ended.set_value(); }));
  Loop meet = loop_on(a, y, [&] { met = true; });
  meet.operands->reads.push_back(range(b));
  recorder.add(std::move(meet));
  LoopTeam team(2);
  team.run(recorder.finish());
  EXPECT_TRUE(met);
}

// The thread is about to join the first run until all runs have ended.
TEST(LoopTeam, ARunDoesNotWaitForAThreadThatHasNoPiece) {
  std::latch arrived(1), go(1);
  std::atomic<int> done{0};
  const std::vector<int64_t> x(1), y(1);
  const auto body = [&] {
    arrived.wait();
    ++done;
  };
  LoopRecorder recorder;
  recorder.add(loop_on(x, y, body, 100));
  auto graph = recorder.finish();
  LoopTeam team(2, [&, first = true]() mutable {
    if (std::exchange(first, false)) arrived.count_down();
    go.wait();
  });
  for (int run = 1; run <= 3; ++run) {
    team.run(graph);
    EXPECT_EQ(done, 100 * run);
  }
  graph.reset();
  go.count_down();  // Now the thread joins a run that has ended.
}

// Each of two threads waits in its first piece until the other one has begun, so both have a part of the loop.
TEST(LoopTeam, AThreadBeginsWithItsOwnShareAndGoesOnWithThoseOfOthers) {
  constexpr int64_t kPieces = 9;
  std::latch both(2);
  std::array<std::vector<int64_t>, 2> taken;
  std::atomic<int> left{kPieces};
  LoopRecorder recorder;
  recorder.add({.pieces = kPieces, .body = [&](int64_t piece, LoopWorker& worker) {
                  std::vector<int64_t>& own = taken.at(static_cast<size_t>(worker.index));
                  own.push_back(piece);
                  if (own.size() == 1) both.arrive_and_wait();
                  --left;
                  // The second thread is held up in its first piece until the first one has done all others.
                  while (worker.index == 1 && left > 0 && own.size() == 1) std::this_thread::yield();
                }});
  LoopTeam team(2);
  team.run(recorder.finish());
  EXPECT_EQ(taken[0], (std::vector<int64_t>{0, 1, 2, 3, 5, 6, 7, 8}));
  EXPECT_EQ(taken[1], (std::vector<int64_t>{4}));
}

size_t processors_of_this_thread() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<size_t>(CPU_COUNT(&set)) : 0;
}

// Training pins its threads, and its validation runs recorded loops on one of them.
TEST(LoopTeam, ACallerThatIsPinnedMayMoveDuringTheRunOnly) {
  const size_t all = processors_of_this_thread();
  if (all < 2) GTEST_SKIP() << "there is only one processor";
  const auto seen = [&] {
    set_compute_threads(static_cast<int>(all));
    pin_compute_threads();
    const size_t before = processors_of_this_thread();
    size_t during = 0;
    LoopRecorder recorder;
    recorder.add({.pieces = 1, .body = [&](int64_t, LoopWorker&) { during = processors_of_this_thread(); }});
    LoopTeam(1).run(recorder.finish());
    return std::array{before, during, processors_of_this_thread()} == std::array{size_t{1}, all, size_t{1}};
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // A new process, because pins are for all of a process.
  EXPECT_EXIT(std::exit(seen() ? 0 : 1), testing::ExitedWithCode(0), "");
}

TEST(LoopTeam, TheFirstExceptionOfAnyThreadReachesTheCaller) {
  const std::vector<int64_t> x(1), a(1), b(1);
  for (const int threads : {1, 2, 3}) {
    LoopTeam team(threads);
    std::atomic<bool> after{false};
    LoopRecorder recorder;
    recorder.add({.pieces = 100,
                  .body =
                      [](int64_t i, LoopWorker&) {
                        if (i == 40) fail("piece {}", i);
                      },
                  .operands = LoopOperands{{range(x)}, {range(a)}}});
    recorder.add(loop_on(a, b, [&] { after = true; }));
    const auto graph = recorder.finish();
    for (int repeat = 0; repeat < 2; ++repeat) {
      try {
        team.run(graph);
        ADD_FAILURE() << "expected an exception";
      } catch (const Error& e) {
        EXPECT_STREQ(e.what(), "piece 40");
      }
    }
    EXPECT_FALSE(after);
    // The team is as good as new.
    recorder.add(loop_on(a, b, [&] { after = true; }));
    team.run(recorder.finish());
    EXPECT_TRUE(after);
  }
}

// Both pieces of the first loop are under way at the same time, so they are on two threads, and the second thread
// throws.
TEST(LoopTeam, AnExceptionOfAnotherThreadReachesTheCaller) {
  std::latch both(2);
  const std::vector<int64_t> x(1), a(1);
  LoopRecorder recorder;
  recorder.add({.pieces = 2,
                .body =
                    [&](int64_t, LoopWorker& worker) {
                      both.arrive_and_wait();
                      if (worker.index == 1) throw 7;
                    },
                .operands = LoopOperands{{range(x)}, {range(a)}}});
  LoopTeam team(2);
  EXPECT_THROW(team.run(recorder.finish()), int);
}

TEST(LoopTeam, ScratchMemoryBelongsToOneThreadAndIsFreshInEachLoop) {
  std::array<std::atomic<std::byte*>, 3> scratch{};
  std::atomic<int> mistakes{0};
  LoopRecorder recorder;
  const std::vector<int64_t> x(1), a(1), b(1);
  for (const auto* to : {&a, &b}) {
    for (int64_t k = 0; k < 10; ++k) {
      const int64_t id = k + (to == &a ? 0 : 100);
      recorder.add({.pieces = 20,
                    .body =
                        [&, id](int64_t, LoopWorker& worker) {
                          auto* number = reinterpret_cast<int64_t*>(worker.scratch);
                          std::byte* expected = nullptr;
                          auto& known = scratch[static_cast<size_t>(worker.index)];
                          if (!known.compare_exchange_strong(expected, worker.scratch) && expected != worker.scratch)
                            ++mistakes;
                          if (!worker.fresh && *number != id) ++mistakes;
                          *number = id;
                        },
                    .scratch = sizeof(int64_t),
                    .operands = LoopOperands{{range(x)}, {range(*to)}}});
    }
  }
  LoopTeam team(3);
  team.run(recorder.finish());
  EXPECT_EQ(mistakes, 0);
}

}  // namespace
}  // namespace hr
