#include "core/threads.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <new>
#include <numeric>

namespace hr {
namespace {

TEST(Threads, EveryItemIsDoneExactlyOnce) {
  for (const int threads : {0, 1, 3, 64}) {
    for (const size_t count : {0U, 1U, 5U, 1000U}) {
      std::vector<std::atomic<int>> done(count);
      for_each_on_threads(count, threads, [&] { return [&](size_t i) { ++done[i]; }; });
      for (const auto& times : done) EXPECT_EQ(times, 1) << threads << " threads, " << count << " items";
    }
  }
}

TEST(Threads, EveryThreadMakesItsOwnWorkerWhichMayBeMovedOnly) {
  std::atomic<int> made{0};
  std::atomic<size_t> sum{0};
  for_each_on_threads(100, 4, [&] {
    ++made;
    return [&, mine = std::make_unique<size_t>(1)](size_t i) { sum += *mine * i; };
  });
  EXPECT_GE(made, 1);
  EXPECT_LE(made, 4);
  EXPECT_EQ(sum, 4950U);
}

// An exception that leaves the function of a thread would end the process.
TEST(Threads, AnExceptionOfAnyTypeComesOutOfTheCallAndNoFurtherItemIsBegun) {
  const auto run = [](auto exception) {
    std::atomic<size_t> begun{0};
    for_each_on_threads(1'000'000, 4, [&] {
      return [&, exception](size_t i) {
        ++begun;
        if (i == 10) throw exception;
      };
    });
  };
  EXPECT_THROW(run(std::bad_alloc()), std::bad_alloc);
  EXPECT_THROW(run(std::filesystem::filesystem_error("read", std::error_code(5, std::generic_category()))),
               std::filesystem::filesystem_error);
  EXPECT_THROW(run(7), int);

  std::atomic<size_t> begun{0};
  EXPECT_THROW(for_each_on_threads(1'000'000, 1,
                                   [&] {
                                     return [&](size_t) {
                                       ++begun;
                                       throw std::bad_alloc();
                                     };
                                   }),
               std::bad_alloc);
  EXPECT_EQ(begun, 1U);
}

TEST(Threads, AWorkerThatCannotBeMadeIsAnExceptionToo) {
  const auto make = []() -> void (*)(size_t) { throw std::bad_alloc(); };
  EXPECT_THROW(for_each_on_threads(10, 4, make), std::bad_alloc);
}

TEST(Threads, ATeamSaysWhatEndedItsThreads) {
  std::atomic<int> failed{0};
  std::atomic<bool> right{true};
  {
    ThreadTeam team;
    team.start(
        3, [] { throw std::bad_alloc(); },
        [&](const std::exception_ptr& error) {
          ++failed;
          try {
            std::rethrow_exception(error);
          } catch (const std::bad_alloc&) {
          } catch (...) {
            right = false;
          }
        });
  }
  EXPECT_EQ(failed, 3);
  EXPECT_TRUE(right);
}

TEST(Threads, ACallOnANewThreadThrowsHere) {
  std::thread::id there;
  call_on_new_thread([&] { there = std::this_thread::get_id(); });
  EXPECT_NE(there, std::this_thread::get_id());
  EXPECT_THROW(call_on_new_thread([] { throw std::bad_alloc(); }), std::bad_alloc);
}

}  // namespace
}  // namespace hr
