// Threads of the arithmetic: one OpenMP team. Work is cut at fixed places (never by thread count), so every result has
// the same bits at 1 and at 4 threads.
#pragma once
#include <omp.h>

#include <cstdint>

namespace hr {

inline int compute_threads() { return omp_get_max_threads(); }
inline void set_compute_threads(int n) { omp_set_num_threads(n); }

// Pins each compute thread to a processor of its own, if they are as many as the processors this process may use. Left
// to itself the system sometimes puts two of them on one processor, and every barrier then waits for a time slice: a
// step took 50 times as long beside a busy process, 2 times with pinned threads. Call from the thread that runs the
// ops.
void pin_compute_threads();
// For other threads (loaders): may run anywhere again; threads inherit the pin of the one that makes them.
void unpin_this_thread();

// body(i) for i in [0, n), each exactly once, in any order. `worth` is the work in all (elements touched): below about
// 16k elements a team costs more than it saves.
template <class Body>
void parallel_for(int64_t n, int64_t worth, const Body& body) {
#pragma omp parallel for schedule(static) if (worth > 16384 && n > 1)
  for (int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace hr
