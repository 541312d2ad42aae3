#include "core/loop_schedule.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "tests/support/threads.h"

namespace hr {
namespace {

using test::Threads;

ByteRange range(const std::vector<int64_t>& numbers) { return std::as_bytes(std::span(numbers)); }

// Loops over maps of pixels as in a detector. There are two sizes of maps, and several maps of each size. A map is used
// again and again, as the memory of a network.
struct RandomNetwork {
  static constexpr size_t kMaps = 5, kLoops = 80;
  static constexpr int64_t kSizes[2] = {200, 50};
  enum Kind { kPixels, kNeighbours, kMirror, kFromOther, kUnknown };
  struct Step {
    Kind kind;
    size_t size, a, b, to;
  };
  std::vector<std::vector<int64_t>> maps[2];
  std::vector<Step> steps;

  explicit RandomNetwork(unsigned seed) {
    std::mt19937 random(seed);
    for (size_t s = 0; s < 2; ++s) {
      for (size_t m = 0; m < kMaps; ++m) {
        maps[s].emplace_back(kSizes[s]);
        for (int64_t& number : maps[s].back()) number = static_cast<int64_t>(random() % 100);
      }
    }
    for (size_t i = 0; i < kLoops; ++i) {
      Step step{random() % 10 < 6 ? kPixels : static_cast<Kind>(1 + random() % 4), random() % 8 / 6, random() % kMaps,
                random() % kMaps, random() % kMaps};
      // Only a pixel of its own may be read from the map that is written.
      while (step.kind != kPixels && step.kind != kFromOther && step.to == step.a) step.to = random() % kMaps;
      steps.push_back(step);
    }
  }

  int64_t count(const Step& s) const { return kSizes[s.size]; }
  void pixel(const Step& s, int64_t i) {
    const int64_t n = count(s), other = kSizes[1 - s.size];
    const std::vector<int64_t>& a = maps[s.kind == kFromOther ? 1 - s.size : s.size][s.a];
    auto sum = static_cast<uint64_t>(3 * i);
    const auto add = [&](int64_t at) { sum = 5 * sum + static_cast<uint64_t>(a[static_cast<size_t>(at)]); };
    if (s.kind == kPixels) add(i);
    if (s.kind == kNeighbours) add(std::max<int64_t>(i - 3, 0)), add(i), add(std::min(n - 1, i + 3));
    if (s.kind == kMirror || s.kind == kUnknown) add(n - 1 - i);
    if (s.kind == kFromOther) add(i * other / n);
    sum += static_cast<uint64_t>(maps[s.size][s.b][static_cast<size_t>(i)]);
    maps[s.size][s.to][static_cast<size_t>(i)] = static_cast<int64_t>(sum);
  }
  void run_in_order() {
    for (const Step& s : steps) {
      for (int64_t i = 0; i < count(s); ++i) pixel(s, i);
    }
  }
  std::shared_ptr<const LoopGraph> record(int threads) {
    LoopRecorder recorder;
    for (const Step& s : steps) {
      const PixelPieces pieces(count(s), threads);
      Loop loop{.pieces = pieces.count,
                .body =
                    [this, s, pieces](int64_t piece, LoopWorker&) {
                      for (int64_t i = pieces.begin(piece); i < pieces.begin(piece + 1); ++i) pixel(s, i);
                    },
                .pixels = s.kind == kMirror ? 0 : count(s)};
      if (s.kind != kUnknown) {
        LoopOperands operands{.writes = {range(maps[s.size][s.to])}};
        const size_t of = s.kind == kFromOther ? 1 - s.size : s.size;
        (s.kind == kPixels ? operands.reads_own_pixels : operands.reads).push_back(range(maps[of][s.a]));
        operands.reads_own_pixels.push_back(range(maps[s.size][s.b]));
        loop.operands = operands;
      }
      recorder.add(std::move(loop));
    }
    return recorder.finish();
  }
};

TEST(PixelPieces, DivideAllPixels) {
  for (const int64_t pixels : {1, 11, 12, 13, 96, 97, 169, 676, 10816, 10817}) {
    for (const int threads : {1, 2, 3, 8}) {
      const PixelPieces pieces(pixels, threads);
      EXPECT_EQ(pieces.count % threads, 0);
      EXPECT_EQ(pieces.begin(0), 0);
      EXPECT_EQ(pieces.begin(pieces.count), pixels);
      for (int64_t i = 0; i < pieces.count; ++i) {
        EXPECT_LE(pieces.begin(i), pieces.begin(i + 1));
        EXPECT_LE(pieces.begin(i + 1) - pieces.begin(i), PixelPieces::kMost);
      }
    }
  }
}

TEST(LoopSchedule, ResultsAreThoseOfTheLoopsInTheirOrderForAnyNumberOfThreads) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    RandomNetwork in_order(seed);
    for (int repeat = 0; repeat < 3; ++repeat) in_order.run_in_order();
    for (const int threads : {1, 2, 3, 5}) {
      const Threads use(threads);
      RandomNetwork network(seed);
      const auto graph = network.record(threads);
      LoopSchedule schedule;
      for (int repeat = 0; repeat < 3; ++repeat) schedule.run(graph);
      for (size_t s = 0; s < 2; ++s) EXPECT_EQ(network.maps[s], in_order.maps[s]) << "seed " << seed;
      EXPECT_LT(schedule.chains(), graph->size());
    }
  }
}

// A graph that was recorded for other threads is divided among those that there are.
TEST(LoopSchedule, TheNumberOfThreadsMayDifferFromThatOfTheRecording) {
  RandomNetwork in_order(7), network(7);
  in_order.run_in_order();
  const auto graph = network.record(4);
  const Threads use(3);
  LoopSchedule().run(graph);
  for (size_t s = 0; s < 2; ++s) EXPECT_EQ(network.maps[s], in_order.maps[s]);
}

struct Map {
  std::vector<int64_t> numbers = std::vector<int64_t>(300);
};
Loop loop_on(const Map& from, const Map& to, bool own_pixels, std::function<void(int64_t)> body) {
  Loop loop{.pieces = PixelPieces(300, 1).count,
            .body = [body = std::move(body)](int64_t i, LoopWorker&) { body(i); },
            .pixels = 300,
            .operands = LoopOperands{.writes = {range(to.numbers)}}};
  (own_pixels ? loop.operands->reads_own_pixels : loop.operands->reads).push_back(range(from.numbers));
  return loop;
}

TEST(LoopSchedule, AChainComputesAPieceThroughAllItsLoopsBeforeTheNextPiece) {
  const Threads one(1);
  const Map x, a, b, c;
  std::vector<std::pair<char, int64_t>> order;
  const auto note = [&](char name) { return [&order, name](int64_t i) { order.emplace_back(name, i); }; };
  LoopRecorder recorder;
  recorder.add(loop_on(x, a, false, note('a')));
  recorder.add(loop_on(a, b, true, note('b')));
  recorder.add(loop_on(b, c, false, note('c')));  // It reads the neighbours, too.
  LoopSchedule schedule;
  schedule.run(recorder.finish());
  std::vector<std::pair<char, int64_t>> expected;
  for (int64_t i = 0; i < 4; ++i) expected.insert(expected.end(), {{'a', i}, {'b', i}});
  for (int64_t i = 0; i < 4; ++i) expected.emplace_back('c', i);
  EXPECT_EQ(order, expected);
  EXPECT_EQ(schedule.chains(), 2U);
  EXPECT_EQ(schedule.waits(), 1U);
}

TEST(LoopSchedule, MemoryOfTheSameChainIsNotOverwritten) {
  const Threads one(1);
  const Map x, a, b;
  const auto nothing = [](int64_t) {};
  LoopRecorder recorder;
  recorder.add(loop_on(x, a, false, nothing));
  recorder.add(loop_on(a, x, true, nothing));  // The first loop may still need these pixels for its next piece.
  LoopSchedule schedule;
  schedule.run(recorder.finish());
  EXPECT_EQ(schedule.chains(), 2U);
  recorder.add(loop_on(x, a, true, nothing));
  recorder.add(loop_on(a, x, true, nothing));
  schedule.run(recorder.finish());
  EXPECT_EQ(schedule.chains(), 1U);
}

TEST(LoopSchedule, TheFirstExceptionOfAnyThreadReachesTheCaller) {
  const Map x, a, b;
  for (const int threads : {1, 2, 3}) {
    const Threads use(threads);
    std::atomic<bool> after{false};
    LoopRecorder recorder;
    recorder.add(loop_on(x, a, false, [](int64_t i) {
      if (i == 3) fail("piece {}", i);
    }));
    recorder.add(loop_on(a, b, false, [&](int64_t) { after = true; }));
    LoopSchedule schedule;
    const auto graph = recorder.finish();
    for (int repeat = 0; repeat < 2; ++repeat) {
      try {
        schedule.run(graph);
        ADD_FAILURE() << "expected an exception";
      } catch (const Error& e) {
        EXPECT_STREQ(e.what(), "piece 3");
      }
    }
    EXPECT_FALSE(after);
  }
}

}  // namespace
}  // namespace hr
