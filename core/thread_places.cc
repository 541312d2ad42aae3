#include "core/thread_places.h"

#include <sched.h>

#include <algorithm>

namespace hr {

ThreadPlaces::ThreadPlaces(int threads) : places_(static_cast<size_t>(std::max(1, threads))) {}

bool ThreadPlaces::taken(int processor, int index) const {
  for (size_t t = 0; t < places_.size(); ++t) {
    if (static_cast<int>(t) != index && places_[t].processor.load(std::memory_order_relaxed) == processor) return true;
  }
  return false;
}

void ThreadPlaces::spread(int index) {
  std::atomic<int>& own = places_[static_cast<size_t>(index)].processor;
  const int here = sched_getcpu();
  own.store(here, std::memory_order_relaxed);
  if (here < 0 || !taken(here, index)) return;
  cpu_set_t allowed, free;
  // A machine with more processors than a cpu_set_t has bits refuses here, and the threads stay where they are.
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  CPU_ZERO(&free);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed) && cpu != here && !taken(cpu, index)) CPU_SET(cpu, &free);
  }
  if (CPU_COUNT(&free) == 0 || sched_setaffinity(0, sizeof free, &free) != 0) return;
  // The thread has moved when the call returns. From here on the system decides again.
  own.store(sched_getcpu(), std::memory_order_relaxed);
  sched_setaffinity(0, sizeof allowed, &allowed);
}

void ThreadPlaces::leave(int index) {
  places_[static_cast<size_t>(index)].processor.store(kNowhere, std::memory_order_relaxed);
}

}  // namespace hr
