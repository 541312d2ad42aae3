// The hand-written ops give the same bits with any number of threads, because work is divided at fixed places.
#include <gtest/gtest.h>

#include "core/parallel.h"
#include "ops/adam.h"
#include "ops/fuse.h"
#include "ops/joints_loss.h"
#include "ops/max_pool2d.h"
#include "tests/support/gradients.h"
#include "tests/support/threads.h"

namespace hr {
namespace {

using test::Threads;

// Returns everything that a chain of all these ops produces.
std::vector<Tensor> everything(DType t) {
  test::Recording r(true);
  const Shape shape{3, 34, 26, 27};  // 2652 rows: eleven blocks, the last one partial; 27 channels are 16 + 8 + 3
  const auto filled = [&](Shape s, uint64_t seed, DType type) {
    const int64_t n = numel(s);
    return test::make(r.cx, std::move(s), type, test::random_values(n, seed, type));
  };
  Tensor x = filled(shape, 1, t), other = filled({3, 17, 13, 27}, 2, t);
  Tensor weight = filled({27}, 3, DType::f32), bias = filled({27}, 4, DType::f32);
  const Tensor mean = filled({27}, 5, DType::f32), var = filled({27}, 6, DType::f32);
  const auto dx = test::watch(r.cx, x), dother = test::watch(r.cx, other);
  const auto dweight = test::watch(r.cx, weight), dbias = test::watch(r.cx, bias);
  const Normalised n = batch_norm(r.cx, x, {weight, bias, mean, var});
  const Normalised m = batch_norm(r.cx, other, {weight, bias, mean, var});
  const Tensor y = fuse(r.cx, {{x, &n}, {x}, {other, &m, 1}, {other, nullptr, 1}}, Act::relu);
  const Tensor wide = cast(r.cx, fuse(r.cx, {{y}, {y}}), DType::f32);
  const Tensor pooled = max_pool2d(r.cx, y);
  const Tensor loss =
      joints_loss(r.cx, wide, filled(shape, 7, DType::f32), filled({3, 27}, 8, DType::f32), JointsLoss::seed);
  const Tensor total = test::weighted_sum(
      r.cx, {{loss, test::make(r.cx, {1}, DType::f32, {1})}, {pooled, filled(pooled.shape(), 9, t)}});
  r.tape.backward(r.cx, total);
  const Tensor p = filled({40007}, 10, DType::f32), g = filled({40007}, 11, DType::f32);
  const Tensor m1 = r.cx.zeros({40007}, DType::f32), m2 = r.cx.zeros({40007}, DType::f32);
  adam(r.cx, p, g, m1, m2, {});
  return {y,    wide, pooled, loss,    n.scale,  n.shift, m.scale,
          mean, var,  *dx,    *dother, *dweight, *dbias,  sum(r.cx, std::vector{p, g, p}),
          p,    m1,   m2};
}

TEST(Threads, OneTwoAndFourGiveTheSameBits) {
  for (const DType t : {DType::f32, DType::bf16}) {
    std::vector<Tensor> one;
    for (const int threads : {1, 2, 4, 3}) {
      const Threads scope(threads);
      const std::vector<Tensor> now = everything(t);
      if (one.empty()) one = now;
      for (size_t i = 0; i < one.size(); ++i) {
        ASSERT_TRUE(one[i].defined()) << i;
        EXPECT_TRUE(test::same_bytes(one[i], now[i])) << "output " << i << " at " << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace hr
