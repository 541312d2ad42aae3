#include "ops/conv/conv2d.h"
#include "ops/conv/dnnl_conv.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/gradients.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::Values;

struct Geometry {
  int64_t n, h, w, in, out;
  int kernel = 3, stride = 1, pad = 1;
  bool transposed = false;

  int64_t out_h() const {
    return transposed ? (h - 1) * stride - 2 * pad + kernel : (h + 2 * pad - kernel) / stride + 1;
  }
  int64_t out_w() const {
    return transposed ? (w - 1) * stride - 2 * pad + kernel : (w + 2 * pad - kernel) / stride + 1;
  }
  Shape x_shape() const { return {n, h, w, in}; }
  Shape filter_shape() const { return {out, kernel, kernel, in}; }
  Shape y_shape() const { return {n, out_h(), out_w(), out}; }
  std::string name() const {
    return fmt::format("{}x{}x{}x{} to {}, kernel {}, stride {}, pad {}{}", n, h, w, in, out, kernel, stride, pad,
                       transposed ? ", transposed" : "");
  }
};

// The reference calls visit(index into y, into x, into the filter) for every product that the convolution adds up.
template <class Visit>
void each_product(const Geometry& g, const Visit& visit) {
  const int64_t many_h = g.transposed ? g.h : g.out_h(), many_w = g.transposed ? g.w : g.out_w();
  const int64_t other_h = g.transposed ? g.out_h() : g.h, other_w = g.transposed ? g.out_w() : g.w;
  for (int64_t n = 0; n < g.n; ++n) {
    for (int64_t a = 0; a < many_h; ++a) {
      for (int64_t b = 0; b < many_w; ++b) {
        for (int ky = 0; ky < g.kernel; ++ky) {
          for (int kx = 0; kx < g.kernel; ++kx) {
            const int64_t v = a * g.stride - g.pad + ky, u = b * g.stride - g.pad + kx;
            if (v < 0 || v >= other_h || u < 0 || u >= other_w) continue;
            const int64_t many = (n * many_h + a) * many_w + b, other = (n * other_h + v) * other_w + u;
            const int64_t y = g.transposed ? other : many, x = g.transposed ? many : other;
            for (int64_t o = 0; o < g.out; ++o) {
              for (int64_t i = 0; i < g.in; ++i)
                visit(y * g.out + o, x * g.in + i, ((o * g.kernel + ky) * g.kernel + kx) * g.in + i);
            }
          }
        }
      }
    }
  }
}

// A sum of products, the sum of their magnitudes, and their number, from which a rounding bound is computed.
struct Sums {
  Values value, size, count;
  explicit Sums(int64_t n) : value(n), size(n), count(n) {}
  void add(int64_t at, double v) {
    value[at] += v;
    size[at] += std::abs(v);
    ++count[at];
  }
};

// Checks |actual - exact| <= unit(output) |exact| + count * 2^-24 * sum of |products|. Products of two bf16 numbers are
// exact in f32, and sums are in f32 in both precisions.
testing::AssertionResult within_rounding(const Tensor& actual, const Sums& exact, double extra_roundings = 0) {
  const Values got = test::values(actual);
  if (got.size() != exact.value.size()) return testing::AssertionFailure() << "size " << got.size();
  for (size_t i = 0; i < got.size(); ++i) {
    const double tolerance = (1 + extra_roundings) * test::rounding(actual.dtype()) * std::abs(exact.value[i]) +
                             (exact.count[i] + 4) * 0x1p-24 * exact.size[i] * (1 + test::rounding(actual.dtype()));
    if (!(std::abs(got[i] - exact.value[i]) <= tolerance)) {
      return testing::AssertionFailure() << "element " << i << " of " << got.size() << ": " << got[i] << ", expected "
                                         << exact.value[i] << " +- " << tolerance;
    }
  }
  return testing::AssertionSuccess();
}

Tensor convolve(Context& cx, const Geometry& g, const Tensor& x, const Tensor& filter, Conv2d o = {}) {
  o.stride = g.stride;
  o.pad = g.pad;
  return g.transposed ? conv_transpose2d(cx, x, filter, o) : conv2d(cx, x, filter, o);
}

std::vector<Geometry> geometries() {
  std::vector<Geometry> list;
  for (const auto& [h, w] : {std::pair{1, 1}, {3, 3}, {7, 5}}) {
    for (const int kernel : {1, 3}) {
      for (const int stride : {1, 2}) {
        const int pad = kernel / 2;
        list.push_back({1, h, w, 1, 1, kernel, stride, pad});
        list.push_back({3, h, w, 3, 17, kernel, stride, pad});
        list.push_back({1, h, w, 17, 33, kernel, stride, pad});
        list.push_back({3, h, w, 33, 3, kernel, stride, pad});
        list.push_back({1, h, w, 32, 64, kernel, stride, pad});  // sizes with packed layouts
      }
    }
  }
  // The inputs are so small that they never meet some taps of the filter. The gradient of these taps must be zero, not
  // whatever the memory held.
  for (const auto& [h, w] : {std::pair{1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 5}, {6, 1}}) {
    for (const int kernel : {3, 7}) {
      for (const int stride : {1, 2}) {
        list.push_back({2, h, w, 3, 16, kernel, stride, kernel / 2});
        list.push_back({2, h, w, 32, 32, kernel, stride, kernel / 2});
      }
    }
  }
  list.push_back({1, 3, 3, 3, 3, 3, 1, 0});
  list.push_back({2, 8, 6, 3, 64, 3, 2, 1});  // even sizes: stride 2 does not reach the last row
  list.push_back({2, 11, 12, 3, 17, 7, 2, 3});
  for (const auto& [in, out] : {std::pair{1, 1}, {3, 17}, {33, 3}, {32, 64}}) {
    list.push_back({1, 1, 1, in, out, 4, 2, 1, true});
    list.push_back({3, 7, 5, in, out, 4, 2, 1, true});
    list.push_back({1, 3, 3, in, out, 2, 2, 0, true});
    list.push_back({1, 3, 3, in, out, 3, 1, 1, true});
  }
  return list;
}

TEST(Conv2d, ForwardAndBackwardAreThePlainSumsAtOddSizes) {
  uint64_t seed = 1;
  for (const Geometry& g : geometries()) {
    for (const DType t : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(g.name() + (t == DType::bf16 ? ", bf16" : ""));
      const Values x = test::random_values(numel(g.x_shape()), ++seed, t);
      const Values filter = test::random_values(numel(g.filter_shape()), ++seed, t);
      const Values bias = test::random_values(g.out, ++seed);
      const Values dy = test::random_values(numel(g.y_shape()), ++seed, t);
      Sums y(numel(g.y_shape())), dx(numel(g.x_shape())), dfilter(numel(g.filter_shape())), dbias(g.out);
      each_product(g, [&](int64_t iy, int64_t ix, int64_t k) {
        y.add(iy, x[ix] * filter[k]);
        dx.add(ix, dy[iy] * filter[k]);
        dfilter.add(k, dy[iy] * x[ix]);
      });
      for (size_t i = 0; i < dy.size(); ++i) {
        y.add(i, bias[i % g.out]);
        dbias.add(i % g.out, dy[i]);
      }

      test::Recording r;
      Tensor tx = test::make(r.cx, g.x_shape(), t, x);
      Tensor tf = test::make(r.cx, g.filter_shape(), DType::f32, filter);
      Tensor tb = test::make(r.cx, {g.out}, DType::f32, bias);
      const auto got_dx = test::watch(r.cx, tx);
      const auto got_dfilter = test::watch(r.cx, tf);
      const auto got_dbias = test::watch(r.cx, tb);
      const Tensor ty = convolve(r.cx, g, tx, tf, {.bias = &tb});
      ASSERT_EQ(ty.shape(), g.y_shape());
      ASSERT_EQ(ty.dtype(), t);
      EXPECT_TRUE(within_rounding(ty, y));
      r.tape.backward(r.cx, test::weighted_sum(r.cx, {{ty, test::make(r.cx, g.y_shape(), t, dy)}}));
      EXPECT_TRUE(within_rounding(*got_dx, dx)) << "dx";
      EXPECT_TRUE(within_rounding(*got_dfilter, dfilter)) << "dfilter";
      EXPECT_TRUE(within_rounding(*got_dbias, dbias)) << "dbias";
      EXPECT_EQ(got_dx->dtype(), t);
      EXPECT_EQ(got_dfilter->dtype(), DType::f32) << "parameters' gradients are float32 in every precision";
    }
  }
}

TEST(Conv2d, DerivativeIsTheFiniteDifference) {
  for (const Geometry& g :
       {Geometry{1, 1, 1, 3, 1, 3, 1, 1}, Geometry{1, 7, 5, 3, 2, 3, 2, 1}, Geometry{3, 3, 3, 2, 3, 1, 2, 0},
        Geometry{1, 5, 4, 2, 3, 7, 2, 3}, Geometry{1, 2, 3, 3, 2, 4, 2, 1, true}}) {
    SCOPED_TRACE(g.name());
    const test::Function f = [&](const std::vector<Values>& in) {
      Values y(numel(g.y_shape()));
      each_product(g, [&](int64_t iy, int64_t ix, int64_t k) { y[iy] += in[0][ix] * in[1][k]; });
      for (size_t i = 0; i < y.size(); ++i) y[i] += in[2][i % g.out];
      return y;
    };
    const std::vector<Values> in{test::random_values(numel(g.x_shape()), 1),
                                 test::random_values(numel(g.filter_shape()), 2), test::random_values(g.out, 3)};
    const Values dy = test::random_values(numel(g.y_shape()), 4);
    test::Recording r;
    Tensor x = test::make(r.cx, g.x_shape(), DType::f32, in[0]);
    Tensor filter = test::make(r.cx, g.filter_shape(), DType::f32, in[1]);
    Tensor bias = test::make(r.cx, {g.out}, DType::f32, in[2]);
    const std::shared_ptr<Tensor> got[] = {test::watch(r.cx, x), test::watch(r.cx, filter), test::watch(r.cx, bias)};
    const Tensor y = convolve(r.cx, g, x, filter, {.bias = &bias});
    r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, g.y_shape(), DType::f32, dy)}}));
    for (size_t k = 0; k < 3; ++k) {
      // A sum has at most 60 products of size below 1. The finite differences cost one more digit.
      EXPECT_TRUE(test::close(test::values(*got[k]), test::finite_difference(f, in, k, dy), 60 * 60 * 0x1p-24)) << k;
    }
  }
}

TEST(Conv2d, EpilogueAddsBiasAndSummandThenCutsAtZero) {
  for (const Geometry& g : {Geometry{3, 7, 5, 17, 33}, Geometry{1, 3, 3, 3, 1, 1, 2, 0}, Geometry{2, 8, 6, 32, 32},
                            Geometry{1, 3, 5, 8, 16, 4, 2, 1, true}}) {
    for (const DType t : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(g.name() + (t == DType::bf16 ? ", bf16" : ""));
      Context cx;
      const Values x = test::random_values(numel(g.x_shape()), 1, t);
      const Values filter = test::random_values(numel(g.filter_shape()), 2, t);
      const Values bias = test::random_values(g.out, 3), add = test::random_values(numel(g.y_shape()), 4, t, -3, 3);
      const Tensor tx = test::make(cx, g.x_shape(), t, x);
      const Tensor tf = test::make(cx, g.filter_shape(), DType::f32, filter);
      const Tensor tb = test::make(cx, {g.out}, DType::f32, bias), ta = test::make(cx, g.y_shape(), t, add);
      for (int variant = 0; variant < 8; ++variant) {
        SCOPED_TRACE(variant);
        const bool with_bias = (variant & 1) != 0, with_add = (variant & 2) != 0, relu = (variant & 4) != 0;
        Sums y(numel(g.y_shape()));
        each_product(g, [&](int64_t iy, int64_t ix, int64_t k) { y.add(iy, x[ix] * filter[k]); });
        for (size_t i = 0; i < y.value.size(); ++i) {
          if (with_bias) y.add(i, bias[i % g.out]);
          if (with_add) y.add(i, add[i]);
          if (relu) y.value[i] = std::max(0.0, y.value[i]);
        }
        const Conv2d options{.bias = with_bias ? &tb : nullptr, .add = with_add ? &ta : nullptr, .relu = relu};
        EXPECT_TRUE(within_rounding(convolve(cx, g, tx, tf, options), y));
        PackedFilters packed;
        Conv2d keeping = options;
        keeping.packed = &packed;
        for (int repeat = 0; repeat < 2; ++repeat)
          EXPECT_TRUE(within_rounding(convolve(cx, g, tx, tf, keeping), y)) << "packed, call " << repeat;
      }
    }
  }
}

// One set of packed filters serves several input sizes (an image of another shape, a smaller last batch), both
// precisions and every epilogue.
TEST(Conv2d, PackedFiltersServeEveryInput) {
  Context cx;
  PackedFilters packed;
  const Values filter = test::random_values(int64_t{32} * 9 * 32, 2, DType::bf16);
  const Tensor tf = test::make(cx, {32, 3, 3, 32}, DType::f32, filter);
  for (const Geometry& g : {Geometry{2, 8, 6, 32, 32}, Geometry{1, 8, 6, 32, 32}, Geometry{2, 7, 5, 32, 32},
                            Geometry{2, 8, 6, 32, 32, 3, 2, 1}, Geometry{2, 8, 6, 32, 32}}) {
    for (const DType t : {DType::f32, DType::bf16}) {
      for (const bool relu : {false, true}) {
        const Values x = test::random_values(numel(g.x_shape()), 1, t);
        Sums y(numel(g.y_shape()));
        each_product(g, [&](int64_t iy, int64_t ix, int64_t k) { y.add(iy, x[ix] * filter[k]); });
        for (double& v : y.value) v = relu ? std::max(0.0, v) : v;
        const Tensor tx = test::make(cx, g.x_shape(), t, x);
        EXPECT_TRUE(within_rounding(convolve(cx, g, tx, tf, {.relu = relu, .packed = &packed}), y))
            << g.name() << " " << name_of(t);
      }
    }
  }
}

// The first call of a shape compiles. If that fails, the second call must fail for the same reason.
TEST(Conv2d, AConvolutionThatCannotBeCompiledIsRefusedEveryTime) {
  Context cx;
  DnnlConv conv;
  const ConvGeometry g{.n = 1, .h = 4, .w = 4, .ci = 1, .co = 1, .src = DType::i32};
  const std::vector<float> x(16), filter(1);
  std::vector<float> y(16);
  for (int call = 0; call < 3; ++call) {
    try {
      conv.forward(cx, g, x.data(), {filter.data()}, nullptr, nullptr, ConvAct::none, y.data(), nullptr);
      ADD_FAILURE() << "call " << call;
    } catch (const std::exception& e) {
      EXPECT_NE(std::string(e.what()).find("expected f32 or bf16"), std::string::npos) << call << ": " << e.what();
    }
  }
}

TEST(Conv2d, HeatmapsStayFloat32UnderBf16InBothDirections) {
  const Geometry g{3, 7, 5, 33, 17, 1, 1, 0};
  const Values x = test::random_values(numel(g.x_shape()), 1, DType::bf16);
  const Values filter = test::random_values(numel(g.filter_shape()), 2, DType::bf16);
  const Values dy = test::random_values(numel(g.y_shape()), 3, DType::bf16);
  Sums y(numel(g.y_shape())), dfilter(numel(g.filter_shape()));
  each_product(g, [&](int64_t iy, int64_t ix, int64_t k) {
    y.add(iy, x[ix] * filter[k]);
    dfilter.add(k, dy[iy] * x[ix]);
  });
  test::Recording r;
  const Tensor tx = test::make(r.cx, g.x_shape(), DType::bf16, x);
  Tensor tf = test::make(r.cx, g.filter_shape(), DType::f32, filter);
  const auto got = test::watch(r.cx, tf);
  const Tensor ty = convolve(r.cx, g, tx, tf, {.f32_output = true});
  ASSERT_EQ(ty.dtype(), DType::f32);
  EXPECT_TRUE(within_rounding(ty, y));
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{ty, test::make(r.cx, g.y_shape(), DType::f32, dy)}}));
  EXPECT_TRUE(within_rounding(*got, dfilter));
}

TEST(Conv2d, AnInputUsedSeveralTimesReceivesTheSum) {
  const Geometry g{3, 7, 5, 17, 3, 3, 2, 1};
  for (const DType t : {DType::f32, DType::bf16}) {
    for (int uses = 2; uses <= 6; ++uses) {
      SCOPED_TRACE(fmt::format("{} uses, {}", uses, name_of(t)));
      test::Recording r;
      Sums dx(numel(g.x_shape()));
      Tensor x = test::make(r.cx, g.x_shape(), t, test::random_values(numel(g.x_shape()), 1, t));
      const auto got = test::watch(r.cx, x);
      std::vector<test::Cotangent> outputs;
      for (int k = 0; k < uses; ++k) {
        const Values filter = test::random_values(numel(g.filter_shape()), 10 + k, t);
        const Values dy = test::random_values(numel(g.y_shape()), 20 + k, t);
        each_product(g, [&](int64_t iy, int64_t ix, int64_t f) { dx.add(ix, dy[iy] * filter[f]); });
        const Tensor tf = test::make(r.cx, g.filter_shape(), DType::f32, filter);
        outputs.push_back({convolve(r.cx, g, x, tf), test::make(r.cx, g.y_shape(), t, dy)});
      }
      r.tape.backward(r.cx, test::weighted_sum(r.cx, outputs));
      // Each addend and each running sum is rounded to the activations' type.
      const double tolerance = 2 * uses * test::rounding(t) * *std::max_element(dx.size.begin(), dx.size.end()) +
                               100 * 0x1p-24 * *std::max_element(dx.size.begin(), dx.size.end());
      EXPECT_TRUE(test::close(test::values(*got), dx.value, tolerance));
    }
  }
}

// A filter that several convolutions use collects the sum of their gradients, bound or not, and so does its bias.
TEST(Conv2d, AFilterUsedTwiceAddsUp) {
  const Geometry first{3, 7, 5, 17, 33}, second{1, 3, 3, 17, 33, 3, 2, 1};
  for (const bool bound : {false, true}) {
    SCOPED_TRACE(bound ? "bound" : "free");
    test::Recording r;
    const Values filter = test::random_values(numel(first.filter_shape()), 1), bias = test::random_values(33, 2);
    Tensor tf = test::make(r.cx, first.filter_shape(), DType::f32, filter);
    Tensor tb = test::make(r.cx, {33}, DType::f32, bias);
    auto got_filter = test::watch(r.cx, tf);
    auto got_bias = test::watch(r.cx, tb);
    if (bound) {
      *got_filter = test::make(r.cx, tf.shape(), DType::f32, Values(filter.size(), 777));
      *got_bias = test::make(r.cx, tb.shape(), DType::f32, Values(33, 777));
      r.tape.clear();
      r.tape.bind(tf, *got_filter);
      r.tape.bind(tb, *got_bias);
    }
    Sums dfilter(numel(first.filter_shape())), dbias(33);
    std::vector<test::Cotangent> outputs;
    for (const Geometry& g : {first, second, first}) {
      const Values x = test::random_values(numel(g.x_shape()), 30 + outputs.size());
      const Values dy = test::random_values(numel(g.y_shape()), 40 + outputs.size());
      each_product(g, [&](int64_t iy, int64_t ix, int64_t k) { dfilter.add(k, dy[iy] * x[ix]); });
      for (size_t i = 0; i < dy.size(); ++i) dbias.add(i % 33, dy[i]);
      const Tensor tx = test::make(r.cx, g.x_shape(), DType::f32, x);
      outputs.push_back({convolve(r.cx, g, tx, tf, {.bias = &tb}), test::make(r.cx, g.y_shape(), DType::f32, dy)});
    }
    r.tape.backward(r.cx, test::weighted_sum(r.cx, outputs));
    EXPECT_TRUE(within_rounding(*got_filter, dfilter, 2));
    EXPECT_TRUE(within_rounding(*got_bias, dbias, 2));
  }
}

TEST(Conv2d, ABiasLearnsWithoutItsFilter) {
  const Geometry g{1, 3, 3, 3, 5, 1, 1, 0};
  test::Recording r;
  const Tensor x = test::make(r.cx, g.x_shape(), DType::f32, test::random_values(27, 1));
  const Tensor filter = test::make(r.cx, g.filter_shape(), DType::f32, test::random_values(15, 2));
  Tensor bias = r.cx.zeros({5}, DType::f32);
  const auto got = test::watch(r.cx, bias);
  const Values dy = test::random_values(45, 3);
  Sums dbias(5);
  for (size_t i = 0; i < dy.size(); ++i) dbias.add(i % 5, dy[i]);
  const Tensor y = convolve(r.cx, g, x, filter, {.bias = &bias});
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, g.y_shape(), DType::f32, dy)}}));
  ASSERT_TRUE(got->defined());
  EXPECT_TRUE(within_rounding(*got, dbias));
}

TEST(Conv2d, NothingIsRecordedWithoutNeed) {
  const Geometry g{1, 3, 3, 3, 5};
  test::Recording r;
  const Tensor x = test::make(r.cx, g.x_shape(), DType::f32, Values(27, 1));
  const Tensor filter = test::make(r.cx, g.filter_shape(), DType::f32, Values(135, 1));
  EXPECT_FALSE(convolve(r.cx, g, x, filter).requires_grad());
  EXPECT_EQ(r.tape.size(), 0u);
}

TEST(Conv2d, RefusesWhatDoesNotFit) {
  Context cx;
  const auto zeros = [&](Shape s, DType t = DType::f32) { return cx.zeros(std::move(s), t); };
  const Tensor x = zeros({1, 4, 4, 3}), filter = zeros({5, 3, 3, 3});
  try {
    conv2d(cx, x, zeros({5, 3, 3, 4}), {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "conv2d: expected 4 input channels, got 3");
  }
  EXPECT_THROW(conv2d(cx, zeros({4, 4, 3}), filter, {}), Error);
  EXPECT_THROW(conv2d(cx, x, zeros({5, 3, 3, 3}, DType::bf16), {}), Error);
  EXPECT_THROW(conv2d(cx, zeros({1, 2, 2, 3}), filter, {}), Error) << "smaller than the kernel";
  EXPECT_THROW(conv2d(cx, zeros({0, 4, 4, 3}), filter, {}), Error) << "an empty batch";
  EXPECT_THROW(conv2d(cx, x, filter, {.stride = 0}), Error);
  EXPECT_THROW(conv2d(cx, zeros({1, 4, 4, 3}, DType::u8), filter, {}), Error);
  const Tensor bias = zeros({4}), add = zeros({1, 4, 4, 5});
  EXPECT_THROW(conv2d(cx, x, filter, {.bias = &bias}), Error);
  EXPECT_THROW(conv2d(cx, x, filter, {.add = &add}), Error) << "the output is 2x2";
  Context cuda;
  cuda.device.type = Device::Type::cuda;
  EXPECT_THROW(conv2d(cuda, x, filter, {}), Error);

  test::Recording r;
  Tensor learned = zeros({5, 3, 3, 3});
  learned.set_requires_grad(true);
  EXPECT_THROW(conv2d(r.cx, x, learned, {.pad = 1, .relu = true}), Error) << "the epilogue has no derivative";
}

TEST(Conv2d, LayersMatchTheGoldenData) {
  HR_NEEDS_ORACLE("train/layers.safetensors");
  const SafetensorsFile golden(test::oracle("train/layers.safetensors"));
  struct Layer {
    std::string name;
    Conv2d options;
    bool transposed = false;
  };
  for (const Layer& layer :
       {Layer{"conv3x3", {.pad = 1}}, Layer{"conv3x3_s2", {.stride = 2, .pad = 1}},
        Layer{"conv3x3_s2_even", {.stride = 2, .pad = 1}}, Layer{"conv1x1", {}}, Layer{"conv1x1_bias", {}},
        Layer{"conv1x1_s2", {.stride = 2}}, Layer{"conv7x7_s2", {.stride = 2, .pad = 3}},
        Layer{"deconv4x4_s2", {.stride = 2, .pad = 1}, true}, Layer{"deconv2x2_s2", {.stride = 2}, true}}) {
    SCOPED_TRACE(layer.name);
    const auto at = [&](const std::string& what) -> const ArrayView& { return golden.at(layer.name + "." + what); };
    const auto near = [&](const Tensor& actual, const Values& expected) {
      return test::close(test::values(actual), expected, 1e-5 * test::max_abs(expected));
    };
    test::Recording r;
    Tensor x = test::make(r.cx, at("x"));
    Tensor filter = layer.transposed ? test::make_deconv(r.cx, at("weight")) : test::make(r.cx, at("weight"));
    const bool has_bias = golden.contains(layer.name + ".bias");
    Tensor bias = has_bias ? test::make(r.cx, at("bias")) : Tensor();
    const auto dx = test::watch(r.cx, x);
    const auto dfilter = test::watch(r.cx, filter);
    const auto dbias = has_bias ? test::watch(r.cx, bias) : nullptr;
    Conv2d options = layer.options;
    if (has_bias) options.bias = &bias;
    const Tensor y = layer.transposed ? conv_transpose2d(r.cx, x, filter, options) : conv2d(r.cx, x, filter, options);
    EXPECT_TRUE(near(y, test::ours(at("y"))));
    r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, at("dy"))}}));
    EXPECT_TRUE(near(*dx, test::ours(at("dx"))));
    const ArrayView& d = at("d_weight");
    EXPECT_TRUE(near(*dfilter, layer.transposed ? test::first_to_last(d.to_f64(), d.shape) : test::ours(d)));
    if (has_bias) {
      EXPECT_TRUE(near(*dbias, test::ours(at("d_bias"))));
    }
  }
}

}  // namespace
}  // namespace hr
