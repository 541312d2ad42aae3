// Work that may run in parallel: HRNet's branches. On CUDA each branch runs on a stream of its own, which is forked
// from the context's stream and joined again, in the forward pass and, through the tape, in the backward pass. A
// captured graph keeps the fork. While an arena is still recording, and on the CPU, the branches run one after the
// other; recorded loops of the CPU (core/loop_graph.h) run side by side, so without a tape the arena keeps their memory
// apart.
//   Branches branches(cx);
//   for (int b = 0; b < n; ++b) { branches.enter(b); ... ops of branch b ... }
//   branches.join();
// A branch may read tensors that existed before the fork and tensors that it made itself.
#pragma once
#include <vector>

#include "core/context.h"

namespace hr {

// Streams beside the context's own, and the events that order them. Only one region of branches may be open at a time.
class SideStreams {
 public:
  explicit SideStreams(int count);
  ~SideStreams();
  SideStreams(const SideStreams&) = delete;
  SideStreams& operator=(const SideStreams&) = delete;

  void fork(Context& cx);
  void enter(Context& cx, int branch);
  void join(Context& cx);
  // Call after an exception within a region, since join() will not be reached. The context's stream waits for the work
  // that the branches have begun, and the next step starts outside of any region. Does nothing outside of a region.
  void abandon(Context& cx) noexcept;
  bool forked() const { return base_ != nullptr; }  // True within a region, where streams do not wait for each other.

 private:
  std::vector<cuda::Stream> streams_;
  std::vector<cuda::Event> joined_;
  cuda::Event forked_;
  cuda::Stream base_ = nullptr;  // The context's own stream while a region is open, else null.
};

// Returns how many side streams to make: the value of the environment variable HRNET_SIDE_STREAMS, from 0 (branches run
// one after another) to 15, or `by_default` if it is not set. Results do not depend on this number. It exists for
// measuring and for finding errors. Throws Error if the variable has another value.
int side_stream_count(int by_default);

class Branches {
 public:
  explicit Branches(Context& cx);
  ~Branches();  // If join() was not called, because of an exception, this abandons the region.
  Branches(const Branches&) = delete;
  Branches& operator=(const Branches&) = delete;
  void enter(int branch);
  void join();

 private:
  Context& cx_;
  Arena* arena_ = nullptr;  // On the CPU, without a tape.
  int current_ = 0;
  bool joined_ = false;
};

}  // namespace hr
