// Reverse-mode differentiation over a linear tape. Ops append a backward function in the order in which they run, which
// is already a topological order. backward() runs the functions from the end and frees saved tensors as it goes,
// without recursion.
//
// The gradient of a value that is used k times is kept as a list of up to k addends. The backward function that takes
// the list sums it; `fuse` does so inside its own pass over memory, so that a value with several uses costs no extra
// pass. Not thread-safe.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/tensor.h"

namespace hr {

struct Context;

// An addend of a gradient that is computed only when the gradient is taken. The op that takes it may know a class
// derived from this one, and then computes its own work in the same pass over memory.
class DeferredAddend {
 public:
  virtual ~DeferredAddend() = default;
  // Returns the addend, which has the shape and type of the value. Call this once.
  virtual Tensor compute(Context& cx) = 0;
};

class Tape {
 public:
  using Backward = std::function<void(Context&)>;

  void record(Backward backward) { nodes_.push_back(std::move(backward)); }

  // Runs everything recorded, starting with d(loss)/d(loss) = 1, and leaves the tape empty. Bound leaves that received
  // no gradient are zeroed. `one` is that 1 as a tensor [1] f32. If it is undefined, it is made here, which is not
  // possible within a captured step.
  void backward(Context& cx, const Tensor& loss, Tensor one = {});

  // For ops: adds one addend to the gradient of x. The addend may be shared with other values and must not be
  // overwritten.
  void add(const Tensor& x, Tensor addend);
  // For ops: removes all addends of the gradient of the value with this id from the tape and returns them. The list is
  // empty when no recorded op used the value. The argument is an id and not a tensor, so that a backward function does
  // not keep an output alive that it does not read.
  std::vector<Tensor> take(uint64_t id);

  // For ops: adds one addend to the gradient of x that is not computed yet. Returns false and adds nothing if x is a
  // bound leaf or already has a deferred addend. Who takes the gradient calls take_deferred() besides take(); it
  // returns null if there is none.
  bool defer(const Tensor& x, std::shared_ptr<DeferredAddend> addend);
  std::shared_ptr<DeferredAddend> take_deferred(uint64_t id);

  // For leaves (parameters): the gradient is written to `grad`, which must have the leaf's shape and be f32.
  void bind(const Tensor& leaf, Tensor grad);
  struct Sink {
    Tensor grad;      // Undefined when the leaf is not bound; use add() then.
    bool accumulate;  // False the first time in a backward pass: overwrite `grad`, so that it needs no zeroing.
  };
  Sink sink(const Tensor& leaf);

  // Calls `ready(cx, id)` for every bound leaf during backward(), as soon as its gradient has received its last addend,
  // so that gradients can be sent while the others are still being computed. The tape learns from the previous backward
  // pass which addend is the last. In the first pass, and when the number of recorded ops has changed, all leaves are
  // reported at the end. An empty function turns this off. backward() throws Error if a gradient changes after it was
  // reported.
  void on_ready(std::function<void(Context&, uint64_t)> ready) { ready_ = std::move(ready); }

  void clear();  // Drops everything recorded; bindings stay.
  size_t size() const { return nodes_.size(); }

 private:
  struct Leaf {
    Tensor grad;
    bool written = false, reported = false;
    size_t last_write = 0, expected_last_write = 0;  // Positions of the op in this pass and in the previous one.
  };
  void report(Context& cx, uint64_t id, Leaf& leaf);
  std::vector<Backward> nodes_;
  std::unordered_map<uint64_t, std::vector<Tensor>> gradients_;
  std::unordered_map<uint64_t, std::shared_ptr<DeferredAddend>> deferred_;
  std::unordered_map<uint64_t, Leaf> leaves_;
  std::function<void(Context&, uint64_t)> ready_;
  std::vector<uint64_t> touched_;  // The leaves that the running op has written.
  size_t learnt_size_ = 0;         // The number of ops in the pass from which expected_last_write was learnt.
};

}  // namespace hr
