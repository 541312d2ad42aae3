#include "core/tape.h"

#include <utility>

#include "core/branches.h"
#include "core/context.h"
#include "core/error.h"

namespace hr {

void Tape::backward(Context& cx, const Tensor& loss, Tensor one) {
  check(loss.numel() == 1 && loss.dtype() == DType::f32, "backward: expected a loss of one f32 element, got {} of {}",
        to_string(loss.shape()), name_of(loss.dtype()));
  for (auto& [id, leaf] : leaves_) leaf.written = leaf.reported = false;
  const size_t size = nodes_.size();
  const bool known = size == learnt_size_;
  if (!one.defined()) {
    const float value = 1.0f;
    one = cx.empty(loss.shape(), DType::f32);
    cx.upload(one, std::as_bytes(std::span(&value, 1)));
  }
  add(loss, std::move(one));
  while (!nodes_.empty()) {
    const Backward node = std::move(nodes_.back());
    nodes_.pop_back();
    try {
      node(cx);
    } catch (...) {
      // The region of branches that this op belongs to was to be joined by an op further down the tape.
      if (cx.side_streams) cx.side_streams->abandon(cx);
      throw;
    }
    for (const uint64_t id : touched_) {
      Leaf& leaf = leaves_.at(id);
      leaf.last_write = nodes_.size();
      if (known && leaf.expected_last_write == nodes_.size()) report(cx, id, leaf);
    }
    touched_.clear();
  }
  gradients_.clear();
  deferred_.clear();
  for (auto& [id, leaf] : leaves_) {
    if (!leaf.written) {
      cx.zero(leaf.grad);
      leaf.last_write = size;  // no op has this position
    }
    leaf.expected_last_write = leaf.last_write;
    report(cx, id, leaf);
  }
  learnt_size_ = size;
}

void Tape::report(Context& cx, uint64_t id, Leaf& leaf) {
  if (!ready_ || std::exchange(leaf.reported, true)) return;
  ready_(cx, id);
}

void Tape::add(const Tensor& x, Tensor addend) {
  check(addend.numel() == x.numel(), "gradient of {} has shape {}", to_string(x.shape()), to_string(addend.shape()));
  gradients_[x.id()].push_back(std::move(addend));
}

std::vector<Tensor> Tape::take(uint64_t id) {
  const auto it = gradients_.find(id);
  if (it == gradients_.end()) return {};
  std::vector<Tensor> addends = std::move(it->second);
  gradients_.erase(it);
  return addends;
}

bool Tape::defer(const Tensor& x, std::shared_ptr<DeferredAddend> addend) {
  return leaves_.find(x.id()) == leaves_.end() && deferred_.emplace(x.id(), std::move(addend)).second;
}

std::shared_ptr<DeferredAddend> Tape::take_deferred(uint64_t id) {
  const auto it = deferred_.find(id);
  if (it == deferred_.end()) return nullptr;
  std::shared_ptr<DeferredAddend> addend = std::move(it->second);
  deferred_.erase(it);
  return addend;
}

void Tape::bind(const Tensor& leaf, Tensor grad) {
  check(grad.dtype() == DType::f32 && grad.numel() == leaf.numel(), "bind: leaf {} and gradient {} differ",
        to_string(leaf.shape()), to_string(grad.shape()));
  leaves_[leaf.id()] = {.grad = std::move(grad)};
}

Tape::Sink Tape::sink(const Tensor& leaf) {
  const auto it = leaves_.find(leaf.id());
  if (it == leaves_.end()) return {};
  const bool accumulate = it->second.written;
  check(!it->second.reported, "backward: the gradient of {} grows after it was reported as complete",
        to_string(leaf.shape()));
  it->second.written = true;
  touched_.push_back(leaf.id());
  return {.grad = it->second.grad, .accumulate = accumulate};
}

void Tape::clear() {
  touched_.clear();
  nodes_.clear();
  gradients_.clear();
  deferred_.clear();
}

}  // namespace hr
