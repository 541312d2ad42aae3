// Data-parallel training: every rank has the whole model and a part of each batch. The gradients are averaged over the
// ranks, so that all ranks take the same step. As in torch's DistributedDataParallel, rank 0 broadcasts the initial
// weights, the gradient slab is averaged in buckets while backward still runs, and the running statistics are rank 0's.
//
//   DataParallel parallel(*world.comm, model.parameters());
//   parallel.broadcast(cx, &optimizer);       // rank 0's weights, running statistics, moments and step count
//   parallel.attach(tape);                    // tape.backward() now starts the all-reduce of each finished bucket
//   ... forward; tape.backward(cx, loss); parallel.finish(cx); optimizer.step(...)
//
// hrnet/train/train_step does this. Not thread-safe.
#pragma once
#include <vector>

#include "core/comm/comm.h"
#include "nn/optimizer.h"
#include "nn/parameters.h"

namespace hr {

// A range of the gradient slab, in elements. It begins and ends at the boundary of a parameter.
struct Bucket {
  int64_t begin = 0, end = 0;
  size_t parameters = 0, learning = 0;  // All parameters, and those that were not frozen at the last attach().
};

// Cuts the gradient slab into buckets of at least `bytes` each, from its end to its beginning: parameters lie in the
// order of the forward pass, so backward finishes them in the opposite order. The all-reduce of the last bucket in the
// list cannot overlap with computation, so that bucket is small: at most `last_bytes`, but at least one parameter.
std::vector<Bucket> gradient_buckets(const ParameterStore& store, int64_t bytes, int64_t last_bytes);

class DataParallel {
 public:
  struct Options {
    int64_t bucket_bytes = int64_t{25} << 20;  // As in torch.
    int64_t last_bytes = int64_t{1} << 20;
    bool overlap = true;  // False starts all buckets in finish(), to measure what the overlap gains.
  };
  // The store must be allocated. The communicator and the store must outlive this object.
  DataParallel(Comm& comm, ParameterStore& store) : DataParallel(comm, store, Options{}) {}
  DataParallel(Comm& comm, ParameterStore& store, Options options);

  // Copies rank 0's parameters, running statistics and counters to all ranks, and the moments, averages and step count
  // of `optimizer` if it is given. All ranks must call it.
  void broadcast(const Context& cx, Optimizer* optimizer = nullptr);
  // Copies only the running statistics and counters, and the averaged running statistics of `optimizer` if it is given.
  // Without synchronised batch norm every rank has its own, so this must be called before the model is validated or
  // saved. All ranks must call it.
  void broadcast_buffers(const Context& cx, Optimizer* optimizer = nullptr);

  // Makes tape.backward() start the all-reduce of each bucket when its gradients are complete. Parameters that are
  // frozen when it is called are expected to get no gradient. The tape must not be used after this object is destroyed.
  void attach(Tape& tape);
  // Call after backward(). Work that is enqueued on cx.stream afterwards reads the averaged gradients. Throws Error if
  // a bucket is incomplete, which means that backward() has not run.
  void finish(Context& cx);
  // Call with true before a backward pass whose gradients are changed before they are averaged, or are not averaged at
  // all. While it is on, backward() starts no bucket. All ranks must do the same.
  void hold(bool on) { held_ = on; }
  // Replaces finish() after such a pass: the gradients of this rank are not averaged. Throws Error if a bucket has been
  // started.
  void discard();

  Comm& comm() const { return comm_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }

 private:
  void ready(Context& cx, uint64_t id);
  void launch(Context& cx);
  void expect();  // Prepares for the gradients of the next backward pass.

  Comm& comm_;
  ParameterStore& store_;
  bool overlap_, held_ = false;
  std::vector<Bucket> buckets_;
  std::vector<Tensor> views_;                       // Views of the gradient slab, one per bucket.
  std::unordered_map<uint64_t, size_t> bucket_of_;  // By the id of the parameter's value.
  std::vector<size_t> missing_;                     // Number of gradients that each bucket still waits for.
  size_t next_ = 0;                                 // The next bucket to start; all ranks start them in this order.
};

}  // namespace hr
