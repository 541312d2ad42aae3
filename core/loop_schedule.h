// Recorded loops (core/loop_graph.h) with a fixed division among the OpenMP threads, for networks whose loops take so
// little time that handing out pieces one by one would cost more than it gains. docs/design/threads.md has the reasons.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "core/loop_graph.h"
#include "core/thread_places.h"

namespace hr {

// A chain is a sequence of loops over the same number of pixels in which a piece needs nothing from the other pieces of
// the chain. A thread computes all loops of the chain for one piece before it takes the next piece, so that the
// results of a loop are still in its first cache when the next loop reads them. Threads wait for each other only before
// a chain that reads or overwrites what other threads compute. Only one thread at a time may call run().
class LoopSchedule {
 public:
  static constexpr int64_t kElements = 4 << 10;  // The size of a piece of a simple loop.

  // Runs all loops on the OpenMP threads of the caller and returns when all of them have ended. If a body throws, no
  // further one is called, and the first exception is thrown again.
  void run(const std::shared_ptr<const LoopGraph>& graph);

  // The number of chains of the graph that ran last, and of those at whose beginning the threads wait for each other.
  size_t chains() const { return chains_.size(); }
  size_t waits() const;

 private:
  struct Chain {
    std::vector<const Loop*> loops;
    int after = -1;  // All threads must have ended the chains up to this one.
  };
  struct Scratch;
  struct alignas(64) Progress {
    std::atomic<int> chains{0};  // The number of chains that the thread has ended.
  };
  class Builder;
  void wait_for_others(int index, int threads, int chains);

  std::shared_ptr<const LoopGraph> graph_;  // Of chains_.
  std::vector<Chain> chains_;
  std::vector<Progress> progress_;               // By thread.
  std::unique_ptr<ThreadPlaces> places_;         // Of as many threads as progress_.
  std::vector<std::vector<std::byte>> scratch_;  // By thread.
};

}  // namespace hr
