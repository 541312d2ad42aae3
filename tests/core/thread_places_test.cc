#include "core/thread_places.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "core/threads.h"

namespace hr {
namespace {

cpu_set_t mask() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

std::vector<int> processors(const cpu_set_t& set) {
  std::vector<int> list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) list.push_back(cpu);
  }
  return list;
}

void allow(const std::vector<int>& list) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : list) CPU_SET(cpu, &set);
  ASSERT_EQ(sched_setaffinity(0, sizeof set, &set), 0);
}

// All threads of a team are played by one thread, which the system cannot move while it is pinned.
class ThreadPlacesTest : public testing::Test {
 protected:
  void SetUp() override {
    all_ = processors(mask());
    if (all_.size() < 2) GTEST_SKIP() << "there is only one processor";
  }
  std::vector<int> all_;
};

TEST_F(ThreadPlacesTest, AThreadMovesAwayFromTheProcessorOfAnotherAndIsNotPinned) {
  call_on_new_thread([&] {  // The mask of this thread ends with it.
    ThreadPlaces places(3);
    for (int round = 0; round < 3; ++round) {
      for (const size_t at : {size_t{0}, size_t{1}}) {
        const int here = all_[at], other = all_[1 - at];
        places.leave(1);
        allow({here});
        places.spread(0);
        EXPECT_EQ(sched_getcpu(), here) << "alone it stays";
        // Two processors are allowed, and the system has no reason to move the thread away by itself.
        allow({here, other});
        places.spread(1);
        EXPECT_EQ(sched_getcpu(), other);
        EXPECT_EQ(processors(mask()), std::vector<int>({all_[0], all_[1]}));
      }
    }
  });
}

TEST_F(ThreadPlacesTest, AThreadStaysWhereTheOtherSleepsWhereItIsPinnedAndWhereNoProcessorIsLeft) {
  call_on_new_thread([&] {
    ThreadPlaces places(3);
    allow({all_[0]});
    places.spread(0);
    places.spread(1);
    EXPECT_EQ(sched_getcpu(), all_[0]) << "pinned";
    EXPECT_EQ(processors(mask()), std::vector<int>{all_[0]});
    // Threads 0 and 1 are on different processors; there is none for a third one.
    allow({all_[1]});
    places.spread(0);
    allow({all_[0]});
    allow({all_[0], all_[1]});
    places.spread(2);
    EXPECT_EQ(sched_getcpu(), all_[0]);
    EXPECT_EQ(processors(mask()), std::vector<int>({all_[0], all_[1]}));
    ThreadPlaces two(2);
    allow({all_[0]});
    two.spread(0);
    two.leave(0);
    allow({all_[0], all_[1]});
    two.spread(1);
    EXPECT_EQ(sched_getcpu(), all_[0]) << "the other one sleeps";
  });
}

// Thread 1 computes on a processor that it shares with a busy neighbour. Thread 0 waits for it on another one.
TEST_F(ThreadPlacesTest, AThreadThatIsStoppedGetsTheProcessorOfTheOneThatWaitsForIt) {
  const int free = all_[0], shared = all_[1];
  std::atomic<bool> ends = false;
  std::atomic<int> at = -1;
  ThreadPlaces places(2);
  std::jthread neighbour([&] {
    allow({shared});
    while (!ends) {
    }
  });
  cpu_set_t mask_of_the_stopped;
  std::jthread stopped([&] {
    allow({shared});
    places.spread(1);
    allow({free, shared});
    // It shares its processor with the neighbour, and the other one with thread 0, so the system does not move it.
    while (!ends) at = sched_getcpu();
    mask_of_the_stopped = mask();
  });
  call_on_new_thread([&] {
    allow({free});
    allow({free, shared});
    while (at < 0) {
    }
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    bool changed = false;
    while (!changed && std::chrono::steady_clock::now() < limit) {
      places.look(0);
      const auto waits = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
      while (std::chrono::steady_clock::now() < waits) {
      }
      changed = places.change_places(0);
    }
    EXPECT_TRUE(changed);
    while (at != free && std::chrono::steady_clock::now() < limit) {
    }
    EXPECT_EQ(at, free);
    ends = true;
    EXPECT_EQ(processors(mask()), std::vector<int>({free, shared})) << "nobody is pinned";
  });
  neighbour.join();
  stopped.join();
  EXPECT_EQ(processors(mask_of_the_stopped), std::vector<int>({free, shared}));
}

TEST_F(ThreadPlacesTest, OnlyAThreadThatHasWorkAndDoesNotComputeCountsAsStopped) {
  const int here = all_[0], there = all_[1];
  call_on_new_thread([&] {
    ThreadPlaces places(7);  // Threads 1 to 5 have no work.
    std::atomic<int> step = 0;
    std::jthread other([&] {
      allow({there});
      places.spread(6);
      allow({here, there});
      step = 1;
      while (step < 2) {  // Computes.
      }
      places.leave(6);
      step = 3;
      step.wait(3);  // Has no work and sleeps.
      allow({there});
      places.spread(6);
      allow({here, there});
      step = 5;
      step.wait(5);  // Has work and does not compute.
    });
    const auto look = [&] {
      allow({here});  // Under load the system could move it to the processor of the other thread.
      places.look(0);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    };
    while (step < 1) {
    }
    look();
    EXPECT_FALSE(places.change_places(0)) << "it computes";
    step = 2;
    while (step < 3) {
    }
    look();
    EXPECT_FALSE(places.change_places(0)) << "it has no work";
    step = 4;
    step.notify_all();
    while (step < 5) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // Until it sleeps.
    look();
    EXPECT_TRUE(places.change_places(0));
    step = 6;
    step.notify_all();
  });
}

}  // namespace
}  // namespace hr
