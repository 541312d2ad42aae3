// Keeps the threads of a team on different processors. The system sometimes leaves two threads of a team on one
// processor for many seconds, because a busy process of somebody else has the other one: each processor then has the
// same load, but the team computes with half of the machine instead of three quarters.
//   ThreadPlaces places(2);
//   places.spread(index);  // by each thread, before each piece of work
//   places.leave(index);   // before it sleeps
#pragma once
#include <atomic>
#include <vector>

namespace hr {

// The functions may be called by all threads at once, each with the index of its own, which is below the number of
// threads.
class ThreadPlaces {
 public:
  explicit ThreadPlaces(int threads);

  // Notes on which processor the calling thread runs. If another thread of the team was there last, the calling thread
  // moves to a processor on which there is none, among those that it may use. It is not pinned there: afterwards the
  // system may move it as before. Where the system refuses to move the thread, nothing happens. Takes about 20 ns.
  void spread(int index);
  // The calling thread needs no processor until its next call of spread().
  void leave(int index);

 private:
  static constexpr int kNowhere = -1;
  struct alignas(64) Place {
    std::atomic<int> processor{kNowhere};
  };
  bool taken(int processor, int index) const;
  std::vector<Place> places_;  // By thread.
};

}  // namespace hr
