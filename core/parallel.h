// Runs the arithmetic on the threads of one OpenMP team. Work is divided at fixed places, which do not depend on the
// number of threads, so that every result has the same bits with 1 and with 4 threads.
#pragma once
#include <omp.h>
#include <sched.h>

#include <cstdint>
#include <optional>

namespace hr {

inline int compute_threads() { return omp_get_max_threads(); }
inline void set_compute_threads(int n) { omp_set_num_threads(n); }

// Pins each compute thread to a processor of its own, if there are as many threads as processors that this process may
// use. Without pins the system sometimes puts two threads on one processor, and every barrier then waits for a time
// slice: beside a busy process a step took 50 times as long, and 2 times as long with pinned threads. Call it from the
// thread that runs the ops.
void pin_compute_threads();
// Lets another thread (of a loader, for example) run on any processor again, because threads inherit the pin of the
// thread that creates them.
void unpin_this_thread();

// Lets the calling thread run on any processor as long as the object lives. Then the thread has its pin again, if it
// had one.
class UnpinnedScope {
 public:
  UnpinnedScope();
  ~UnpinnedScope();
  UnpinnedScope(const UnpinnedScope&) = delete;
  UnpinnedScope& operator=(const UnpinnedScope&) = delete;

 private:
  std::optional<cpu_set_t> before_;
};

// Calls body(i) for each i in [0, n) exactly once, in any order, on several threads; `body` must not throw. `worth` is
// the total work (elements touched): below about 16k elements a team costs more than it saves, and one thread does the
// work.
template <class Body>
void parallel_for(int64_t n, int64_t worth, const Body& body) {
#pragma omp parallel for schedule(static) if (worth > 16384 && n > 1)
  for (int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace hr
