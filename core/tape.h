// Reverse-mode differentiation over a linear tape. Ops append a backward function in the order they ran, which is
// already topological; backward() pops from the end and frees saved tensors as it goes. No recursion.
//
// The gradient of a value used k times is kept as a list of up to k addends and summed by whoever takes it: `fuse` does
// that inside its own pass over memory, so fan-out costs no extra pass.
#pragma once
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/tensor.h"

namespace hr {

struct Context;

class Tape {
 public:
  using Backward = std::function<void(Context&)>;

  void record(Backward backward) { nodes_.push_back(std::move(backward)); }

  // Runs everything recorded, starting with d(loss)/d(loss) = 1, and leaves the tape empty. Bound leaves that received
  // no gradient are zeroed. `one` is that 1 as a tensor [1] f32; made here when undefined, which a captured step
  // cannot.
  void backward(Context& cx, const Tensor& loss, Tensor one = {});

  // For ops: one more addend of the gradient of x. The addend may be shared with others: treat it as read-only.
  void add(const Tensor& x, Tensor addend);
  // For ops: all addends of the gradient of the value with this id, removed from the tape; empty when nothing
  // downstream used it. By id, so that a backward function need not keep an output alive that it does not read.
  std::vector<Tensor> take(uint64_t id);

  // Leaves (parameters): the gradient is written to `grad`, which must have the leaf's shape and be f32.
  void bind(const Tensor& leaf, Tensor grad);
  struct Sink {
    Tensor grad;      // undefined when the leaf is not bound: then use add()
    bool accumulate;  // false the first time in a backward pass: overwrite, so that nothing needs zeroing
  };
  Sink sink(const Tensor& leaf);

  // Calls `ready(cx, id)` for every bound leaf during backward(), as soon as its gradient has received its last addend:
  // for whoever sends gradients away while the rest is still being computed. When that is, the tape learns from the
  // backward pass before; in the first one, and when the number of recorded ops changes, all leaves are reported at the
  // end. Empty: nobody listens. Error if a gradient grows after it was reported.
  void on_ready(std::function<void(Context&, uint64_t)> ready) { ready_ = std::move(ready); }

  void clear();  // drops everything recorded (bindings stay)
  size_t size() const { return nodes_.size(); }

 private:
  struct Leaf {
    Tensor grad;
    bool written = false, reported = false;
    size_t last_write = 0, expected_last_write = 0;  // position of the op, of this pass and of the one before
  };
  void report(Context& cx, uint64_t id, Leaf& leaf);
  std::vector<Backward> nodes_;
  std::unordered_map<uint64_t, std::vector<Tensor>> gradients_;
  std::unordered_map<uint64_t, Leaf> leaves_;
  std::function<void(Context&, uint64_t)> ready_;
  std::vector<uint64_t> touched_;  // leaves that the running op has written
  size_t learnt_size_ = 0;         // ops in the pass that expected_last_write is from
};

}  // namespace hr
