#include "nn/parameters.h"

#include "core/error.h"
#include "core/philox.h"

namespace hr {
namespace {
// Every parameter starts on its own cache line.
int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }
}  // namespace

Shape Parameter::shape() const {
  if (layout == ParameterLayout::vector) return torch_shape;
  const bool filter = layout == ParameterLayout::filter;
  return {torch_shape[filter ? 0 : 1], torch_shape[2], torch_shape[3], torch_shape[filter ? 1 : 0]};
}

Parameter& ParameterStore::add_parameter(std::string name, Shape torch_shape, ParameterLayout layout, float init_mean,
                                         float init_std) {
  parameters_.push_back({.name = std::move(name),
                         .torch_shape = std::move(torch_shape),
                         .layout = layout,
                         .init_mean = init_mean,
                         .init_std = init_std});
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

void ParameterStore::allocate(Context& cx, uint64_t seed) {
  int64_t size = 0, buffer_size = 0;
  for (const Parameter& p : parameters_) size += padded(numel(p.torch_shape));
  for (const Buffer& b : buffers_) buffer_size += padded(b.channels);
  values = cx.zeros({size}, DType::f32);
  grads = cx.zeros({size}, DType::f32);
  buffers = cx.zeros({buffer_size}, DType::f32);
  int64_t at = 0;
  uint64_t index = 0;
  for (Parameter& p : parameters_) {
    p.value = values.view(p.shape(), at);
    p.grad = grads.view(p.shape(), at);
    p.value.set_requires_grad(true);
    at += padded(numel(p.torch_shape));
    Philox rng(seed, 0x696e6974, index++);  // "init"
    float* v = p.value.data<float>();
    for (int64_t i = 0; i < p.value.numel(); ++i) {
      v[i] = p.init_std == 0 ? p.init_mean : static_cast<float>(rng.normal(p.init_mean, p.init_std));
    }
  }
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
