// Measures ways to compute a convolution on a GPU, on the caller's own tensors.
#pragma once
#include "ops/conv/library.h"

namespace hr {

// One object measures one problem. Its scratch memory is freed when it is destroyed.
class ConvTimer {
 public:
  // `warm_up` says that the GPU was idle, so that its clocks must rise before the first measurement.
  ConvTimer(const Context& cx, const ConvBuffers& buffers, bool warm_up);
  ~ConvTimer();
  ConvTimer(const ConvTimer&) = delete;
  ConvTimer& operator=(const ConvTimer&) = delete;

  // Returns the milliseconds of one of `launches` runs in a row. Only the GPU's time counts: the runs are queued behind
  // other work, so that the host has queued all of them before the first begins. If `launches` is 1, the timed run
  // follows an untimed one, in which a library loads its code. Throws Error if the candidate does not run, OutOfMemory
  // if its workspace does not fit.
  float operator()(const ConvCandidate& candidate, int launches);

 private:
  void* workspace(int64_t bytes);

  Context cx_;
  ConvBuffers buffers_;
  bool warm_up_;
  void* workspace_ = nullptr;
  int64_t workspace_bytes_ = 0;
  uint32_t head_start_ = 100'000;  // The nanoseconds that the host gets to queue the runs.
  cuda::Event begin_, end_;
};

}  // namespace hr
