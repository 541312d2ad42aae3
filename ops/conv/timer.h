// Times ways to compute a convolution on a GPU, on the caller's own tensors.
#pragma once
#include "ops/conv/library.h"

namespace hr {

// One object measures one problem; its scratch memory is given back at its end.
class ConvTimer {
 public:
  // `warm_up`: the GPU was idle, so that its clocks must rise before the first measurement.
  ConvTimer(const Context& cx, const ConvBuffers& buffers, bool warm_up);
  ~ConvTimer();
  ConvTimer(const ConvTimer&) = delete;
  ConvTimer& operator=(const ConvTimer&) = delete;

  // Milliseconds of one of so many runs in a row. Only the GPU's time counts: the runs are queued behind other work, so
  // that the host is done queueing before the first begins. One launch: after a run that is not timed, in which a
  // library loads its code. Error: the candidate does not run; OutOfMemory: its workspace does not fit.
  float operator()(const ConvCandidate& candidate, int launches);

 private:
  void* workspace(int64_t bytes);

  Context cx_;
  ConvBuffers buffers_;
  bool warm_up_;
  void* workspace_ = nullptr;
  int64_t workspace_bytes_ = 0;
  uint32_t head_start_ = 100'000;  // nanoseconds that the host is given to queue the runs
  cuda::Event begin_, end_;
};

}  // namespace hr
