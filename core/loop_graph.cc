#include "core/loop_graph.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <system_error>
#include <utility>

#include "core/parallel.h"
#include "core/piece_shares.h"
#include "core/threads.h"

namespace hr {
namespace {

bool overlap(const std::vector<ByteRange>& a, const std::vector<ByteRange>& b) {
  return std::ranges::any_of(a, [&](const ByteRange& x) {
    return std::ranges::any_of(
        b, [&](const ByteRange& y) { return x.data() < y.data() + y.size() && y.data() < x.data() + x.size(); });
  });
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

bool keep_order(const Loop& a, const Loop& b) {
  if (!a.operands || !b.operands) return true;
  const LoopOperands &x = *a.operands, &y = *b.operands;
  return overlap(x.writes, y.writes) || overlap(x.writes, y.reads) || overlap(x.writes, y.reads_own_pixels) ||
         overlap(x.reads, y.writes) || overlap(x.reads_own_pixels, y.writes);
}

void LoopRecorder::add(Loop loop) {
  if (loop.pieces <= 0) return;
  if (!loop.operands) loop.operands = operands_;
  loops_.push_back(std::move(loop));
}

std::shared_ptr<const LoopGraph> LoopRecorder::finish() {
  const size_t count = loops_.size();
  std::vector<int> level(count, 0), waits_for(count, 0);
  std::vector<std::vector<int>> then(count);
  // before[k][i] tells whether loop k runs after loop i, directly or through others, which make a direct edge needless.
  std::vector<std::vector<bool>> before(count, std::vector<bool>(count, false));
  for (size_t k = 0; k < count; ++k) {
    for (size_t i = k; i-- > 0;) {
      if (before[k][i] || !keep_order(loops_[i], loops_[k])) continue;
      for (size_t j = 0; j < i; ++j) {
        if (before[i][j]) before[k][j] = true;
      }
      before[k][i] = true;
      level[k] = std::max(level[k], level[i] + 1);
      ++waits_for[k];
      then[i].push_back(static_cast<int>(k));
    }
  }
  // The loops keep the order in which they were recorded, because a loop then finds what the loops before it wrote in
  // the caches. A thread that waits for a piece of another thread goes on with a later loop that may run.
  auto graph = std::make_shared<LoopGraph>();
  for (size_t i = 0; i < count; ++i) {
    graph->scratch_ = std::max(graph->scratch_, loops_[i].scratch);
    graph->levels_ = std::max(graph->levels_, level[i] + 1);
    graph->nodes_.push_back({std::move(loops_[i]), waits_for[i], std::move(then[i])});
  }
  loops_.clear();
  return graph;
}

struct LoopTeam::Scratch {
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> data;
  size_t bytes = 0;

  std::byte* get(size_t asked) {
    if (asked > bytes) {
      data.reset();
      bytes = 0;
      const size_t rounded = (asked + 63) / 64 * 64;
      data.reset(static_cast<std::byte*>(std::aligned_alloc(64, rounded)));
      if (data == nullptr) throw std::bad_alloc();
      bytes = rounded;
    }
    return data.get();
  }
};

// The state of one run. A thread that is late keeps it alive and finds nothing left to do, while the next run has
// begun.
struct LoopTeam::Run {
  struct State {
    std::atomic<int64_t> untaken{0};  // Pieces that nobody has taken; not less than there are.
    std::atomic<int64_t> left{0};     // Pieces that have not ended.
    std::atomic<int> waits_for{0};
  };
  std::shared_ptr<const LoopGraph> graph;
  std::vector<State> states;
  const size_t shares;                      // One for each thread (core/piece_shares.h).
  std::vector<std::atomic<int64_t>> taken;  // [loops, shares]
  std::atomic<size_t> first{0};             // All pieces of the loops before this one have been taken.
  std::atomic<size_t> loops_left;           // Loops that have not ended.
  std::atomic<uint32_t> ended = 0;          // Changes whenever a loop ends; idle threads wait for that.
  FirstException error;

  Run(std::shared_ptr<const LoopGraph> g, int threads)
      : graph(std::move(g)),
        states(graph->nodes_.size()),
        shares(static_cast<size_t>(threads)),
        taken(states.size() * shares),
        loops_left(states.size()) {
    for (size_t i = 0; i < states.size(); ++i) {
      states[i].untaken.store(graph->nodes_[i].loop.pieces, std::memory_order_relaxed);
      states[i].left.store(graph->nodes_[i].loop.pieces, std::memory_order_relaxed);
      states[i].waits_for.store(graph->nodes_[i].waits_for, std::memory_order_relaxed);
    }
  }

  struct Piece {
    size_t loop = 0;
    int64_t index = -1;
  };
  // Takes a piece of the first loop that may run and has one. Returns index -1 if there is none at the moment.
  Piece take(int thread) {
    bool all_taken = true;
    for (size_t i = first.load(std::memory_order_relaxed); i < states.size(); ++i) {
      if (states[i].untaken.load(std::memory_order_relaxed) <= 0) {
        // A thread that is late may set an older value, which only makes the search longer.
        if (all_taken) first.store(i + 1, std::memory_order_relaxed);
        continue;
      }
      all_taken = false;
      if (states[i].waits_for.load(std::memory_order_acquire) > 0) continue;
      const int64_t piece = take_piece({taken.data() + i * shares, shares}, graph->nodes_[i].loop.pieces, thread);
      if (piece < 0) continue;
      states[i].untaken.fetch_sub(1, std::memory_order_relaxed);
      return {i, piece};
    }
    return {};
  }

  void finish(const Piece& piece) {
    if (states[piece.loop].left.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    for (const int t : graph->nodes_[piece.loop].then) {
      states[static_cast<size_t>(t)].waits_for.fetch_sub(1, std::memory_order_acq_rel);
    }
    loops_left.fetch_sub(1, std::memory_order_acq_rel);
    ended.fetch_add(1, std::memory_order_release);
    ended.notify_all();
  }

  // Waits until a loop has ended since `ended` had the value `seen`. Most waits are shorter than the time that it takes
  // to sleep and to be woken. If the wait is longer, and the system has stopped a thread with a piece of work, that
  // thread gets the processor of this one, which returns earlier then. If not, the thread sleeps.
  void wait(uint32_t seen, ThreadPlaces& places, int thread) {
    constexpr int kSpins = 500;  // About 25 microseconds.
    for (const bool looked : {false, true}) {
      for (int i = 0; i < kSpins; ++i) {
        if (ended.load(std::memory_order_acquire) != seen) return;
        pause();
      }
      if (looked) break;
      places.rest(thread);
      places.look(thread);
    }
    if (places.change_places(thread)) return;
    places.leave(thread);
    ended.wait(seen, std::memory_order_acquire);
  }
};

void LoopTeam::work(Run& run, LoopWorker worker, Scratch& scratch) {
  std::optional<size_t> last;
  while (run.loops_left.load(std::memory_order_acquire) > 0) {
    const uint32_t seen = run.ended.load(std::memory_order_acquire);
    const Run::Piece piece = run.take(worker.index);
    if (piece.index < 0) {
      if (run.loops_left.load(std::memory_order_acquire) > 0) run.wait(seen, places_, worker.index);
      continue;
    }
    places_.spread(worker.index);
    if (!run.error.any()) {
      try {
        worker.scratch = scratch.get(run.graph->scratch_);
        worker.fresh = last != piece.loop;
        last = piece.loop;
        run.graph->nodes_[piece.loop].loop.body(piece.index, worker);
      } catch (...) {
        run.error.keep();
      }
    }
    run.finish(piece);
  }
  places_.leave(worker.index);
}

LoopTeam::LoopTeam(int threads, std::function<void()> arrives)
    : arrives_(std::move(arrives)), places_(threads), scratch_(std::make_unique<Scratch>()) {
  try {
    for (int t = 1; t < threads; ++t) {
      threads_.emplace_back([this, t] { serve(t); });
    }
  } catch (const std::system_error&) {  // The system allows no more threads; those that exist do the work.
  }
}

LoopTeam::~LoopTeam() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  begins_.notify_all();
  threads_.clear();  // Joins them.
}

void LoopTeam::serve(int index) {
  unpin_this_thread();
  omp_set_num_threads(1);  // For libraries that a body calls.
  Scratch scratch;
  for (uint64_t seen = 0;;) {
    std::shared_ptr<Run> run;
    {
      std::unique_lock lock(mutex_);
      begins_.wait(lock, [&] { return ends_ || runs_ != seen; });
      if (ends_) return;
      seen = runs_;
      run = run_;
    }
    if (arrives_) arrives_();
    if (run != nullptr) work(*run, {.index = index}, scratch);
  }
}

void LoopTeam::run(std::shared_ptr<const LoopGraph> graph) {
  const auto run = std::make_shared<Run>(std::move(graph), static_cast<int>(threads_.size()) + 1);
  if (!threads_.empty()) {
    {
      const std::lock_guard lock(mutex_);
      run_ = run;
      ++runs_;
    }
    begins_.notify_all();
  }
  const int outside = omp_get_max_threads();
  omp_set_num_threads(1);
  {
    const UnpinnedScope unpinned;
    work(*run, {}, *scratch_);
  }
  omp_set_num_threads(outside);
  if (!threads_.empty()) {
    const std::lock_guard lock(mutex_);
    run_.reset();
  }
  run->error.rethrow();
}

}  // namespace hr
