// Compares the matrix product that replaces a 1x1 convolution, computed by a plain loop, with the convolution itself.
#include "ops/conv/gemm.h"

#include <gtest/gtest.h>

#include "ops/conv/conv2d.h"
#include "tests/support/gradients.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;
using test::Values;

struct Numbers {
  Values x, filter, y, bias, add;
  const Values& at(const void* ConvBuffers::*where) const {
    return where == &ConvBuffers::x ? x : where == &ConvBuffers::filter ? filter : y;
  }
};

// D = relu?(op(A) op(B) + C? + bias?), as ops/conv/gemm.h defines it. An element that is not written is NaN, and an
// access outside of a matrix throws.
Values multiply(const ConvGemm& g, const ConvProblem& p, const Numbers& in) {
  Values d(static_cast<size_t>(g.m * g.n), std::nan(""));
  for (int64_t j = 0; j < g.n; ++j) {
    for (int64_t i = 0; i < g.m; ++i) {
      const int64_t to = i + j * g.ldd;
      double sum = (p.add ? in.add.at(to) : 0) + (p.bias ? in.bias.at(i) : 0);
      for (int64_t l = 0; l < g.k; ++l)
        sum += in.at(g.a).at(g.transpose_a ? l + i * g.lda : i + l * g.lda) *
               in.at(g.b).at(g.transpose_b ? j + l * g.ldb : l + j * g.ldb);
      d.at(to) = p.relu ? std::max(0.0, sum) : sum;
    }
  }
  return d;
}

// k products of numbers up to 1, a bias and an addend, in f32 sums of any order, rounded to `t`.
testing::AssertionResult same(const Tensor& actual, const Values& expected, int64_t k) {
  const double terms = static_cast<double>(k) + 4;
  return test::close(test::values(actual), expected,
                     test::rounding(actual.dtype()) * test::max_abs(expected) + terms * terms * 0x1p-24);
}

struct Sizes {
  int64_t n, h, w, ci, co;
};
constexpr Sizes kSizes[] = {{1, 1, 1, 1, 1},   {3, 7, 5, 3, 17},  {2, 3, 1, 33, 8},
                            {1, 5, 3, 17, 33}, {2, 4, 3, 32, 64}, {1, 1, 2, 1, 5}};

ConvProblem problem(const Sizes& s, Pass pass, DType src, DType dst) {
  return {{.n = s.n, .h = s.h, .w = s.w, .ci = s.ci, .co = s.co, .src = src, .dst = dst}, pass};
}

Numbers numbers(const Sizes& s, DType src, DType dst) {
  const int64_t rows = s.n * s.h * s.w;
  return {.x = test::random_values(rows * s.ci, 1, src),
          .filter = test::random_values(s.co * s.ci, 2, src),
          .y = test::random_values(rows * s.co, 3, src),
          .bias = test::random_values(s.co, 4),
          .add = test::random_values(rows * s.co, 5, dst)};
}

TEST(ConvGemm, ForwardWithEveryEpilogueIsTheConvolution) {
  for (const Sizes& s : kSizes) {
    for (const auto& [src, dst] :
         {std::pair{DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}}) {
      const Numbers in = numbers(s, src, dst);
      Context cx;
      const Shape y_shape{s.n, s.h, s.w, s.co};
      const Tensor x = test::make(cx, {s.n, s.h, s.w, s.ci}, src, in.x), add = test::make(cx, y_shape, dst, in.add),
                   filter = test::make(cx, {s.co, 1, 1, s.ci}, DType::f32, in.filter),
                   bias = test::make(cx, {s.co}, DType::f32, in.bias);
      for (int variant = 0; variant < 8; ++variant) {
        ConvProblem p = problem(s, Pass::forward, src, dst);
        p.bias = (variant & 1) != 0, p.add = (variant & 2) != 0, p.relu = (variant & 4) != 0;
        SCOPED_TRACE(to_string(p));
        const auto gemm = as_gemm(p);
        ASSERT_TRUE(gemm);
        EXPECT_TRUE(gemm->a == &ConvBuffers::filter && gemm->b == &ConvBuffers::x);
        EXPECT_EQ(gemm->ab_type, src);
        EXPECT_EQ(gemm->d_type, dst);
        const Tensor y = conv2d(cx, x, filter,
                                {.bias = p.bias ? &bias : nullptr,
                                 .add = p.add ? &add : nullptr,
                                 .relu = p.relu,
                                 .f32_output = dst == DType::f32});
        EXPECT_TRUE(same(y, multiply(*gemm, p, in), gemm->k));
      }
    }
  }
}

TEST(ConvGemm, BothGradientsAreTheConvolutions) {
  for (const Sizes& s : kSizes) {
    for (const DType t : {DType::f32, DType::bf16}) {
      const Numbers in = numbers(s, t, t);
      test::Recording r;
      Tensor x = test::make(r.cx, {s.n, s.h, s.w, s.ci}, t, in.x),
             filter = test::make(r.cx, {s.co, 1, 1, s.ci}, DType::f32, in.filter);
      const auto dx = test::watch(r.cx, x), dfilter = test::watch(r.cx, filter);
      const Tensor y = conv2d(r.cx, x, filter);
      r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, y.shape(), t, in.y)}}));
      {
        const ConvProblem p = problem(s, Pass::backward_data, t, t);
        SCOPED_TRACE(to_string(p));
        const auto gemm = as_gemm(p);
        ASSERT_TRUE(gemm);
        EXPECT_TRUE(gemm->a == &ConvBuffers::filter && gemm->b == &ConvBuffers::y);
        EXPECT_EQ(gemm->ab_type, t);
        EXPECT_EQ(gemm->d_type, t);
        EXPECT_TRUE(same(*dx, multiply(*gemm, p, in), gemm->k));
      }
      const ConvProblem p = problem(s, Pass::backward_filter, t, DType::f32);
      SCOPED_TRACE(to_string(p));
      const auto gemm = as_gemm(p);
      ASSERT_TRUE(gemm);
      EXPECT_TRUE(gemm->a == &ConvBuffers::x && gemm->b == &ConvBuffers::y);
      EXPECT_EQ(gemm->ab_type, t);
      EXPECT_EQ(gemm->d_type, DType::f32);
      EXPECT_TRUE(same(*dfilter, multiply(*gemm, p, in), gemm->k));
    }
  }
}

TEST(ConvGemm, OnlyOneByOneAtStrideOneWithoutPaddingIsAProduct) {
  const ConvGeometry g{.n = 2, .h = 4, .w = 4, .ci = 8, .co = 8};
  EXPECT_TRUE(as_gemm({g}));
  for (const auto change :
       {+[](ConvGeometry& c) { c.kh = 3; }, +[](ConvGeometry& c) { c.kw = 3; }, +[](ConvGeometry& c) { c.stride = 2; },
        +[](ConvGeometry& c) { c.pad = 1; }, +[](ConvGeometry& c) { c.transposed = true; }}) {
    ConvGeometry other = g;
    change(other);
    for (const Pass pass : {Pass::forward, Pass::backward_data, Pass::backward_filter}) {
      const ConvProblem p{other, pass};
      EXPECT_FALSE(as_gemm(p)) << to_string(p);
    }
  }
}

}  // namespace
}  // namespace hr
