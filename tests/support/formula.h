// Weights that are computed from their names, so that a network can be checked to the last digit without a weight file
// (oracle/forward/README.md describes the formula).
#pragma once
#include <string_view>

#include "hrnet/model/model.h"
#include "tests/support/parameters.h"

namespace hr::test {

inline uint64_t fnv1a64(std::string_view s) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

// Returns a uniform number in [0, 1): element i of the stream with the hash of this name.
inline double unit(uint64_t hash, uint64_t i) {
  uint64_t z = hash + i + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

// Tells whether this is the last batch norm of a residual branch or of a fuse path. Its weight is small, so that sums
// stay in range.
inline bool is_last_bn(const std::string& name) {
  if (name.ends_with("bn3.weight")) return true;
  if (name.find(".branches.") != std::string::npos) return name.ends_with("bn2.weight");
  const size_t at = name.find("fuse_layers.");
  if (at == std::string::npos) return false;
  // fuse_layers.i.j.1.weight (up) or fuse_layers.i.j.k.1.weight (down)
  const std::string rest = name.substr(at + 12);
  const int i = rest[0] - '0', j = rest[2] - '0';
  if (i < j) return rest.substr(3) == ".1.weight";
  return i > j && rest.substr(3) == fmt::format(".{}.1.weight", i - j - 1);
}

inline void fill_by_formula(ParameterStore& store) {
  for (const auto& e : store.entries()) {
    const std::string& name = e.name();
    const uint64_t h = fnv1a64(name);
    if (e.counter != nullptr) {
      e.counter->value = 0;
      continue;
    }
    if (e.buffer != nullptr) {
      const bool variance = name.ends_with("running_var");
      for (int64_t i = 0; i < e.buffer->channels; ++i) {
        const double u = unit(h, i);
        e.buffer->value.data<float>()[i] = static_cast<float>(variance ? 0.5 + u : 0.2 * (2 * u - 1));
      }
      continue;
    }
    const Parameter& p = *e.parameter;
    double from = 0.5, width = 1;  // weights of a batch norm
    if (p.layout != ParameterLayout::plain) {
      const auto taps = static_cast<double>(p.torch_shape[2] * p.torch_shape[3]);
      const double fan_in = p.layout == ParameterLayout::deconv_filter
                                ? static_cast<double>(p.torch_shape[0]) * taps / 4
                                : static_cast<double>(p.torch_shape[1]) * taps;
      const double range = std::sqrt(3 / fan_in) * (name == "final_layer.weight" ? 0.5 : std::sqrt(2.0));
      from = -range;
      width = 2 * range;
    } else if (name.ends_with(".bias")) {
      const double range = name == "final_layer.bias" ? 0.1 : 0.2;
      from = -range;
      width = 2 * range;
    } else if (is_last_bn(name)) {
      from *= 0.125;
      width *= 0.125;
    }
    float* v = p.value.data<float>();
    in_torch_order(p,
                   [&](int64_t torch, int64_t ours) { v[ours] = static_cast<float>(from + width * unit(h, torch)); });
  }
  ++store.version;
}

// Allocates without the many random numbers of the official initialisation, and then fills in the formula's numbers.
inline void allocate_by_formula(Context& cx, ParameterStore& store) {
  store.allocate(cx, 0, Init::none);
  fill_by_formula(store);
}

// Returns [N, H, W, 3]; the formula counts elements in the order N, C, H, W.
inline Tensor input_by_formula(const Context& cx, int64_t n, int64_t h, int64_t w) {
  const uint64_t hash = fnv1a64("input");
  Values v(static_cast<size_t>(n * 3 * h * w));
  for (size_t i = 0; i < v.size(); ++i) v[i] = 4 * unit(hash, i) - 2;
  return make(cx, {n, h, w, 3}, DType::f32, second_to_last(v, {n, 3, h, w}));
}

}  // namespace hr::test
