// Shapes and numbers for the tests of 3x3 convolutions.
#pragma once
#include "ops/conv/backend.h"
#include "tests/support/tensors.h"

namespace hr::test {

using Floats = std::vector<float>;

inline Floats numbers(int64_t n, uint64_t seed) {
  const Values v = random_values(n, seed, DType::f32);
  return Floats(v.begin(), v.end());
}

inline ConvGeometry geometry(int64_t n, int64_t h, int64_t w, int64_t ci, int64_t co, int64_t pad = 1) {
  return {.n = n, .h = h, .w = w, .ci = ci, .co = co, .kh = 3, .kw = 3, .stride = 1, .pad = pad};
}
inline std::string name_of(const ConvGeometry& g) {
  return fmt::format("[{}, {}, {}, {}] -> {}, pad {}", g.n, g.h, g.w, g.ci, g.co, g.pad);
}
inline int64_t x_size(const ConvGeometry& g) { return g.n * g.h * g.w * g.ci; }
inline int64_t y_size(const ConvGeometry& g) { return g.n * g.out_h() * g.out_w() * g.co; }
inline int64_t filter_size(const ConvGeometry& g) { return g.co * 9 * g.ci; }

}  // namespace hr::test
