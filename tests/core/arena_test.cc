#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "core/allocator.h"
#include "core/context.h"
#include "core/cuda.h"
#include "core/error.h"
#include "core/philox.h"

namespace hr {
namespace {

struct Event {
  bool allocate;
  size_t tensor;
};
// A generated step: tensors of random sizes, each freed at a random later moment.
struct Script {
  std::vector<size_t> bytes;
  std::vector<Event> events;
};

Script random_script(uint64_t seed, size_t tensors) {
  Philox rng(seed, 0, 0);
  Script s;
  std::vector<size_t> live;
  const auto free_one = [&] {
    const size_t at = rng.below(live.size());
    s.events.push_back({false, live[at]});
    live.erase(live.begin() + static_cast<ptrdiff_t>(at));
  };
  for (size_t t = 0; t < tensors; ++t) {
    while (!live.empty() && rng.uniform() < 0.45) free_one();
    s.bytes.push_back(rng.uniform() < 0.1 ? rng.below(3) : 1 + rng.below(20000));
    s.events.push_back({true, t});
    live.push_back(t);
  }
  while (!live.empty()) free_one();
  return s;
}

// Runs the script and fills every tensor with a byte of its own. A tensor with another byte at the end has shared
// memory.
std::vector<void*> play(Arena& arena, const Script& s) {
  std::vector<void*> at(s.bytes.size());
  arena.begin_step();
  for (const Event& e : s.events) {
    const auto mark = static_cast<unsigned char>(1 + e.tensor % 251);
    if (e.allocate) {
      at[e.tensor] = arena.allocate(s.bytes[e.tensor]);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(at[e.tensor]) % 64, 0u);
      std::memset(at[e.tensor], mark, s.bytes[e.tensor]);
      continue;
    }
    const auto* bytes = static_cast<const unsigned char*>(at[e.tensor]);
    const auto strange = std::count_if(bytes, bytes + s.bytes[e.tensor], [&](unsigned char b) { return b != mark; });
    EXPECT_EQ(strange, 0) << "tensor " << e.tensor << " was overwritten while alive";
    arena.deallocate(at[e.tensor], s.bytes[e.tensor]);
  }
  arena.end_step();
  return at;
}

size_t aligned(size_t bytes) { return std::max<size_t>(64, (bytes + 63) / 64 * 64); }

TEST(Arena, ReplaysRandomStepsAtTheSameAddressesWithoutOverlap) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    const Script s = random_script(seed, 1 + 7 * seed);
    Arena arena(std::make_shared<CachingAllocator>());
    EXPECT_FALSE(arena.replaying());
    play(arena, s);
    EXPECT_TRUE(arena.replaying());
    const auto second = play(arena, s);
    EXPECT_EQ(play(arena, s), second);
    EXPECT_EQ(play(arena, s), second);

    size_t sum = 0, largest = 0, live = 0, most = 0;
    for (const size_t b : s.bytes) sum += aligned(b), largest = std::max(largest, aligned(b));
    for (const Event& e : s.events) {
      live = e.allocate ? live + aligned(s.bytes[e.tensor]) : live - aligned(s.bytes[e.tensor]);
      most = std::max(most, live);
    }
    EXPECT_LE(arena.peak_bytes(), sum);
    EXPECT_GE(arena.peak_bytes(), largest);
    EXPECT_GE(arena.peak_bytes(), most) << "no layout is smaller than what is alive at one time";
    EXPECT_LE(arena.peak_bytes(), most + most / 2) << "the plan wastes more than half";
  }
}

TEST(Arena, TensorsThatNeverMeetShareMemory) {
  Arena arena(std::make_shared<CachingAllocator>());
  for (int step = 0; step < 2; ++step) {
    arena.begin_step();
    for (int i = 0; i < 10; ++i) arena.deallocate(arena.allocate(1000), 1000);
    arena.end_step();
  }
  EXPECT_EQ(arena.peak_bytes(), 1024u);
}

TEST(Arena, StepsThatTakeTurnsShareABlockOfTheLargestsSize) {
  const auto parent = std::make_shared<CachingAllocator>();
  const auto block = std::make_shared<ArenaBlock>(parent);
  std::vector<Script> scripts;
  std::deque<Arena> arenas;
  for (uint64_t i = 0; i < 6; ++i) {
    scripts.push_back(random_script(i, 20 * (i + 1)));
    arenas.emplace_back(parent, block);
  }
  size_t largest = 0;
  for (size_t i = 0; i < arenas.size(); ++i) {
    play(arenas[i], scripts[i]);  // records
    largest = std::max(largest, arenas[i].peak_bytes());
    for (size_t k = 0; k <= i; ++k) play(arenas[k], scripts[k]);
  }
  EXPECT_EQ(block->bytes(), largest);
  EXPECT_LE(parent->live_bytes(), largest + 4096) << "in whole pages";
  const auto addresses = play(arenas[0], scripts[0]);
  const uint64_t moves = block->moves();
  for (size_t k = 0; k < arenas.size(); ++k) play(arenas[k], scripts[k]);
  EXPECT_EQ(play(arenas[0], scripts[0]), addresses);
  EXPECT_EQ(block->moves(), moves) << "nothing had to grow";
  block->release();
  EXPECT_EQ(parent->live_bytes(), 0u);
  EXPECT_NE(block->moves(), moves);
  play(arenas[5], scripts[5]);  // allocates its memory anew
}

TEST(Arena, TwoStepsAtOnceMayNotShareABlock) {
  const auto parent = std::make_shared<CachingAllocator>();
  const auto block = std::make_shared<ArenaBlock>(parent);
  Arena a(parent, block), b(parent, block);
  const Script s = random_script(1, 5);
  play(a, s);
  play(b, s);
  a.begin_step();
  EXPECT_THROW(b.begin_step(), Error);
  EXPECT_THROW(block->reserve(size_t{1} << 30), Error) << "it would move";
  a.abort_step();
  play(b, s);
  b.begin_step();
  b.abort_step();
  play(a, s);
}

TEST(Arena, RefusesAStepThatAsksForSomethingElse) {
  Arena arena(std::make_shared<CachingAllocator>());
  const auto step = [&](const std::vector<size_t>& sizes) {
    arena.begin_step();
    for (const size_t bytes : sizes) arena.deallocate(arena.allocate(bytes), bytes);
    arena.end_step();
  };
  step({100, 200});
  step({100, 200});
  EXPECT_THROW(step({100, 201}), Error);
  arena.abort_step();
  EXPECT_THROW(step({100, 200, 300}), Error);
  arena.abort_step();
  step({100, 200});  // the plan survives a step that was abandoned
  EXPECT_THROW(arena.allocate(100), Error) << "outside a step";
}

TEST(Arena, RefusesATensorThatOutlivesItsRecordedLifetime) {
  Arena arena(std::make_shared<CachingAllocator>());
  arena.begin_step();
  arena.deallocate(arena.allocate(256), 256);
  arena.deallocate(arena.allocate(256), 256);
  arena.end_step();
  arena.begin_step();
  void* first = arena.allocate(256);  // it was freed earlier in the recording, so its place belongs to the second one
  EXPECT_THROW(arena.allocate(256), Error);
  arena.deallocate(first, 256);
}

TEST(Arena, ATensorAliveAtTheEndOfAStepIsAnError) {
  Context cx;
  const auto arena = std::make_shared<Arena>(cx.allocator);
  cx.allocator = arena;
  arena->begin_step();
  Tensor kept = cx.empty({10}, DType::f32);
  EXPECT_THROW(arena->end_step(), Error);
  kept.reset();
  arena->end_step();
  EXPECT_THROW(arena->end_step(), Error) << "without begin_step";
}

// A step that throws leaves tensors that are freed after abort_step(), during unwinding.
TEST(Arena, AbortedRecordingTakesLateFreesAndStartsAfresh) {
  const auto parent = std::make_shared<CachingAllocator>();
  Context cx;
  const auto arena = std::make_shared<Arena>(parent);
  cx.allocator = arena;
  arena->begin_step();
  std::deque<Tensor> tensors;
  for (int i = 0; i < 100; ++i) tensors.push_back(cx.empty({1 + 100 * i}, DType::f32));
  arena->abort_step();
  tensors.clear();
  EXPECT_EQ(parent->live_bytes(), 0u);
  for (int step = 0; step < 3; ++step) {
    arena->begin_step();
    cx.empty({5}, DType::f32);
    arena->end_step();
  }
  EXPECT_TRUE(arena->replaying());
  EXPECT_EQ(arena->peak_bytes(), 64u);
}

TEST(CachingAllocator, ReusesBlocksOfOneRoundedSizeAndCountsThePeak) {
  CachingAllocator a;
  void* p = a.allocate(5000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
  EXPECT_EQ(a.live_bytes(), 8192u);
  a.deallocate(p, 5000);
  EXPECT_EQ(a.live_bytes(), 0u);
  EXPECT_EQ(a.allocate(6000), p) << "5000 and 6000 bytes round to the same two pages";
  void* q = a.allocate(6000);
  EXPECT_NE(q, p);
  EXPECT_EQ(a.peak_bytes(), 2 * 8192u);
  a.deallocate(p, 6000);
  a.deallocate(q, 6000);
  EXPECT_EQ(a.peak_bytes(), 2 * 8192u);
  a.release_cache();
  void* zero = a.allocate(0);
  EXPECT_NE(zero, nullptr);
  a.deallocate(zero, 0);
  EXPECT_EQ(a.live_bytes(), 0u);
}

// A system of 100 pages that reports exhaustion in one of two ways: null, or OutOfMemory as a GPU does.
TEST(CachingAllocator, GivesBackWhatItKeepsBeforeItGivesUp) {
  constexpr size_t page = 4096;
  for (const bool throws : {false, true}) {
    std::map<void*, size_t> blocks;
    size_t left = 100 * page;
    CachingAllocator a({[&](size_t bytes) -> void* {
                          if (bytes > left && throws) throw OutOfMemory("full", bytes);
                          if (bytes > left) return nullptr;
                          left -= bytes;
                          void* p = std::aligned_alloc(64, bytes);
                          blocks[p] = bytes;
                          return p;
                        },
                        [&](void* p) {
                          left += blocks.at(p);
                          blocks.erase(p);
                          std::free(p);
                        }});
    void* const kept = a.allocate(20 * page);
    a.deallocate(a.allocate(60 * page), 60 * page);
    void* const more = a.allocate(70 * page);  // the cached 60 must be freed for it
    EXPECT_EQ(left, 10 * page);
    EXPECT_THROW(a.allocate(11 * page), Error);
    a.deallocate(more, 70 * page);
    a.deallocate(kept, 20 * page);
    EXPECT_EQ(a.live_bytes(), 0u);
  }
}

TEST(CachingAllocator, SaysHowMuchWasAskedForWhenThereIsNoMore) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer ends the program at a request this large";
#endif
  CachingAllocator a;
  try {
    a.allocate(size_t{1} << 60);
    FAIL() << "2^60 bytes were given out";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(std::to_string(size_t{1} << 40)), std::string::npos) << e.what();
  }
  EXPECT_EQ(a.live_bytes(), 0u);
}

}  // namespace
}  // namespace hr
