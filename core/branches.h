// Work that may run side by side: HRNet's branches. On CUDA each branch goes to a stream of its own, forked from the
// context's stream and joined again, in the forward pass and, through the tape, in the backward pass; a captured graph
// keeps the fork. On the CPU, and while an arena is still recording, branches simply follow one another.
//   Branches branches(cx);
//   for (int b = 0; b < n; ++b) { branches.enter(b); ... ops of branch b ... }
//   branches.join();
// A branch may read what existed before the fork and what it made itself.
#pragma once
#include <vector>

#include "core/context.h"

namespace hr {

// Streams beside the context's own, and the events that order them. One region of branches at a time.
class SideStreams {
 public:
  explicit SideStreams(int count);
  ~SideStreams();
  SideStreams(const SideStreams&) = delete;
  SideStreams& operator=(const SideStreams&) = delete;

  void fork(Context& cx);
  void enter(Context& cx, int branch);
  void join(Context& cx);
  // After an exception within a region, which nobody will join: the context's stream waits for what the branches have
  // begun, and the next step starts outside of any region. Does nothing outside of one.
  void abandon(Context& cx) noexcept;
  bool forked() const { return base_ != nullptr; }  // within a region, where streams do not wait for each other

 private:
  std::vector<cuda::Stream> streams_;
  std::vector<cuda::Event> joined_;
  cuda::Event forked_;
  cuda::Stream base_ = nullptr;  // the context's own, within a region that forked
};

// Returns how many streams to make: the environment's HRNET_SIDE_STREAMS, a number from 0 (branches run one after another) to
// 15, or `by_default` where it is not set. Results do not depend on it: it is for measuring and for finding mistakes.
// Throws Error if the variable is something else.
int side_stream_count(int by_default);

class Branches {
 public:
  explicit Branches(Context& cx);
  ~Branches();  // without join(), because of an exception: abandons the region
  Branches(const Branches&) = delete;
  Branches& operator=(const Branches&) = delete;
  void enter(int branch);
  void join();

 private:
  Context& cx_;
  int current_ = 0;
  bool joined_ = false;
};

}  // namespace hr
