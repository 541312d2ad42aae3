// Compares every op on the GPU with the CPU: outputs and gradients, float32 and bf16, odd sizes, inputs used twice.
#include "ops/adam.h"
#include "ops/batch_norm.h"
#include "ops/conv/conv2d.h"
#include "ops/crop.h"
#include "ops/elementwise.h"
#include "ops/fuse.h"
#include "ops/heatmaps.h"
#include "ops/joints_loss.h"
#include "ops/max_pool2d.h"
#include "ops/mse.h"
#include "ops/reduce.h"
#include "tests/gpu/pair.h"
#include "tests/support/crops.h"

namespace hr {
namespace {

using test::Values;

// float32: a sum of k products in another order is off by about sqrt(k) roundings of its largest partial sum, and k is
// at most 4608 here. bf16: both devices round results to 8 bits, and their sums differ before that.
double tolerance(DType t) { return t == DType::bf16 ? 4 * 0x1p-8 : 1e-5; }

class GpuConv : public test::Gpu {};

struct Case {
  int64_t n, h, w, ci, co, k, stride, pad;
  bool transposed = false;
};
const Case kCases[] = {{2, 9, 7, 3, 17, 3, 1, 1},        {2, 64, 48, 3, 64, 3, 2, 1},     {3, 16, 12, 32, 32, 3, 1, 1},
                       {1, 13, 11, 48, 96, 3, 2, 1},     {2, 8, 6, 256, 64, 1, 1, 0},     {2, 15, 9, 64, 256, 1, 2, 0},
                       {2, 16, 12, 32, 17, 1, 1, 0},     {2, 32, 24, 3, 64, 7, 2, 3},     {5, 1, 1, 8, 8, 3, 1, 1},
                       {2, 8, 6, 64, 32, 4, 2, 1, true}, {1, 5, 3, 18, 36, 4, 2, 1, true}};

TEST_F(GpuConv, ForwardAndBothGradients) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(fmt::format("{} [{}, {}, {}, {}] -> {}, {}x{} stride {} {}", name_of(t), c.n, c.h, c.w, c.ci, c.co,
                               c.k, c.k, c.stride, c.transposed ? "transposed" : ""));
      test::expect_same(t, tolerance(t), {{{c.n, c.h, c.w, c.ci}, t, 1}, {{c.co, c.k, c.k, c.ci}, DType::f32, 2}},
                        [&](Context& cx, const std::vector<Tensor>& in) {
                          const Conv2d options{.stride = static_cast<int>(c.stride), .pad = static_cast<int>(c.pad)};
                          return c.transposed ? conv_transpose2d(cx, in[0], in[1], options)
                                              : conv2d(cx, in[0], in[1], options);
                        });
    }
  }
}

TEST_F(GpuConv, BiasAndItsGradientAndFloat32Output) {
  for (const DType t : {DType::f32, DType::bf16}) {
    test::expect_same(t, tolerance(t),
                      {{{2, 16, 12, 32}, t, 1}, {{17, 1, 1, 32}, DType::f32, 2}, {{17}, DType::f32, 3}},
                      [](Context& cx, const std::vector<Tensor>& in) {
                        return conv2d(cx, in[0], in[1], {.bias = &in[2], .f32_output = true});
                      });
  }
}

TEST_F(GpuConv, InferenceEpilogue) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const bool add : {false, true}) {
      const auto once = [&](Context cx) {
        const Tensor x = test::place(cx, {3, 16, 12, 32}, t, test::random_values(3 * 16 * 12 * 32, 1, t));
        const Tensor w = test::place(cx, {48, 3, 3, 32}, DType::f32, test::random_values(48 * 9 * 32, 2));
        const Tensor b = test::place(cx, {48}, DType::f32, test::random_values(48, 3));
        const Tensor z = test::place(cx, {3, 16, 12, 48}, t, test::random_values(3 * 16 * 12 * 48, 4, t, -9, 9));
        PackedFilters packed{.allocator = cx.allocator};
        const Conv2d options{.pad = 1, .bias = &b, .add = add ? &z : nullptr, .relu = true, .packed = &packed};
        Values first = test::fetch(cx, conv2d(cx, x, w, options));
        EXPECT_EQ(test::fetch(cx, conv2d(cx, x, w, options)), first) << "kept filters give the same";
        return first;
      };
      const Values expected = once(Context()), actual = once(test::device_context(t));
      EXPECT_TRUE(test::close(actual, expected, tolerance(t) * test::max_abs(expected)));
    }
  }
}

class GpuOps : public test::Gpu {};

// Makes the state of batch norm for c channels.
BatchNormState state_on(const Context& cx, int64_t c) {
  return {.weight = test::place(cx, {c}, DType::f32, test::random_values(c, 11, DType::f32, 0.5, 1.5)),
          .bias = test::place(cx, {c}, DType::f32, test::random_values(c, 12)),
          .running_mean = test::place(cx, {c}, DType::f32, Values(c, 0)),
          .running_var = test::place(cx, {c}, DType::f32, Values(c, 1))};
}

TEST_F(GpuOps, BatchNormAndFuseOfFourResolutions) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const int64_t c : {1, 7, 18, 32, 40}) {
      SCOPED_TRACE(fmt::format("{} {}", name_of(t), c));
      test::expect_same(
          t, tolerance(t), {{{3, 24, 16, c}, t, 1}, {{3, 12, 8, c}, t, 2}, {{3, 6, 4, c}, t, 3}, {{3, 3, 2, c}, t, 4}},
          [&](Context& cx, const std::vector<Tensor>& in) {
            std::vector<Normalised> norms;
            norms.reserve(in.size());
            for (const Tensor& x : in) norms.push_back(batch_norm(cx, x, state_on(cx, c)));
            const Tensor y =
                fuse(cx, {{in[0], &norms[0], 0}, {in[1], &norms[1], 1}, {in[2], &norms[2], 2}, {in[3], nullptr, 3}},
                     Act::relu);
            // y is used three times, so its gradient has three addends.
            const Normalised again = batch_norm(cx, y, state_on(cx, c));
            return fuse(cx, {{y}, {y, &again}, {in[0]}}, Act::relu);
          },
          true);
    }
  }
}

TEST_F(GpuOps, GradientsOfBatchNormsOwnTensorsAndRunningStatistics) {
  const auto once = [](Context cx) {
    Tape tape;
    cx.tape = &tape;
    cx.training = true;
    const int64_t c = 24;
    Tensor x = test::place(cx, {4, 9, 7, c}, DType::f32, test::random_values(4 * 63 * c, 1, DType::f32, 2, 4));
    BatchNormState s = state_on(cx, c);
    s.weight.set_requires_grad(true);
    s.bias.set_requires_grad(true);
    const Tensor dweight = cx.zeros({c}, DType::f32), dbias = cx.zeros({c}, DType::f32);
    tape.bind(s.weight, dweight);
    tape.bind(s.bias, dbias);
    const Normalised n = batch_norm(cx, x, s);
    const Tensor y = fuse(cx, {{x, &n}}, Act::relu);
    const Tensor dy = test::place(cx, y.shape(), DType::f32, test::random_values(y.numel(), 2));
    tape.backward(cx, test::weighted_sum(cx, {{y, dy}}));
    return std::vector{test::fetch(cx, dweight), test::fetch(cx, dbias), test::fetch(cx, s.running_mean),
                       test::fetch(cx, s.running_var)};
  };
  const auto expected = once(Context()), actual = once(test::device_context());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(test::close(actual[i], expected[i], 1e-5 * test::max_abs(expected[i]))) << i;
}

TEST_F(GpuOps, MaxPool) {
  for (const DType t : {DType::f32, DType::bf16}) {
    test::expect_same(t, tolerance(t), {{{2, 13, 9, 20}, t, 1}},
                      [](Context& cx, const std::vector<Tensor>& in) { return max_pool2d(cx, in[0]); });
  }
}

TEST_F(GpuOps, BothLosses) {
  for (const JointsLoss kind : {JointsLoss::official, JointsLoss::seed}) {
    for (const int64_t joints : {1, 17, 133}) {
      test::expect_same(
          DType::f32, 1e-5, {{{3, 12, 9, joints}, DType::f32, 1}}, [&](Context& cx, const std::vector<Tensor>& in) {
            const Tensor target = test::place(cx, in[0].shape(), DType::f32, test::random_values(in[0].numel(), 2));
            const Tensor weight =
                test::place(cx, {3, joints}, DType::f32, test::random_values(3 * joints, 3, DType::f32, 0, 2));
            return joints_loss(cx, in[0], target, weight, kind);
          });
    }
  }
}

TEST_F(GpuOps, PlainElementwiseOps) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const int64_t c : {1, 7, 40}) {
      const Shape shape{3, 5, c};
      test::expect_same(t, tolerance(t), {{shape, t, 1}, {shape, t, 2}, {{c}, DType::f32, 3}, {{c}, DType::f32, 4}},
                        [](Context& cx, const std::vector<Tensor>& in) {
                          const Tensor y = mul(cx, add(cx, in[0], in[1]), in[0]);
                          return relu(cx, add(cx, mul(cx, y, in[2]), in[3]));
                        });
    }
  }
}

TEST_F(GpuOps, MeanSquaredError) {
  for (const DType t : {DType::f32, DType::bf16}) {
    for (const Shape& shape : {Shape{1}, Shape{1027}, Shape{130, 33}, Shape{2, 3, 5, 17}}) {
      test::expect_same(DType::f32, t == DType::bf16 ? 4 * 0x1p-8 : 1e-5, {{shape, t, 1}},
                        [&](Context& cx, const std::vector<Tensor>& in) {
                          const Values target = test::random_values(in[0].numel(), 2);
                          return mse(cx, in[0], test::place(cx, in[0].shape(), DType::f32, target));
                        });
    }
  }
}

TEST_F(GpuOps, CastsSumsAndColumnSums) {
  for (const int64_t n : {1, 7, 1027}) {
    test::expect_same(DType::f32, 0, {{{1, 1, n, 3}, DType::f32, 1}},
                      [](Context& cx, const std::vector<Tensor>& in) { return cast(cx, in[0], DType::bf16); });
  }
  Context gpu = test::device_context(), cpu;
  const Values a = test::random_values(3000 * 20, 1), b = test::random_values(3000 * 20, 2);
  const auto both = [&](Context& cx) {
    const Tensor addends[] = {test::place(cx, {3000, 20}, DType::f32, a), test::place(cx, {3000, 20}, DType::f32, b)};
    const Tensor columns = cx.empty({20}, DType::f32), total = sum(cx, addends);
    column_sum(cx, total, columns);
    return std::pair{test::fetch(cx, total), test::fetch(cx, columns)};
  };
  const auto expected = both(cpu), actual = both(gpu);
  EXPECT_EQ(actual.first, expected.first);
  EXPECT_TRUE(test::close(actual.second, expected.second, 3000 * 2 * 0x1p-24));
}

TEST_F(GpuOps, AdamOverTenSteps) {
  const auto once = [](Context cx) {
    const int64_t n = 100003;
    const Tensor p = test::place(cx, {n}, DType::f32, test::random_values(n, 1)), m = cx.zeros({n}, DType::f32),
                 v = cx.zeros({n}, DType::f32);
    for (AdamStep s{.weight_decay = 0.01, .decoupled = true}; s.step <= 10; ++s.step)
      adam(cx, p, test::place(cx, {n}, DType::f32, test::random_values(n, 10 + s.step)), m, v, s);
    return test::fetch(cx, p);
  };
  EXPECT_TRUE(test::close(once(test::device_context()), once(Context()), 10 * 2 * 0x1p-23));
}

TEST_F(GpuOps, FlipTestAndTargets) {
  const auto once = [](Context cx) {
    const int64_t joints = 17;
    const Tensor images = test::place(cx, {6, 9, 7, 3}, DType::f32, test::random_values(6 * 63 * 3, 1));
    append_mirrored(cx, images);
    const Tensor maps = test::place(cx, {6, 16, 12, joints}, DType::f32, test::random_values(6 * 192 * joints, 2));
    std::vector<int32_t> swap(joints);
    for (int k = 0; k < joints; ++k) swap[k] = static_cast<int32_t>(joints - 1 - k);
    const Tensor mirror = cx.empty({joints}, DType::i32);
    cx.upload(mirror, std::as_bytes(std::span(swap)));
    const Tensor average = flip_average(cx, maps, mirror, true);
    const Values numbers = test::random_values(3 * 28 * joints, 3);
    const Tensor profiles = cx.empty({3, 28, joints}, DType::f64);
    cx.upload(profiles, std::as_bytes(std::span(numbers)));
    return std::vector{test::fetch(cx, images), test::fetch(cx, average),
                       test::fetch(cx, gaussian_targets(cx, profiles, 16, 12))};
  };
  const auto expected = once(Context()), actual = once(test::device_context());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(actual[i], expected[i]) << i;
}

TEST_F(GpuOps, CropsAreTheHostsByteForByte) {
  Context cx = test::device_context();
  const Tensor normal = cx.empty({3, 256}, DType::f32);
  cx.upload(normal, std::as_bytes(std::span(normal_table())));
  const std::pair<int, int> sizes[] = {{48, 64}, {33, 45}, {38, 29}, {192, 256}};  // 4, 1 and 2 numbers per thread
  for (const auto& [w, h] : sizes) {
    const test::Crops crops = test::random_crops(64, w, h, static_cast<uint64_t>(w));
    const Tensor sources = cx.empty({crops.n, static_cast<int64_t>(CropSource::slot_bytes(w, h))}, DType::u8);
    cx.upload(sources, std::as_bytes(std::span(crops.sources)));
    const Tensor images = cx.empty({crops.n, h, w, 3}, DType::f32);
    crop(cx, sources, normal, images);
    const auto expected = std::as_bytes(std::span(crops.images));
    EXPECT_TRUE(std::ranges::equal(test::bytes_of(cx, images), expected)) << w << " x " << h;
  }
}

TEST_F(GpuOps, SumsOfNoRowsAreRefused) {
  Context cx = test::device_context();
  const Tensor y = cx.zeros({5}, DType::f32);
  EXPECT_THROW(column_sum(cx, cx.empty({0, 5}, DType::f32), y), Error);
  EXPECT_EQ(test::fetch(cx, y), Values(5, 0.0));
}

}  // namespace
}  // namespace hr
