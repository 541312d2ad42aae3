// Training on several ranks at once: every rank has the whole model and a part of each batch; gradients are averaged,
// so all ranks take the same step. As torch's DistributedDataParallel: the same weights to begin with by broadcast, the
// gradient slab averaged in buckets that set off while backward still runs, running statistics of rank 0.
//
//   DataParallel parallel(*world.comm, model.parameters());
//   parallel.broadcast();                     // weights, running statistics
//   parallel.attach(tape);                    // buckets set off from here on during tape.backward()
//   ... forward; tape.backward(cx, loss); parallel.finish(cx); optimizer.step(...)       (hrnet/train/train_step does
//   this)
#pragma once
#include <vector>

#include "core/comm/comm.h"
#include "nn/optimizer.h"
#include "nn/parameters.h"

namespace hr {

// A stretch of the gradient slab, in elements, that begins and ends with whole parameters.
struct Bucket {
  int64_t begin = 0, end = 0;
  size_t parameters = 0, learning = 0;  // all, and those that were not frozen when a tape was attached
};

// Cuts the slab into buckets of at least `bytes` from its end on: parameters lie in the order of the forward pass, and
// backward goes the other way. The last bucket of the list, the only one that nothing can hide, is what is left over:
// at most `last_bytes` (one parameter at least).
std::vector<Bucket> gradient_buckets(const ParameterStore& store, int64_t bytes, int64_t last_bytes);

class DataParallel {
 public:
  struct Options {
    int64_t bucket_bytes = int64_t{25} << 20;  // torch's
    int64_t last_bytes = int64_t{1} << 20;
    bool overlap = true;  // false: all buckets set off in finish(), to see what overlap is worth
  };
  // The store must be allocated and outlive this.
  DataParallel(Comm& comm, ParameterStore& store) : DataParallel(comm, store, Options{}) {}
  DataParallel(Comm& comm, ParameterStore& store, Options options);

  // Rank 0's values, running statistics and counters to everybody; the optimiser's moments, averages and step count
  // too.
  void broadcast(const Context& cx, Optimizer* optimizer = nullptr);
  // Running statistics and counters alone: ranks gather their own unless batch norm is synchronised. Before anything
  // reads rank 0's as the model's. With an optimiser, their average too.
  void broadcast_buffers(const Context& cx, Optimizer* optimizer = nullptr);

  // Buckets set off during tape.backward(). The tape must not outlive this. Parameters that are frozen by now have no
  // gradient to wait for.
  void attach(Tape& tape);
  // After backward(): all gradients are averaged (on cx.stream).
  void finish(Context& cx);
  // Before a backward pass whose gradients are not to be averaged as they come, or not to be averaged at all. While it
  // is on, no bucket sets off during the pass. All ranks must do the same.
  void hold(bool on) { held_ = on; }
  // In place of finish() after such a pass: this rank's gradients stay its own.
  void discard();

  Comm& comm() const { return comm_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }

 private:
  void ready(Context& cx, uint64_t id);
  void launch(Context& cx);
  void expect();  // the gradients of the next backward pass

  Comm& comm_;
  ParameterStore& store_;
  bool overlap_, held_ = false;
  std::vector<Bucket> buckets_;
  std::vector<Tensor> views_;                       // of the gradient slab, one per bucket
  std::unordered_map<uint64_t, size_t> bucket_of_;  // by the parameter's value
  std::vector<size_t> missing_;                     // gradients that a bucket still waits for
  size_t next_ = 0;                                 // buckets set off in order, whatever order they are ready in
};

}  // namespace hr
