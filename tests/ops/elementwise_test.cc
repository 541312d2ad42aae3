#include "ops/elementwise.h"
#include "ops/reduce.h"

#include <gtest/gtest.h>

#include "core/error.h"
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

// There is no first part to begin with.
TEST(ColumnSum, OfNoRowsIsRefused) {
  Context cx;
  const Tensor y = cx.zeros({5}, DType::f32);
  for (const DType t : {DType::f32, DType::bf16}) EXPECT_THROW(column_sum(cx, cx.empty({0, 5}, t), y), Error);
  EXPECT_EQ(test::values(y), Values(5, 0.0));
}

}  // namespace
}  // namespace hr
