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

  void clear();  // drops everything recorded (bindings stay)
  size_t size() const { return nodes_.size(); }

 private:
  struct Leaf {
    Tensor grad;
    bool written = false;
  };
  std::vector<Backward> nodes_;
  std::unordered_map<uint64_t, std::vector<Tensor>> gradients_;
  std::unordered_map<uint64_t, Leaf> leaves_;
};

}  // namespace hr
