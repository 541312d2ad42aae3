#include "core/thread_places.h"

#include <gtest/gtest.h>
#include <sched.h>

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

}  // namespace
}  // namespace hr
