#include "core/tensor.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/context.h"
#include "core/error.h"

namespace hr {
namespace {

TEST(Tensor, ViewSharesMemoryButIsItsOwnValue) {
  const Context cx;
  const Tensor t = cx.zeros({4, 3}, DType::f32);
  EXPECT_TRUE(t.unique());
  const Tensor row = t.view({3}, 6);
  EXPECT_FALSE(t.unique());
  EXPECT_NE(row.id(), t.id());
  row.data<float>()[1] = 5;
  EXPECT_EQ(t.data<float>()[7], 5);
  EXPECT_THROW(t.view({4}, 9), Error) << "one element past the end";
  EXPECT_NO_THROW(t.view({3}, 9));
}

TEST(Tensor, ACopyIsTheSameValue) {
  const Context cx;
  const Tensor t = cx.empty({2}, DType::bf16);
  const Tensor& same = t;
  const Tensor copy = same;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(copy.id(), t.id());
  EXPECT_EQ(t.bytes(), 4u);
  EXPECT_NE(cx.empty({2}, DType::bf16).id(), t.id());
}

TEST(Tensor, MemoryGoesBackWithTheLastHandle) {
  const auto allocator = std::make_shared<CachingAllocator>();
  Context cx;
  cx.allocator = allocator;
  Tensor view;
  {
    const Tensor t = cx.empty({1024}, DType::f32);
    view = t.view({1}, 1023);
  }
  EXPECT_EQ(allocator->live_bytes(), 4096u);
  view.reset();
  EXPECT_EQ(allocator->live_bytes(), 0u);
}

TEST(Bf16, RoundsToNearestEvenAndKeepsNan) {
  const auto trip = [](float v) { return static_cast<float>(bf16(v)); };
  EXPECT_EQ(trip(1.0f), 1.0f);
  EXPECT_EQ(trip(1.0f + 0x1p-8f), 1.0f) << "half way, to the even side";
  EXPECT_EQ(trip(1.0f + 0x1.8p-7f), 1.0f + 0x1p-6f) << "half way, to the even side";
  EXPECT_EQ(trip(1.0f + 0x1.02p-8f), 1.0f + 0x1p-7f);
  EXPECT_EQ(trip(-0.0f), 0.0f);
  EXPECT_TRUE(std::signbit(trip(-0.0f)));
  EXPECT_EQ(trip(std::numeric_limits<float>::max()), std::numeric_limits<float>::infinity());
  EXPECT_EQ(trip(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(trip(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(trip(std::bit_cast<float>(0x7fffffffu)))) << "rounding up would carry out of the mantissa";
  EXPECT_TRUE(std::isnan(trip(std::bit_cast<float>(0x7f800001u)))) << "truncation would make it infinite";
}

}  // namespace
}  // namespace hr
