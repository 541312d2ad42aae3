#include "core/parallel.h"

#include <vector>

namespace hr {
namespace {
// The processors that this process could use before any thread was pinned.
std::optional<cpu_set_t>& original_mask() {
  static std::optional<cpu_set_t> mask;
  return mask;
}
}  // namespace

void pin_compute_threads() {
  cpu_set_t allowed;
  if (original_mask() || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  if (static_cast<int>(cpus.size()) != compute_threads()) return;
  original_mask() = allowed;
#pragma omp parallel
  {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpus[omp_get_thread_num()], &one);
    sched_setaffinity(0, sizeof one, &one);  // If the system refuses, the thread stays as it was.
  }
}

void unpin_this_thread() {
  if (original_mask()) sched_setaffinity(0, sizeof(cpu_set_t), &*original_mask());
}

UnpinnedScope::UnpinnedScope() {
  cpu_set_t before;
  if (!original_mask() || sched_getaffinity(0, sizeof before, &before) != 0) return;
  before_ = before;
  unpin_this_thread();
}

UnpinnedScope::~UnpinnedScope() {
  if (before_) sched_setaffinity(0, sizeof *before_, &*before_);
}

}  // namespace hr
