// Compares a detector on the GPU with the CPU: its own ops, and the whole network.
#include "ops/concat.h"
#include "ops/conv/conv2d.h"
#include "ops/conv/depthwise_conv2d.h"
#include "ops/max_pool2d.h"
#include "tests/gpu/pair.h"
#include "tests/support/yolox.h"

namespace hr {
namespace {

using test::Values;

class GpuDetector : public test::Gpu {};

double tolerance(DType t) { return t == DType::bf16 ? 4 * 0x1p-8 : 1e-5; }

// once(context) returns the numbers of one device.
template <class Once>
void expect_close(DType t, const Once& once) {
  const Values expected = once(Context()), actual = once(test::device_context(t));
  EXPECT_TRUE(test::close(actual, expected, tolerance(t) * test::max_abs(expected))) << name_of(t);
}

TEST_F(GpuDetector, SiluAfterAConvolution) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const bool add : {false, true}) {
      expect_close(t, [&](Context cx) {
        const Tensor x = test::place(cx, {2, 9, 7, 24}, t, test::random_values(2 * 9 * 7 * 24, 1, t));
        const Tensor w = test::place(cx, {33, 3, 3, 24}, DType::f32, test::random_values(33 * 9 * 24, 2));
        const Tensor b = test::place(cx, {33}, DType::f32, test::random_values(33, 3));
        const Tensor z = test::place(cx, {2, 9, 7, 33}, t, test::random_values(2 * 9 * 7 * 33, 4, t, -3, 3));
        return test::fetch(cx, conv2d(cx, x, w, {.pad = 1, .bias = &b, .add = add ? &z : nullptr, .silu = true}));
      });
    }
  }
}

TEST_F(GpuDetector, DepthwiseConvolutionConcatenationAndPooling) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const int64_t channels : {5, 16, 22}) {
      expect_close(t, [&](Context cx) {
        const Tensor x = test::place(cx, {2, 9, 7, channels}, t, test::random_values(2 * 9 * 7 * channels, 1, t));
        const Tensor w = test::place(cx, {3, 3, channels}, DType::f32, test::random_values(9 * channels, 2));
        const Tensor low = depthwise_conv2d(cx, x, w, {.stride = 2, .silu = true});  // [2, 5, 4, channels]
        const Tensor pooled = max_pool2d(cx, low, {.kernel = 5, .stride = 1, .pad = 2});
        const Tensor high = test::place(cx, {2, 10, 8, 3}, t, test::random_values(2 * 10 * 8 * 3, 3, t));
        return test::fetch(cx, concat(cx, std::array{ConcatTerm{high}, ConcatTerm{low, 1}, ConcatTerm{pooled, 1}}));
      });
    }
  }
}

TEST_F(GpuDetector, TheHeadsTable) {
  for (const int64_t plain : {0, 4}) {
    expect_close(DType::f32, [&](Context cx) {
      const Tensor x = test::place(cx, {2, 3, 5, 12}, DType::f32, test::random_values(2 * 3 * 5 * 12, 1));
      const Tensor table = cx.zeros({2, 20, 15}, DType::f32);
      put_pixels(cx, x, table, {.first_row = 4, .first_column = 3, .plain = plain});
      return test::fetch(cx, table);
    });
  }
}

TEST_F(GpuDetector, TheNetworkGivesTheCpusOutput) {
  for (const bool depthwise : {false, true}) {
    const fs::path weights = test::write_yolox({8, 1, depthwise, 3});
    for (const DType t : {DType::f32, DType::bf16}) {
      const auto once = [&](Context cx) {
        const auto network = load_yolox(cx, WeightFile(weights));
        const Tensor x = test::place(cx, {2, 64, 96, 3}, DType::f32, test::random_values(2 * 64 * 96 * 3, 1, t, -2, 2));
        return test::fetch(cx, network->forward(cx, x));
      };
      const Values expected = once(Context()), actual = once(test::device_context(t));
      const double limit = t == DType::bf16 ? 5e-2 : 2e-5;
      EXPECT_TRUE(test::close(actual, expected, limit * test::max_abs(expected))) << depthwise << name_of(t);
    }
  }
}

}  // namespace
}  // namespace hr
