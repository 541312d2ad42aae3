#include "core/thread_places.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace hr {
namespace {

constexpr int64_t kUnknown = -1;

// The clock of the time that the calling thread computes.
clockid_t own_clock() {
  clockid_t clock = CLOCK_MONOTONIC;  // It always goes on, so a thread without a clock never counts as stopped.
  return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? clock : CLOCK_MONOTONIC;
}

int64_t nanoseconds(clockid_t clock) {
  timespec time{};
  return clock_gettime(clock, &time) == 0 ? time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec : kUnknown;
}

// Moves a thread to one of the processors `to`. It has moved when the call returns.
bool move(pid_t thread, const cpu_set_t& to, const cpu_set_t& allowed) {
  if (sched_setaffinity(thread, sizeof to, &to) != 0) return false;
  // From here on the system decides again.
  sched_setaffinity(thread, sizeof allowed, &allowed);
  return true;
}

bool move(pid_t thread, int processor, const cpu_set_t& allowed) {
  cpu_set_t to;
  CPU_ZERO(&to);
  CPU_SET(processor, &to);
  return move(thread, to, allowed);
}

}  // namespace

ThreadPlaces::ThreadPlaces(int threads) : places_(static_cast<size_t>(std::max(1, threads))) {
  for (Place& place : places_) place.seen.assign(places_.size(), kUnknown);
}

bool ThreadPlaces::taken(int processor, int index) const {
  for (size_t t = 0; t < places_.size(); ++t) {
    if (static_cast<int>(t) != index && places_[t].processor.load(std::memory_order_relaxed) == processor) return true;
  }
  return false;
}

void ThreadPlaces::spread(int index) {
  thread_local const pid_t thread = gettid();
  thread_local const clockid_t clock = own_clock();
  Place& own = places_[static_cast<size_t>(index)];
  const int here = sched_getcpu();
  own.processor.store(here, std::memory_order_relaxed);
  own.thread.store(thread, std::memory_order_relaxed);
  own.clock.store(clock, std::memory_order_relaxed);
  own.works.store(true, std::memory_order_release);
  if (here < 0 || !taken(here, index)) return;
  if (own.moves.test_and_set(std::memory_order_acquire)) return;  // Another thread is moving this one.
  cpu_set_t allowed, free;
  // A machine with more processors than a cpu_set_t has bits refuses here, and the threads stay where they are.
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    CPU_ZERO(&free);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &allowed) && cpu != here && !taken(cpu, index)) CPU_SET(cpu, &free);
    }
    if (CPU_COUNT(&free) > 0 && move(0, free, allowed)) own.processor.store(sched_getcpu(), std::memory_order_relaxed);
  }
  own.moves.clear(std::memory_order_release);
}

void ThreadPlaces::rest(int index) {
  places_[static_cast<size_t>(index)].works.store(false, std::memory_order_relaxed);
}

void ThreadPlaces::look(int index) {
  // Reading the clock of a running thread takes a lock of its processor, so on a large machine each waiting thread
  // reads those of a few others only, which follow it. When a thread is stopped, many wait for it.
  constexpr int kMost = 4;
  std::vector<int64_t>& seen = places_[static_cast<size_t>(index)].seen;
  std::ranges::fill(seen, kUnknown);
  int read = 0;
  for (size_t k = 1; k < places_.size() && read < kMost; ++k) {
    const size_t t = (static_cast<size_t>(index) + k) % places_.size();
    if (!places_[t].works.load(std::memory_order_acquire)) continue;
    seen[t] = nanoseconds(places_[t].clock);
    ++read;
  }
}

bool ThreadPlaces::change_places(int index) {
  Place& own = places_[static_cast<size_t>(index)];
  if (own.moves.test_and_set(std::memory_order_acquire)) return false;  // Another thread is moving this one.
  bool done = false;
  for (size_t t = 0; t < places_.size() && !done; ++t) {
    Place& other = places_[t];
    if (own.seen[t] == kUnknown || other.moves.test_and_set(std::memory_order_acquire)) continue;
    const bool stopped = other.works.load(std::memory_order_acquire) && nanoseconds(other.clock) == own.seen[t];
    done = stopped && exchange(own, other);
    other.moves.clear(std::memory_order_release);
  }
  own.moves.clear(std::memory_order_release);
  // To the system this thread is a new one on its processor, and runs at once. But it is the turn of the process for
  // which the other thread was stopped there.
  if (done) sched_yield();
  return done;
}

bool ThreadPlaces::exchange(Place& own, Place& other) {
  const int here = sched_getcpu(), there = other.processor.load(std::memory_order_relaxed);
  const pid_t thread = other.thread.load(std::memory_order_relaxed);
  cpu_set_t allowed, theirs;
  if (here < 0 || there < 0 || here == there || sched_getaffinity(0, sizeof allowed, &allowed) != 0 ||
      sched_getaffinity(thread, sizeof theirs, &theirs) != 0 || !CPU_ISSET(here, &theirs)) {
    return false;
  }
  // Before anybody moves, because the other thread may run at once.
  own.processor.store(CPU_ISSET(there, &allowed) ? there : kNowhere, std::memory_order_relaxed);
  other.processor.store(here, std::memory_order_relaxed);
  if (!move(thread, here, theirs)) return false;
  if (CPU_ISSET(there, &allowed)) move(0, there, allowed);
  return true;
}

void ThreadPlaces::leave(int index) {
  Place& own = places_[static_cast<size_t>(index)];
  own.works.store(false, std::memory_order_relaxed);
  own.processor.store(kNowhere, std::memory_order_relaxed);
  // The thread may end after this call, so nobody may be moving it.
  while (own.moves.test(std::memory_order_acquire)) sched_yield();
}

}  // namespace hr
