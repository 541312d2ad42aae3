// Parallel loops that are recorded once and run again and again on several threads: for the CPU what a CUDA graph is
// for a GPU. A loop begins when the loops whose results it needs have ended, and not when all threads have reached a
// barrier. So a thread that the system takes off its processor holds up only what needs the piece of work that it is
// computing; the others go on with other branches of the network. docs/design/threads.md has the reasons and the rules.
//   LoopRecorder recorder;
//   recorder.add({.pieces = 8, .body = [=](int64_t i, LoopWorker&) { ... }, .operands = LoopOperands{{x}, {y}}});
//   LoopTeam team(2);
//   team.run(recorder.finish());
#pragma once
#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "core/thread_places.h"

namespace hr {

// One of the threads that run a graph.
struct LoopWorker {
  int index = 0;                 // 0 is the thread that called LoopTeam::run().
  std::byte* scratch = nullptr;  // Loop::scratch bytes that no other thread uses, aligned to 64 bytes.
  // The contents of the scratch memory are not those of an earlier piece of the same loop in the same run.
  bool fresh = true;
};

using ByteRange = std::span<const std::byte>;

// The memory that a loop reads and writes. Memory that does not change while the graph is in use, such as weights, need
// not be listed.
struct LoopOperands {
  std::vector<ByteRange> reads, writes;
  // Read, too: maps with as many pixels as the results of a loop over pixels, of which a piece reads its own pixels
  // only.
  std::vector<ByteRange> reads_own_pixels = {};
};

// The division of a loop over the pixels of a map. All loops over as many pixels are divided at the same places.
struct PixelPieces {
  int64_t pixels = 0, count = 0;

  // The inputs of so many pixels stay in the caches while the output channels of a convolution follow each other.
  // Neighbouring pieces are multiples of kBlock pixels, which are in registers at once.
  static constexpr int64_t kMost = 96, kBlock = 12;
  PixelPieces(int64_t all, int threads)
      : pixels(all), count(((all + kMost - 1) / kMost + threads - 1) / threads * threads) {}
  int64_t begin(int64_t piece) const {
    return std::min(pixels, (pixels + kBlock - 1) / kBlock * piece / count * kBlock);
  }
};

struct Loop {
  // body(i, worker) is called once for every i below `pieces`, in any order and on any threads. It must not depend on
  // the number of threads. It may throw.
  int64_t pieces = 0;
  std::function<void(int64_t piece, LoopWorker& worker)> body;
  size_t scratch = 0;
  // Not zero if it is a loop over pixels: piece i writes the pixels [begin(i), begin(i + 1)) of PixelPieces. Each of
  // the memories that it writes has so many pixels of equal size.
  int64_t pixels = 0;
  // If it is not given, the loop runs after all loops before it and before all loops after it.
  std::optional<LoopOperands> operands;
};

// Returns whether the order of two loops matters: one of them writes what the other one reads or writes.
bool keep_order(const Loop& a, const Loop& b);

class LoopRecorder;

// Recorded loops and their order. It does not change any more, and several threads may read it.
class LoopGraph {
 public:
  size_t size() const { return nodes_.size(); }
  // The length of the longest chain of loops that need each other.
  int levels() const { return levels_; }

 private:
  friend class LoopRecorder;
  friend class LoopTeam;
  friend class LoopSchedule;
  struct Node {
    Loop loop;
    int waits_for = 0;      // The number of loops that must end before this one; each of them has it in `then`.
    std::vector<int> then;  // Loops that wait for this one.
  };
  std::vector<Node> nodes_;  // In the order of their recording.
  int levels_ = 0;
  size_t scratch_ = 0;
};

// Not thread-safe.
class LoopRecorder {
 public:
  // Ops with simple loops divide them into pieces of about so many elements.
  explicit LoopRecorder(int64_t elements_per_piece = 64 << 10) : elements_per_piece_(elements_per_piece) {}
  int64_t elements_per_piece() const { return elements_per_piece_; }
  // A loop without operands gets those of set_operands(), if they are set.
  void add(Loop loop);
  void set_operands(std::optional<LoopOperands> operands) { operands_ = std::move(operands); }
  // Two loops keep their order if one of them writes what the other one reads or writes. Loops without pieces are
  // dropped. The recorder is empty afterwards.
  std::shared_ptr<const LoopGraph> finish();

 private:
  int64_t elements_per_piece_;
  std::vector<Loop> loops_;
  std::optional<LoopOperands> operands_;
};

// The threads that run graphs. They sleep between two runs. Only one thread at a time may call run(). The threads are
// not pinned to processors, whatever their creator is, so that the system can move a thread away from a busy processor.
// If the system leaves two threads of the team on one processor, one of the two moves itself to another processor
// (core/thread_places.h).
class LoopTeam {
 public:
  static constexpr int64_t kElements = 64 << 10;  // The size of a piece of a simple loop.

  // The calling thread of run() is one of the threads. If the system refuses others, there are fewer. `arrives`, if it
  // is given, is called by a thread of the team that is about to join a run; tests use it to make the thread late.
  explicit LoopTeam(int threads, std::function<void()> arrives = {});
  ~LoopTeam();
  LoopTeam(const LoopTeam&) = delete;
  LoopTeam& operator=(const LoopTeam&) = delete;

  // Runs all loops and returns when all of them have ended. It does not wait for a thread that has no piece of work. If
  // a body throws, no further one is called, and the first exception is thrown again.
  void run(std::shared_ptr<const LoopGraph> graph);

 private:
  struct Run;
  struct Scratch;
  void serve(int index);
  void work(Run& run, LoopWorker worker, Scratch& scratch);

  std::function<void()> arrives_;
  ThreadPlaces places_;
  std::mutex mutex_;
  std::condition_variable begins_;
  std::shared_ptr<Run> run_;  // The run under way, which a thread may join.
  uint64_t runs_ = 0;
  bool ends_ = false;
  std::unique_ptr<Scratch> scratch_;  // Of the calling thread.
  std::vector<std::jthread> threads_;
};

}  // namespace hr
