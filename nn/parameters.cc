#include "nn/parameters.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/philox.h"
#include "ops/elementwise.h"

namespace hr {
namespace {
// Rounds up to 16 floats, so that every parameter starts on a cache line of its own.
int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

// Tells whether the pattern matches the whole text; `*` stands for any characters and `?` for one.
bool fits(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, after = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      // The characters do not match, so the last `*` has to stand for one character more.
      p = star + 1;
      t = ++after;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// Writes the initial values of one parameter to v, its part of the slab or of a copy of it in host memory.
void initialise(const Parameter& p, float* v, uint64_t seed, int64_t index, Init init) {
  const int64_t n = p.value.numel();
  Philox rng(seed, 0x696e6974, static_cast<uint64_t>(index));  // The number spells "init".
  if (p.layout == ParameterLayout::plain) {
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
  if (layout == ParameterLayout::plain) return torch_shape;
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

void ParameterStore::allocate(Context& cx, uint64_t seed, Init init, Purpose purpose) {
  purpose_ = purpose;
  int64_t size = 0, buffer_size = 0;
  for (const Parameter& p : parameters_) size += padded(numel(p.torch_shape));
  for (const Buffer& b : buffers_) buffer_size += padded(b.channels);
  values = cx.zeros({size}, DType::f32);
  grads = purpose == Purpose::training ? cx.zeros({size}, DType::f32) : Tensor();
  buffers = cx.zeros({buffer_size}, DType::f32);
  home_.device = cx.device;
  home_.stream = cx.stream;
  home_.allocator = cx.allocator;
  int64_t at = 0;
  std::vector<int64_t> offsets;
  for (Parameter& p : parameters_) {
    p.value = values.view(p.shape(), at);
    p.grad = grads.defined() ? grads.view(p.shape(), at) : Tensor();
    p.value.set_requires_grad(true);
    offsets.push_back(at);
    at += padded(numel(p.torch_shape));
  }
  // Each parameter has its own random stream, so the result does not depend on the threads. The schedule is dynamic,
  // since sizes differ a thousandfold.
  std::vector<float> image;  // Of the slab, for a device whose memory the host cannot write.
  if (cx.device.is_cuda()) image.resize(static_cast<size_t>(size));
  float* const slab = cx.device.is_cuda() ? image.data() : values.data<float>();
  const auto count = static_cast<int64_t>(parameters_.size());
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < count; ++i) initialise(parameters_[i], slab + offsets[i], seed, i, init);
  if (cx.device.is_cuda()) cx.upload(values, std::as_bytes(std::span(image)));
  at = 0;
  image.assign(static_cast<size_t>(buffer_size), 0.0f);
  for (Buffer& b : buffers_) {
    b.value = buffers.view({b.channels}, at);
    std::fill_n(image.data() + at, b.channels, b.initial);
    at += padded(b.channels);
  }
  cx.upload(buffers, std::as_bytes(std::span(image)));
  ++version;
}

namespace {
bool reads_rounded_values(const Context& cx) { return cx.device.is_cuda() && cx.precision == DType::bf16; }
}  // namespace

void ParameterStore::refresh_rounded(Context& cx) {
  if (!reads_rounded_values(cx)) return;
  const bool known = rounded_.defined() && rounded_version_ == version;
  if (!rounded_.defined()) rounded_ = home_.empty(values.shape(), DType::bf16);
  if (!known) round_to(cx, values, rounded_);
  rounded_version_ = version;
}

ParameterStore::Rounded ParameterStore::round_values(Context& cx, Rounding rounding) {
  if (!reads_rounded_values(cx)) return Rounded(nullptr);
  if (rounding == Rounding::with_update) {
    check(rounded_.defined() && rounded_version_ == version,
          "parameters: the rounded values are not those of this step; call refresh_rounded() before it");
    with_update_ = rounded_;
  } else {
    if (!rounded_.defined()) rounded_ = home_.empty(values.shape(), DType::bf16);
    round_to(cx, values, rounded_);
  }
  int64_t at = 0;
  for (Parameter& p : parameters_) {
    if (p.layout != ParameterLayout::plain) p.rounded = rounded_.view(p.shape(), at);
    at += padded(numel(p.torch_shape));
  }
  return Rounded(this);
}

ParameterStore::Rounded::~Rounded() {
  if (store_ == nullptr) return;
  store_->with_update_ = Tensor();
  for (Parameter& p : store_->parameters_) p.rounded = Tensor();
}

std::vector<int64_t> ParameterStore::counts() const {
  std::vector<int64_t> all;
  all.reserve(counters_.size());
  for (const Counter& c : counters_) all.push_back(c.value);
  return all;
}

void ParameterStore::count(const std::vector<int64_t>& by) {
  for (size_t i = 0; i < counters_.size(); ++i) counters_[i].value += by.at(i);
  ++version;
}

void ParameterStore::uncount(const std::vector<int64_t>& by) {
  for (size_t i = 0; i < counters_.size(); ++i) counters_[i].value -= by.at(i);
}

void ParameterStore::bind(Tape& tape) const {
  check(grads.defined(), "this model was made for inference, so it has no memory for gradients");
  for (const Parameter& p : parameters_) {
    if (p.value.requires_grad()) tape.bind(p.value, p.grad);
  }
}

int ParameterStore::freeze(std::span<const std::string> patterns) {
  for (const std::string& pattern : patterns) {
    bool found = false;
    for (Parameter& p : parameters_) {
      if (!fits(pattern, p.name)) continue;
      p.value.set_requires_grad(false);
      found = true;
    }
    check_field(found, "freeze", "{}: matches none of the {} parameters, whose names are {} to {}", pattern,
                parameters_.size(), parameters_.front().name, parameters_.back().name);
  }
  const auto frozen =
      std::count_if(parameters_.begin(), parameters_.end(), [](const auto& p) { return !p.value.requires_grad(); });
  check_field(frozen < static_cast<int64_t>(parameters_.size()), "freeze",
              "{}: matches all {} parameters, so nothing is left to learn", fmt::join(patterns, " "),
              parameters_.size());
  return static_cast<int>(frozen);
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
