// Parameters in torch's element order. The permutation is written here independently of nn/state_dict, on purpose.
#pragma once
#include "nn/parameters.h"
#include "tests/support/tensors.h"

namespace hr::test {

// Returns the index in our tensor of the element at (a, b, y, x) of torch's.
inline int64_t our_index(const Parameter& p, int64_t a, int64_t b, int64_t y, int64_t x) {
  const Shape s = p.shape();  // [O, kh, kw, I]
  const int64_t o = p.layout == ParameterLayout::filter ? a : b, i = p.layout == ParameterLayout::filter ? b : a;
  return ((o * s[1] + y) * s[2] + x) * s[3] + i;
}

// Calls visit(torch index, our index) for every element.
template <class Visit>
void in_torch_order(const Parameter& p, const Visit& visit) {
  const Shape& s = p.torch_shape;
  int64_t at = 0;
  if (p.layout == ParameterLayout::plain) {
    for (; at < numel(s); ++at) visit(at, at);
    return;
  }
  for (int64_t a = 0; a < s[0]; ++a) {
    for (int64_t b = 0; b < s[1]; ++b) {
      for (int64_t y = 0; y < s[2]; ++y) {
        for (int64_t x = 0; x < s[3]; ++x) visit(at++, our_index(p, a, b, y, x));
      }
    }
  }
}

// Returns the values of `t` (p's value, gradient or moment) in torch's order.
inline Values torch_order(const Parameter& p, const Tensor& t) {
  Values v(static_cast<size_t>(t.numel()));
  in_torch_order(p, [&](int64_t torch, int64_t ours) { v[torch] = t.data<float>()[ours]; });
  return v;
}

}  // namespace hr::test
