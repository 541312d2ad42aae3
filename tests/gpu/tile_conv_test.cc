// Compares our own convolution kernels on a GPU with the CPU's convolution.
#include <cstring>

#include "ops/conv/tile_conv.h"
#include "tests/gpu/pair.h"
#include "tests/support/conv_stand_in.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;
using test::Values;

class GpuTileConv : public test::Gpu {
 protected:
  void SetUp() override {
    if (test::test_device() == "cpu") GTEST_SKIP() << "the tile kernels run on a GPU only";
    test::Gpu::SetUp();
  }
};

// Numbers of a type in host memory, in the form that the stand-in reads.
std::vector<std::byte> host_bytes(const Values& v, DType t) {
  Context cpu;
  const Tensor x = test::make(cpu, {static_cast<int64_t>(v.size())}, t, v);
  std::vector<std::byte> bytes(x.bytes());
  std::memcpy(bytes.data(), x.raw(), bytes.size());
  return bytes;
}

void expect_the_cpus(const ConvProblem& p) {
  SCOPED_TRACE(to_string(p));
  const Context cx = test::device_context(DType::bf16);
  const auto library = make_tile_conv(cuda::device_info(0).multiprocessors, 64);
  const auto candidates = library->candidates(p, {});
  ASSERT_EQ(candidates.size(), 1u);
  const ConvGeometry& g = p.geometry;
  const int64_t pixels = g.n * g.h * g.w, results = g.n * g.out_h() * g.out_w();
  const Shape x_shape{g.n, g.h, g.w, g.ci}, y_shape{g.n, g.out_h(), g.out_w(), g.co}, filter_shape{g.co, 3, 3, g.ci};
  const Values x = test::random_values(pixels * g.ci, 1, DType::bf16),
               y = test::random_values(results * g.co, 2, DType::bf16),
               filter = test::random_values(g.co * 9 * g.ci, 3, DType::bf16),
               bias = test::random_values(g.co, 4, DType::bf16),
               add = test::random_values(results * g.co, 5, DType::bf16);
  const bool writes_x = p.pass == Pass::backward_data, writes_filter = p.pass == Pass::backward_filter,
             writes_y = p.pass == Pass::forward;
  const Shape& out_shape = writes_x ? x_shape : writes_filter ? filter_shape : y_shape;
  const DType out_type = writes_filter ? g.dst : DType::bf16;

  const auto hx = host_bytes(x, DType::bf16), hy = host_bytes(y, DType::bf16), hf = host_bytes(filter, DType::bf16),
             hb = host_bytes(bias, DType::bf16), ha = host_bytes(add, DType::bf16);
  Context cpu;
  const Tensor expected = cpu.empty(out_shape, out_type);
  test::compute_convolution(p, {.x = hx.data(),
                                .filter = hf.data(),
                                .y = hy.data(),
                                .out = expected.raw(),
                                .bias = hb.data(),
                                .add = ha.data()});

  const Tensor tx = test::place(cx, x_shape, DType::bf16, x), ty = test::place(cx, y_shape, DType::bf16, y),
               tf = test::place(cx, filter_shape, DType::bf16, filter), tb = test::place(cx, {g.co}, DType::bf16, bias),
               ta = test::place(cx, y_shape, DType::bf16, add);
  std::vector<std::byte> first;
  for (int repeat = 0; repeat < 2; ++repeat) {
    const Tensor out = test::place(cx, out_shape, out_type, Values(numel(out_shape), 12345.0f));
    const Tensor workspace = cx.empty({std::max<int64_t>(candidates[0].workspace, 1)}, DType::u8);
    candidates[0].run(cx,
                      {.x = writes_x ? nullptr : tx.raw(),
                       .filter = writes_filter ? nullptr : tf.raw(),
                       .y = writes_y ? nullptr : ty.raw(),
                       .out = out.raw(),
                       .bias = p.bias ? tb.raw() : nullptr,
                       .add = p.add ? ta.raw() : nullptr},
                      workspace.raw());
    const Values actual = test::fetch(cx, out), wanted = test::values(expected);
    // The sums have up to 576 products, or one per pixel, in float32. A bf16 result is rounded once more.
    const double tolerance = writes_filter ? 1e-5 : test::rounding(DType::bf16) + 1e-5;
    EXPECT_TRUE(test::close(actual, wanted, tolerance * test::max_abs(wanted)));
    if (repeat == 0) first = test::bytes_of(cx, out);
    EXPECT_EQ(test::bytes_of(cx, out), first) << "depends on more than its inputs";
  }
}

TEST_F(GpuTileConv, EveryPassAtOddAndEvenSizesGivesTheCpusNumbers) {
  for (const auto& [n, h, w] : {std::array{1, 1, 1}, {2, 9, 7}, {3, 33, 17}, {2, 64, 48}, {16, 32, 24}}) {
    ConvProblem p{{.n = n,
                   .h = h,
                   .w = w,
                   .ci = 32,
                   .co = 32,
                   .kh = 3,
                   .kw = 3,
                   .pad = 1,
                   .src = DType::bf16,
                   .dst = DType::bf16},
                  Pass::forward};
    for (const int epilogue : {0, 1, 2, 3}) {
      p.bias = epilogue > 0, p.relu = epilogue > 1, p.add = epilogue > 2;
      expect_the_cpus(p);
    }
    p.bias = p.relu = p.add = false;
    p.pass = Pass::backward_data;
    expect_the_cpus(p);
    p.geometry.ci = p.geometry.co = 64;
    expect_the_cpus(p);
    p.pass = Pass::forward;
    expect_the_cpus(p);
    for (const auto& [ci, co] : {std::array{32, 32}, {64, 32}, {64, 64}, {128, 96}}) {
      const ConvProblem gradient{{.n = n,
                                  .h = h,
                                  .w = w,
                                  .ci = ci,
                                  .co = co,
                                  .kh = 3,
                                  .kw = 3,
                                  .pad = 1,
                                  .src = DType::bf16,
                                  .dst = DType::f32},
                                 Pass::backward_filter};
      expect_the_cpus(gradient);
    }
  }
}

TEST_F(GpuTileConv, TheStemGivesTheCpusNumbers) {
  for (const auto& [n, h, w] : {std::array{1, 2, 2}, {2, 9, 14}, {3, 65, 66}, {2, 256, 192}}) {
    ConvProblem p{{.n = n,
                   .h = h,
                   .w = w,
                   .ci = 3,
                   .co = 64,
                   .kh = 3,
                   .kw = 3,
                   .stride = 2,
                   .pad = 1,
                   .src = DType::bf16,
                   .dst = DType::bf16},
                  Pass::forward};
    expect_the_cpus(p);
    p.bias = p.relu = true;
    expect_the_cpus(p);
    p.bias = p.relu = false;
    p.pass = Pass::backward_filter;
    p.geometry.dst = DType::f32;
    expect_the_cpus(p);
  }
}

}  // namespace
}  // namespace hr
