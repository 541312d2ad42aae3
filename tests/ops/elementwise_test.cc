#include "ops/elementwise.h"
#include "ops/reduce.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "ops/fuse.h"
#include "tests/support/gradients.h"

namespace hr {
namespace {

using test::Values;

TEST(Sum, AddsUpWithoutTouchingItsAddends) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const int64_t n : {1, 3, 17, 1023, 1024, 1025, 40000}) {
      for (int count = 1; count <= 6; ++count) {
        Context cx;
        std::vector<Tensor> addends;
        Values exact(n);
        for (int k = 0; k < count; ++k) {
          const Values v = test::random_values(n, 1 + k, t);
          addends.push_back(test::make(cx, {n}, t, v));
          for (int64_t i = 0; i < n; ++i) exact[i] += v[i];
        }
        const Values first = test::values(addends[0]), last = test::values(addends.back());
        EXPECT_TRUE(test::close(test::values(sum(cx, addends)), exact, count * count * test::rounding(t)));
        EXPECT_EQ(test::values(addends[0]), first);
        EXPECT_EQ(test::values(addends.back()), last);
      }
    }
  }
}

TEST(Sum, RefusesWhatDoesNotFit) {
  Context cx;
  const Tensor a = cx.zeros({4}, DType::f32), b = cx.zeros({5}, DType::f32), c = cx.zeros({4}, DType::bf16);
  EXPECT_THROW(sum(cx, {}), Error);
  EXPECT_THROW(sum(cx, std::vector{a, b}), Error);
  EXPECT_THROW(sum(cx, std::vector{a, c}), Error);
  EXPECT_THROW(copy_or_add(cx, a, b, false), Error);
  EXPECT_THROW(copy_or_add(cx, a, c, false), Error);
}

TEST(Cast, RoundsToNearestEvenInBothDirections) {
  Context cx;
  for (const int64_t n : {1, 17, 1025, 40000}) {
    Values v = test::random_values(n, 1);
    const float special[] = {0.0f, -0.0f, 1 + 0x1p-8f, 1 + 0x1.8p-7f, 1e-40f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY};
    for (size_t i = 0; i < std::size(special) && 2 * i < v.size(); ++i) v[v.size() - 1 - 2 * i] = special[i];
    const Tensor x = test::make(cx, {n}, DType::f32, v);
    const Tensor narrow = cast(cx, x, DType::bf16);
    ASSERT_EQ(narrow.dtype(), DType::bf16);
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(narrow.data<bf16>()[i].bits, bf16(x.data<float>()[i]).bits);
    EXPECT_EQ(test::values(cast(cx, narrow, DType::f32)), test::values(narrow));
  }
  const Tensor nans = test::make(cx, {40}, DType::f32, Values(40, std::nan("")));
  for (int64_t i = 0; i < 40; ++i) nans.data<uint32_t>()[i] |= i % 2 == 0 ? 0x7fffffu : 1u;
  for (const double v : test::values(cast(cx, nans, DType::bf16))) EXPECT_TRUE(std::isnan(v));
  const Tensor x = cx.zeros({3}, DType::f32);
  EXPECT_EQ(cast(cx, x, DType::f32).id(), x.id()) << "the same type is the same value";
  EXPECT_THROW(cast(cx, x, DType::f64), Error);
}

TEST(Cast, TheGradientComesBackInTheInputsType) {
  test::Recording r;
  Tensor x = test::make(r.cx, {5}, DType::f32, test::random_values(5, 1));
  const auto dx = test::watch(r.cx, x);
  const Tensor narrow = cast(r.cx, x, DType::bf16), wide = cast(r.cx, narrow, DType::f32);
  const Values a = test::random_values(5, 2, DType::bf16), b = test::random_values(5, 3, DType::bf16);
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{narrow, test::make(r.cx, {5}, DType::bf16, a)},
                                                  {wide, test::make(r.cx, {5}, DType::f32, b)}}));
  ASSERT_EQ(dx->dtype(), DType::f32);
  Values expected(5);
  for (size_t i = 0; i < 5; ++i) expected[i] = a[i] + b[i];
  EXPECT_TRUE(test::close(test::values(*dx), expected, 2 * 0x1p-8));
}

TEST(CopyOrAdd, OverwritesOrAdds) {
  Context cx;
  for (const int64_t n : {1, 1025, 40000}) {
    const Values a = test::random_values(n, 1), b = test::random_values(n, 2);
    const Tensor from = test::make(cx, {n}, DType::f32, a), to = test::make(cx, {n}, DType::f32, b);
    copy_or_add(cx, from, to, true);
    Values both(n);
    for (int64_t i = 0; i < n; ++i) both[i] = test::rounded(a[i] + b[i], DType::f32);
    EXPECT_EQ(test::values(to), both);
    copy_or_add(cx, from, to, false);
    EXPECT_EQ(test::values(to), a);
  }
}

// The reduction starts from the sum of the first block of rows, which does not exist if there are no rows.
TEST(ColumnSum, OfNoRowsIsRefused) {
  Context cx;
  const Tensor y = cx.zeros({5}, DType::f32);
  for (const DType t : {DType::f32, DType::bf16}) EXPECT_THROW(column_sum(cx, cx.empty({0, 5}, t), y), Error);
  EXPECT_EQ(test::values(y), Values(5, 0.0));
}

// Every op of two operands, with its formula in double.
struct Binary {
  const char* name;
  Tensor (*op)(Context&, const Tensor&, const Tensor&);
  double (*formula)(double, double);
};
const Binary kBinary[] = {{"add", add, [](double a, double b) { return a + b; }},
                          {"mul", mul, [](double a, double b) { return a * b; }}};

TEST(Elementwise, TwoOperandsAndTheirGradientsFollowTheFormula) {
  for (const Binary& binary : kBinary) {
    for (const DType t : {DType::f32, DType::bf16}) {
      for (const Shape& shape : {Shape{1}, Shape{7}, Shape{3, 5, 1}, Shape{2, 3, 5, 17}, Shape{1, 1, 9, 40}}) {
        for (const bool per_channel : {false, true}) {
          const int64_t c = shape.back(), n = numel(shape);
          SCOPED_TRACE(fmt::format("{} {} {} {}", binary.name, name_of(t), to_string(shape), per_channel));
          test::Recording r;
          const DType bt = per_channel ? DType::f32 : t;
          const Values av = test::random_values(n, 1, t), bv = test::random_values(per_channel ? c : n, 2, bt);
          const Values dy = test::random_values(n, 3, t);
          Tensor a = test::make(r.cx, shape, t, av);
          Tensor b = test::make(r.cx, per_channel ? Shape{c} : shape, bt, bv);
          const auto da = test::watch(r.cx, a), db = test::watch(r.cx, b);
          const Tensor y = binary.op(r.cx, a, b);
          const test::Function f = [&](const std::vector<Values>& in) {
            Values out(static_cast<size_t>(n));
            for (size_t i = 0; i < out.size(); ++i) {
              out[i] = binary.formula(in[0][i], in[1][per_channel ? i % static_cast<size_t>(c) : i]);
            }
            return out;
          };
          EXPECT_TRUE(test::close(test::values(y), f({av, bv}), 2 * test::rounding(t)));
          r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, shape, t, dy)}}));
          EXPECT_EQ(db->dtype(), bt);
          const double rows = per_channel ? static_cast<double>(n / c) : 1;
          EXPECT_TRUE(
              test::close(test::values(*da), test::finite_difference(f, {av, bv}, 0, dy), test::rounding(t) + 1e-9));
          EXPECT_TRUE(test::close(test::values(*db), test::finite_difference(f, {av, bv}, 1, dy),
                                  rows * (2 * test::rounding(t) + 1e-9)));
        }
      }
    }
  }
}

TEST(Elementwise, ReluPassesItsGradientWhereXIsPositive) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const int64_t n : {1, 7, 17, 1025, 40000}) {
      test::Recording r;
      Values v = test::random_values(n, 1, t);
      if (n > 2) v[1] = 0, v[2] = -0.0;
      const Values dy = test::random_values(n, 2, t);
      Tensor x = test::make(r.cx, {n}, t, v);
      const auto dx = test::watch(r.cx, x);
      const Tensor y = relu(r.cx, x);
      r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, {n}, t, dy)}}));
      Values expected(v.size()), gradient(v.size());
      for (size_t i = 0; i < v.size(); ++i) expected[i] = std::max(v[i], 0.0), gradient[i] = v[i] > 0 ? dy[i] : 0;
      EXPECT_EQ(test::values(y), expected);
      EXPECT_EQ(test::values(*dx), gradient);
    }
  }
  Context cx;
  EXPECT_TRUE(std::isnan(test::values(relu(cx, test::make(cx, {1}, DType::f32, {std::nan("")})))[0]));
}

// If a value is both operands, both of its gradients must be added: x * x has the derivative 2 x.
TEST(Elementwise, AValueThatIsBothOperandsGetsBothGradients) {
  test::Recording r;
  const Values v = test::random_values(9, 1), dy = test::random_values(9, 2);
  Tensor x = test::make(r.cx, {9}, DType::f32, v);
  const auto dx = test::watch(r.cx, x);
  const Tensor y = mul(r.cx, x, x);
  r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, test::make(r.cx, {9}, DType::f32, dy)}}));
  Values expected(9);
  for (size_t i = 0; i < 9; ++i) expected[i] = 2 * v[i] * dy[i];
  EXPECT_TRUE(test::close(test::values(*dx), expected, 4 * 0x1p-24));
}

TEST(Elementwise, RefusesOperandsThatDoNotGoTogether) {
  Context cx;
  const Tensor a = cx.zeros({2, 3}, DType::f32), other = cx.zeros({3, 2}, DType::f32), two = cx.zeros({2}, DType::f32);
  const Tensor narrow = cx.zeros({2, 3}, DType::bf16), three = cx.zeros({3}, DType::bf16);
  for (const Binary& binary : kBinary) {
    for (const Tensor& b : {other, two, narrow, three})
      EXPECT_THROW(binary.op(cx, a, b), Error) << to_string(b.shape());
  }
}

// The gradient of a parameter lies in the gradient slab, which the optimiser reads. Every op must write it there.
TEST(AddGradient, ReachesABoundLeafFromEveryElementwiseOp) {
  const auto gradient = [](const std::function<Tensor(Context&, const Tensor&)>& use) {
    test::Recording r;
    Tensor leaf = test::make(r.cx, {1, 1, 2, 2}, DType::f32, {1, 2, 3, 4});
    leaf.set_requires_grad(true);
    const Tensor grad = r.cx.zeros({1, 1, 2, 2}, DType::f32);
    r.tape.bind(leaf, grad);
    const Tensor y = use(r.cx, leaf);
    const Tensor dy = test::make(r.cx, y.shape(), y.dtype(), Values(static_cast<size_t>(y.numel()), 1.0));
    r.tape.backward(r.cx, test::weighted_sum(r.cx, {{y, dy}}));
    return test::values(grad);
  };
  const Values ones(4, 1.0);
  EXPECT_EQ(gradient([](Context& cx, const Tensor& x) { return cast(cx, x, DType::bf16); }), ones);
  EXPECT_EQ(gradient([](Context& cx, const Tensor& x) { return relu(cx, x); }), ones);
  EXPECT_EQ(gradient([](Context& cx, const Tensor& x) { return add(cx, x, x); }), Values(4, 2.0));
  EXPECT_EQ(gradient([](Context& cx, const Tensor& x) { return mul(cx, x, x); }), (Values{2, 4, 6, 8}));
  EXPECT_EQ(gradient([](Context& cx, const Tensor& x) { return fuse(cx, {{x}}); }), ones);
}

}  // namespace
}  // namespace hr
