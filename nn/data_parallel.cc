#include "nn/data_parallel.h"

#include <algorithm>

#include "core/branches.h"
#include "core/error.h"

namespace hr {

std::vector<Bucket> gradient_buckets(const ParameterStore& store, int64_t bytes, int64_t last_bytes) {
  const auto& parameters = store.parameters();
  std::vector<int64_t> begins;  // The offset of each parameter in the slab; the last number is the size of the slab.
  begins.reserve(parameters.size() + 1);
  for (const Parameter& p : parameters) begins.push_back(p.grad.data<float>() - store.grads.data<float>());
  begins.push_back(store.grads.numel());
  const auto size = [&](size_t from, size_t to) { return (begins[to] - begins[from]) * int64_t{sizeof(float)}; };
  // The parameters of the first layers get their gradients last.
  size_t tail = std::min<size_t>(1, parameters.size());
  while (tail < parameters.size() && size(0, tail + 1) <= last_bytes) ++tail;
  std::vector<Bucket> buckets;
  size_t end = parameters.size();
  for (size_t at = parameters.size(); at-- > 0;) {
    const bool full = size(at, end) >= bytes;
    if (full || at == 0 || at == tail) {
      buckets.push_back({.begin = begins[at], .end = begins[end], .parameters = end - at});
      end = at;
    }
  }
  return buckets;
}

DataParallel::DataParallel(Comm& comm, ParameterStore& store, Options options)
    : comm_(comm),
      store_(store),
      overlap_(options.overlap),
      buckets_(gradient_buckets(store, options.bucket_bytes, options.last_bytes)),
      missing_(buckets_.size()) {
  check(options.bucket_bytes > 0, "data parallel: bucket_bytes is {}; expected at least 1", options.bucket_bytes);
  for (const Bucket& b : buckets_) views_.push_back(store.grads.view({b.end - b.begin}, b.begin));
}

void DataParallel::broadcast(const Context& cx, Optimizer* optimizer) {
  comm_.broadcast(store_.values, 0, cx.stream);
  if (optimizer != nullptr) {
    comm_.broadcast(optimizer->exp_avg, 0, cx.stream);
    comm_.broadcast(optimizer->exp_avg_sq, 0, cx.stream);
    if (optimizer->averages()) comm_.broadcast(optimizer->average_values, 0, cx.stream);
    const std::string steps = comm_.all_gather(std::to_string(optimizer->steps()))[0];
    optimizer->set_steps(std::stoll(steps));
  }
  broadcast_buffers(cx, optimizer);
}

void DataParallel::broadcast_buffers(const Context& cx, Optimizer* optimizer) {
  comm_.broadcast(store_.buffers, 0, cx.stream);
  if (optimizer != nullptr && optimizer->averages()) comm_.broadcast(optimizer->average_buffers, 0, cx.stream);
  std::string counters;
  for (const auto& entry : store_.entries()) {
    if (entry.counter != nullptr) counters += fmt::format("{} ", entry.counter->value);
  }
  const std::string first = comm_.all_gather(counters)[0];
  const char* at = first.c_str();
  for (const auto& entry : store_.entries()) {
    char* end = nullptr;
    if (entry.counter == nullptr) continue;
    entry.counter->value = std::strtoll(at, &end, 10);
    check(end != at,
          "data parallel: rank 0 has fewer num_batches_tracked than rank {}; give all ranks the same `model`",
          comm_.rank());
    at = end;
  }
  ++store_.version;
}

void DataParallel::attach(Tape& tape) {
  size_t bucket = 0, left = 0;
  const auto& parameters = store_.parameters();
  for (Bucket& b : buckets_) b.learning = 0;
  bucket_of_.clear();
  for (size_t i = parameters.size(); i-- > 0;) {
    if (left == 0) left = buckets_[bucket].parameters;
    if (parameters[i].value.requires_grad()) {
      bucket_of_[parameters[i].value.id()] = bucket;
      ++buckets_[bucket].learning;
    }
    if (--left == 0) ++bucket;
  }
  expect();
  tape.on_ready([this](Context& cx, uint64_t id) { ready(cx, id); });
}

void DataParallel::ready(Context& cx, uint64_t id) {
  const auto it = bucket_of_.find(id);
  if (it == bucket_of_.end()) return;  // The leaf is not a parameter of this store.
  --missing_[it->second];
  // While side streams are forked, a bucket may be complete on the host although the side streams have not finished it.
  // finish() then starts it after the streams were joined.
  if (!overlap_ || held_ || (cx.side_streams && cx.side_streams->forked())) return;
  launch(cx);
}

void DataParallel::launch(Context& cx) {
  for (; next_ < buckets_.size() && missing_[next_] == 0; ++next_)
    comm_.start_all_reduce(views_[next_], Reduce::mean, cx.stream);
}

void DataParallel::finish(Context& cx) {
  launch(cx);
  check(next_ == buckets_.size(),
        "data parallel: only {} of {} gradient buckets are complete; call backward() before finish()", next_,
        buckets_.size());
  expect();
  comm_.finish(cx.stream);
}

void DataParallel::discard() {
  check(next_ == 0, "data parallel: discard() was called after {} buckets were started; call hold() before backward()",
        next_);
  expect();
}

void DataParallel::expect() {
  next_ = 0;
  for (size_t b = 0; b < buckets_.size(); ++b) missing_[b] = buckets_[b].learning;
}

}  // namespace hr
