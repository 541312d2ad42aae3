// Convolutions whose result takes the memory of the summand or memory that the caller gives.
#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "core/parallel.h"
#include "ops/conv/conv2d.h"
#include "tests/support/tensors.h"
#include "tests/support/threads.h"

namespace hr {
namespace {

struct Case {
  std::string name;
  int64_t n, h, w, ci, co;
  int kernel = 1;
};

Tensor random_tensor(const Context& cx, Shape shape, uint64_t seed) {
  const auto count = numel(shape);
  return test::make(cx, std::move(shape), DType::f32, test::random_values(count, seed));
}

Tensor copy_of(const Context& cx, const Tensor& from) {
  Tensor to = cx.empty(from.shape(), from.dtype());
  std::memcpy(to.raw(), from.raw(), from.bytes());
  return to;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

class OverAdd : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& c = GetParam();
    x = random_tensor(cx, {c.n, c.h, c.w, c.ci}, 1);
    filter = random_tensor(cx, {c.co, c.kernel, c.kernel, c.ci}, 2);
    bias = random_tensor(cx, {c.co}, 3);
    add = random_tensor(cx, {c.n, c.h, c.w, c.co}, 4);
  }
  Tensor convolve(const Tensor& summand, bool over_add, bool silu = false) {
    return conv2d(cx, x, filter,
                  {.pad = GetParam().kernel / 2,
                   .bias = &bias,
                   .add = &summand,
                   .over_add = over_add,
                   .relu = !silu,
                   .silu = silu,
                   .packed = &packed});
  }
  Context cx;
  PackedFilters packed{.allocator = cx.allocator};
  Tensor x, filter, bias, add;
};

TEST_P(OverAdd, GivesTheSameBitsInTheMemoryOfTheSummand) {
  if (!conv_backend(cx).joins(cx)) GTEST_SKIP() << "this processor has none of our own methods";
  for (const int threads : {1, 3}) {
    const test::Threads now(threads);
    for (const bool silu : {false, true}) {
      const Tensor expected = convolve(add, false, silu);
      Tensor summand = copy_of(cx, add);
      const void* memory = summand.raw();
      const Tensor y = convolve(summand, true, silu);
      EXPECT_EQ(y.raw(), memory);
      EXPECT_NE(y.id(), summand.id());
      EXPECT_TRUE(same_bits(y, expected)) << threads << " threads, " << silu;
    }
  }
}

TEST_P(OverAdd, LeavesASummandThatIsSharedOrThatOnednnAdds) {
  const Tensor summand = copy_of(cx, add), shared = summand.view(summand.shape());
  const Tensor y = convolve(summand, true);
  EXPECT_NE(y.raw(), shared.raw());
  EXPECT_TRUE(same_bits(summand, add));
  const Tensor kept = copy_of(cx, add);
  EXPECT_NE(convolve(kept, false).raw(), kept.raw());
  cx.exact = true;
  const Tensor alone = copy_of(cx, add);
  const Tensor direct = convolve(alone, true);
  EXPECT_NE(direct.raw(), alone.raw());
  EXPECT_TRUE(same_bits(alone, add));
}

TEST_P(OverAdd, GivesTheSameBitsInGivenMemory) {
  const Case& c = GetParam();
  const Conv2d options{.pad = c.kernel / 2, .bias = &bias, .relu = true, .packed = &packed};
  const Tensor expected = conv2d(cx, x, filter, options);
  // The second of three, of which the others keep their values.
  const Tensor before = random_tensor(cx, {3, expected.numel()}, 5), all = copy_of(cx, before);
  const Tensor second = all.view(expected.shape(), expected.numel());
  Conv2d given = options;
  given.into = &second;
  const Tensor y = conv2d(cx, x, filter, given);
  EXPECT_EQ(y.raw(), second.raw());
  EXPECT_TRUE(same_bits(second, expected));
  for (const int64_t other : {0, 2}) {
    EXPECT_TRUE(same_bits(all.view(expected.shape(), other * expected.numel()),
                          before.view(expected.shape(), other * expected.numel())));
  }
  const Tensor wrong = all.view({expected.numel()});
  given.into = &wrong;
  EXPECT_THROW(conv2d(cx, x, filter, given), Error);
}

// The numbers of pixels leave rests of every kind of block; 256 channels are several blocks of vectors.
INSTANTIATE_TEST_SUITE_P(Shapes, OverAdd,
                         testing::Values(Case{"rows_1", 1, 1, 1, 16, 16}, Case{"rows_29", 1, 1, 29, 8, 40},
                                         Case{"rows_35", 1, 5, 7, 64, 256}, Case{"rows_169", 1, 13, 13, 37, 33},
                                         Case{"rows_many", 2, 24, 17, 64, 256},
                                         Case{"winograd_odd", 4, 31, 29, 64, 64, 3},
                                         Case{"winograd", 8, 64, 48, 32, 32, 3}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace hr
