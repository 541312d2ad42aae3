// Which thread computes which piece of a loop. Each thread has a share of the pieces, which follow each other, and
// begins with it; then it goes on with what is left of the shares of others. Loops over the same pictures give each
// thread about the same pixels, so that it mostly reads what it wrote itself in the loop before, which is in its own
// cache. With one queue for all threads half of the data comes from the cache of another processor, which cost up to 16
// % of a whole network's time (docs/measured/cpu.md). Which thread computes a piece does not influence results.
#pragma once
#include <atomic>
#include <cstdint>
#include <span>

namespace hr {

// Takes the next piece for this thread. Each piece below `pieces` is returned once, and -1 when all have been taken.
// taken[t] counts the pieces taken from the share of thread t, and begins with 0; there are as many shares as counters.
// Thread-safe.
inline int64_t take_piece(std::span<std::atomic<int64_t>> taken, int64_t pieces, int64_t thread) {
  const auto shares = static_cast<int64_t>(taken.size());
  for (int64_t k = 0; k < shares; ++k) {
    const int64_t share = (thread + k) % shares, begin = pieces * share / shares,
                  size = pieces * (share + 1) / shares - begin;
    std::atomic<int64_t>& next = taken[static_cast<size_t>(share)];
    if (next.load(std::memory_order_relaxed) >= size) continue;
    if (const int64_t piece = next.fetch_add(1, std::memory_order_relaxed); piece < size) return begin + piece;
  }
  return -1;
}

}  // namespace hr
