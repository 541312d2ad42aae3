// Threads of the arithmetic: one OpenMP team. Work is cut at fixed places (never by thread count), so every result has
// the same bits at 1 and at 4 threads.
#pragma once
#include <omp.h>

#include <cstdint>

namespace hr {

inline int compute_threads() { return omp_get_max_threads(); }
inline void set_compute_threads(int n) { omp_set_num_threads(n); }

// body(i) for i in [0, n), each exactly once, in any order. `worth` is the work in all (elements touched): below about
// 16k elements a team costs more than it saves.
template <class Body>
void parallel_for(int64_t n, int64_t worth, const Body& body) {
#pragma omp parallel for schedule(static) if (worth > 16384 && n > 1)
  for (int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace hr
