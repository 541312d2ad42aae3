#include "nn/parameters.h"

#include <cmath>

#include "core/error.h"
#include "core/philox.h"

namespace hr {
namespace {
// Every parameter starts on its own cache line.
int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

void initialise(Parameter& p, uint64_t seed, int64_t index, Init init) {
  float* v = p.value.data<float>();
  const int64_t n = p.value.numel();
  Philox rng(seed, 0x696e6974, static_cast<uint64_t>(index));  // "init"
  if (p.layout == ParameterLayout::vector) {
    std::fill_n(v, n, p.initial);
  } else if (init == Init::torch && p.fan_in > 0) {
    const double bound = 1 / std::sqrt(static_cast<double>(p.fan_in));
    for (int64_t i = 0; i < n; ++i) v[i] = static_cast<float>(rng.uniform(-bound, bound));
  } else if (init != Init::none) {
    for (int64_t i = 0; i < n; ++i) v[i] = static_cast<float>(rng.normal(0, 0.001));
  }
}
}  // namespace

Shape Parameter::shape() const {
  if (layout == ParameterLayout::vector) return torch_shape;
  const bool filter = layout == ParameterLayout::filter;
  return {torch_shape[filter ? 0 : 1], torch_shape[2], torch_shape[3], torch_shape[filter ? 1 : 0]};
}

Parameter& ParameterStore::add_parameter(std::string name, Shape torch_shape, ParameterLayout layout, float initial,
                                         int64_t fan_in) {
  parameters_.push_back({.name = std::move(name),
                         .torch_shape = std::move(torch_shape),
                         .layout = layout,
                         .initial = initial,
                         .fan_in = fan_in});
  entries_.push_back({.parameter = &parameters_.back()});
  return parameters_.back();
}

Buffer& ParameterStore::add_buffer(std::string name, int64_t channels, float initial) {
  buffers_.push_back({.name = std::move(name), .channels = channels, .initial = initial});
  entries_.push_back({.buffer = &buffers_.back()});
  return buffers_.back();
}

Counter& ParameterStore::add_counter(std::string name) {
  counters_.push_back({.name = std::move(name)});
  entries_.push_back({.counter = &counters_.back()});
  return counters_.back();
}

void ParameterStore::allocate(Context& cx, uint64_t seed, Init init) {
  int64_t size = 0, buffer_size = 0;
  for (const Parameter& p : parameters_) size += padded(numel(p.torch_shape));
  for (const Buffer& b : buffers_) buffer_size += padded(b.channels);
  values = cx.zeros({size}, DType::f32);
  grads = cx.zeros({size}, DType::f32);
  buffers = cx.zeros({buffer_size}, DType::f32);
  int64_t at = 0;
  for (Parameter& p : parameters_) {
    p.value = values.view(p.shape(), at);
    p.grad = grads.view(p.shape(), at);
    p.value.set_requires_grad(true);
    at += padded(numel(p.torch_shape));
  }
  // Each parameter has a stream of its own, so the threads change nothing; sizes differ a thousandfold, hence dynamic.
  const auto count = static_cast<int64_t>(parameters_.size());
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < count; ++i) initialise(parameters_[i], seed, i, init);
  at = 0;
  for (Buffer& b : buffers_) {
    b.value = buffers.view({b.channels}, at);
    at += padded(b.channels);
    std::fill_n(b.value.data<float>(), b.channels, b.initial);
  }
  ++version;
}

void ParameterStore::bind(Tape& tape) const {
  for (const Parameter& p : parameters_) tape.bind(p.value, p.grad);
}

const std::string& ParameterStore::Entry::name() const {
  return parameter != nullptr ? parameter->name : buffer != nullptr ? buffer->name : counter->name;
}

Shape ParameterStore::Entry::torch_shape() const {
  return parameter != nullptr ? parameter->torch_shape : buffer != nullptr ? Shape{buffer->channels} : Shape{};
}

int64_t ParameterStore::parameter_count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_) n += numel(p.torch_shape);
  return n;
}

}  // namespace hr
