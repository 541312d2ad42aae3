#include "core/loop_schedule.h"

#include <omp.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "core/parallel.h"
#include "core/threads.h"

namespace hr {
namespace {

bool overlap(const ByteRange& x, const ByteRange& y) {
  return x.data() < y.data() + y.size() && y.data() < x.data() + x.size();
}
bool equal(const ByteRange& x, const ByteRange& y) { return x.data() == y.data() && x.size() == y.size(); }

bool apart(const std::vector<ByteRange>& a, const std::vector<ByteRange>& b) {
  return std::ranges::none_of(
      a, [&](const ByteRange& x) { return std::ranges::any_of(b, [&](const ByteRange& y) { return overlap(x, y); }); });
}
// Memory that is the same map is divided at the same places by loops over the same number of pixels.
bool apart_or_equal(const std::vector<ByteRange>& a, const std::vector<ByteRange>& b) {
  return std::ranges::none_of(a, [&](const ByteRange& x) {
    return std::ranges::any_of(b, [&](const ByteRange& y) { return overlap(x, y) && !equal(x, y); });
  });
}

// Returns whether piece i of the later loop needs only piece i of the earlier one, and does not disturb other pieces.
bool by_pieces(const Loop& earlier, const Loop& later) {
  if (earlier.pixels == 0 || earlier.pixels != later.pixels || earlier.pieces != later.pieces) return false;
  if (!earlier.operands || !later.operands) return false;
  const LoopOperands &a = *earlier.operands, &b = *later.operands;
  return apart(a.writes, b.reads) && apart(a.reads, b.writes) && apart_or_equal(a.writes, b.reads_own_pixels) &&
         apart_or_equal(a.reads_own_pixels, b.writes) && apart_or_equal(a.writes, b.writes);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// Puts the loops of a graph into chains: a chain is continued as long as there is a loop that fits.
class LoopSchedule::Builder {
 public:
  explicit Builder(const LoopGraph& graph) : nodes_(graph.nodes_) {
    for (const LoopGraph::Node& node : nodes_) waits_for_.push_back(node.waits_for);
    placed_.resize(nodes_.size());
  }

  std::vector<Chain> build() {
    std::vector<Chain> chains;
    for (size_t done = 0; done < nodes_.size(); ++done) {
      const bool begun = !chains.empty();
      size_t next = begun ? find([&](const Loop& loop) {
        return std::ranges::all_of(chains.back().loops, [&](const Loop* before) { return by_pieces(*before, loop); });
      })
                          : nodes_.size();
      if (next == nodes_.size()) {
        chains.emplace_back();
        next = find([](const Loop&) { return true; });
      }
      place(chains, next);
    }
    return chains;
  }

 private:
  // The first loop that fits among those for which no loop is missing, or the number of loops if there is none.
  template <class Fits>
  size_t find(const Fits& fits) const {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!placed_[i] && waits_for_[i] == 0 && fits(nodes_[i].loop)) return i;
    }
    return nodes_.size();
  }

  void place(std::vector<Chain>& chains, size_t i) {
    const Loop& loop = nodes_[i].loop;
    Chain& chain = chains.back();
    // A thread has computed the same pieces of all loops that are divided at the same places.
    for (size_t c = 0; c + 1 < chains.size(); ++c) {
      for (const Loop* before : chains[c].loops) {
        if (keep_order(*before, loop) && !by_pieces(*before, loop))
          chain.after = std::max(chain.after, static_cast<int>(c));
      }
    }
    chain.loops.push_back(&loop);
    placed_[i] = true;
    for (const int t : nodes_[i].then) --waits_for_[static_cast<size_t>(t)];
  }

  const std::vector<LoopGraph::Node>& nodes_;
  std::vector<int> waits_for_;  // By loop: the loops before it that have not been placed.
  std::vector<bool> placed_;
};

size_t LoopSchedule::waits() const {
  return static_cast<size_t>(std::ranges::count_if(chains_, [](const Chain& chain) { return chain.after >= 0; }));
}

// Most waits are short. A longer one means that another process has the processor of a thread, which then gets that of
// the waiting one.
void LoopSchedule::wait_for_others(int index, int threads, int chains) {
  constexpr int kSpins = 500;  // About 25 microseconds.
  for (int t = 0; t < threads; ++t) {
    if (t == index) continue;
    const std::atomic<int>& ended = progress_[static_cast<size_t>(t)].chains;
    for (int spins = 1; ended.load(std::memory_order_acquire) < chains; ++spins) {
      pause();
      if (spins == kSpins) places_->look(index);
      if (spins < 2 * kSpins) continue;
      spins = 0;
      if (!places_->change_places(index)) std::this_thread::yield();
    }
  }
}

void LoopSchedule::run(const std::shared_ptr<const LoopGraph>& graph) {
  if (graph != graph_) {
    graph_ = graph;
    chains_ = Builder(*graph).build();
  }
  const auto most = static_cast<size_t>(compute_threads());
  if (progress_.size() < most) {
    progress_ = std::vector<Progress>(most);
    places_ = std::make_unique<ThreadPlaces>(static_cast<int>(most));
  }
  for (Progress& progress : progress_) progress.chains.store(0, std::memory_order_relaxed);
  scratch_.resize(std::max(scratch_.size(), most));
  for (auto& memory : scratch_) memory.resize(std::max(memory.size(), graph->scratch_ + 64));
  FirstException error;
#pragma omp parallel
  {
    const int threads = omp_get_num_threads(), index = omp_get_thread_num();
    auto& memory = scratch_[static_cast<size_t>(index)];
    void* aligned = memory.data();
    size_t space = memory.size();
    LoopWorker worker{.index = index,
                      .scratch = static_cast<std::byte*>(std::align(64, graph->scratch_, aligned, space))};
    Progress& progress = progress_[static_cast<size_t>(index)];
    for (size_t c = 0; c < chains_.size(); ++c) {
      const Chain& chain = chains_[c];
      wait_for_others(index, threads, chain.after + 1);
      places_->spread(index);
      const int64_t pieces = chain.loops[0]->pieces;
      worker.fresh = true;
      for (int64_t i = pieces * index / threads; i < pieces * (index + 1) / threads && !error.any(); ++i) {
        try {
          for (const Loop* loop : chain.loops) loop->body(i, worker);
        } catch (...) {
          error.keep();
        }
        worker.fresh = chain.loops.size() > 1;  // The other loops of a chain use the same scratch memory.
      }
      progress.chains.store(static_cast<int>(c) + 1, std::memory_order_release);
    }
    wait_for_others(index, threads, static_cast<int>(chains_.size()));
    places_->leave(index);
  }
  error.rethrow();
}

}  // namespace hr
