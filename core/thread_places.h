// Keeps the threads of a team on different processors, and the one that the others wait for on a free one. The system
// sometimes leaves two threads of a team on one processor for many seconds, because a busy process of somebody else has
// the other one: each processor then has the same load, but the team computes with half of the machine instead of three
// quarters. And it leaves a processor without work for up to a time slice while a thread of the team is stopped on the
// other one, because it does not move a thread that ran a moment ago.
//   ThreadPlaces places(2);
//   places.spread(index);         // by each thread, before each piece of work
//   places.rest(index);           // by a thread that finds no work
//   places.look(index);           // by a thread that waits for others
//   places.change_places(index);  // by the same thread, some microseconds later
//   places.leave(index);          // before it sleeps, and at the end
#pragma once
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <ctime>
#include <vector>

namespace hr {

// The functions may be called by all threads at once, each with the index of its own, which is below the number of
// threads.
class ThreadPlaces {
 public:
  explicit ThreadPlaces(int threads);

  // The calling thread begins a piece of work. Notes on which processor it runs. If another thread of the team was
  // there last, the calling thread moves to a processor on which there is none, among those that it may use. It is not
  // pinned there: afterwards the system may move it as before. Where the system refuses to move the thread, nothing
  // happens. Takes about 20 ns.
  void spread(int index);
  // The calling thread has no work, so nobody waits for it until its next call of spread().
  void rest(int index);
  // Notes how long threads that have work have computed. These are up to four that follow the calling one by index.
  void look(int index);
  // If one of these threads has not computed since the calling thread looked, the system has stopped it. Then it gets
  // the processor of the calling thread, and the calling thread goes to where the other one was stopped and lets what
  // runs there go first. Neither of them is pinned. Returns whether that happened.
  bool change_places(int index);
  // The calling thread needs no processor until its next call of spread(). It may end.
  void leave(int index);

 private:
  static constexpr int kNowhere = -1;
  struct alignas(64) Place {
    std::atomic<int> processor{kNowhere};
    std::atomic<bool> works{false};
    std::atomic<pid_t> thread{0};
    std::atomic<clockid_t> clock{};  // The time that the thread has computed.
    std::atomic_flag moves;          // Somebody is changing the processors that the thread may use.
    // By index, this has the time that the thread saw on the clock of each other thread when it last looked.
    std::vector<int64_t> seen;
  };
  bool taken(int processor, int index) const;
  static bool exchange(Place& own, Place& other);
  std::vector<Place> places_;  // By thread.
};

}  // namespace hr
