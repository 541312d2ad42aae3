#include "tests/support/conv_stand_in.h"

#include <vector>

namespace hr::test {
namespace {

std::vector<float> floats(const void* from, int64_t n, DType t) {
  std::vector<float> out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    out[i] =
        t == DType::f32 ? static_cast<const float*>(from)[i] : static_cast<float>(static_cast<const bf16*>(from)[i]);
  return out;
}

void put(const std::vector<float>& from, void* out, DType t) {
  for (size_t i = 0; i < from.size(); ++i) {
    if (t == DType::f32) {
      static_cast<float*>(out)[i] = from[i];
    } else {
      static_cast<bf16*>(out)[i] = static_cast<bf16>(from[i]);
    }
  }
}

// [a, taps, b] -> [b, taps, a]
std::vector<float> ends_swapped(const std::vector<float>& from, int64_t a, int64_t taps, int64_t b) {
  std::vector<float> to(from.size());
  for (int64_t i = 0; i < a; ++i) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t k = 0; k < b; ++k) to[(k * taps + t) * a + i] = from[(i * taps + t) * b + k];
    }
  }
  return to;
}

}  // namespace

void compute_convolution(const ConvProblem& p, const ConvBuffers& buffers) {
  using Pass = ConvProblem::Pass;
  ConvGeometry g = p.geometry;
  const DType src = g.src, dst = g.dst;
  g.src = g.dst = DType::f32;
  const int64_t taps = g.kh * g.kw, x_size = g.n * g.h * g.w * g.ci, y_size = g.n * g.out_h() * g.out_w() * g.co,
                filter_size = g.co * taps * g.ci;
  // It caches compiled primitives. Sums are direct: by another method, which may be chosen by measuring, two threads or
  // two runs could get other bits.
  thread_local Context cx = [] {
    Context direct;
    direct.exact = true;
    return direct;
  }();
  ConvBackend& conv = conv_backend(cx);
  std::vector<float> filter;
  if (p.pass != Pass::backward_filter) {
    filter = floats(buffers.filter, filter_size, src);
    if (g.transposed) filter = ends_swapped(filter, g.ci, taps, g.co);
  }
  const ConvFilter both{filter.data(), nullptr};
  switch (p.pass) {
    case Pass::forward: {
      const auto x = floats(buffers.x, x_size, src), add = p.add ? floats(buffers.add, y_size, dst) : filter,
                 bias = p.bias ? floats(buffers.bias, g.co, dst) : filter;
      std::vector<float> y(static_cast<size_t>(y_size));
      conv.forward(cx, g, x.data(), both, p.bias ? bias.data() : nullptr, p.add ? add.data() : nullptr,
                   p.relu ? ConvAct::relu : ConvAct::none, y.data(), nullptr);
      return put(y, buffers.out, dst);
    }
    case Pass::backward_data: {
      const auto dy = floats(buffers.y, y_size, src);
      std::vector<float> dx(static_cast<size_t>(x_size));
      conv.backward_data(cx, g, dy.data(), both, dx.data());
      return put(dx, buffers.out, src);
    }
    case Pass::backward_filter: {
      const auto x = floats(buffers.x, x_size, src), dy = floats(buffers.y, y_size, src);
      std::vector<float> gradient(static_cast<size_t>(filter_size));
      conv.backward_filter(cx, g, x.data(), dy.data(), gradient.data(), nullptr);
      if (g.transposed) gradient = ends_swapped(gradient, g.co, taps, g.ci);
      return put(gradient, buffers.out, dst);
    }
  }
}

}  // namespace hr::test
