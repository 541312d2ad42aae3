// Compares every candidate of both libraries for 1x1 convolutions with the CPU, not only the one that would be chosen.
#include <algorithm>

#include "ops/conv/candidates.h"
#include "ops/conv/cublaslt_gemm.h"
#include "ops/conv/cudnn_conv.h"
#include "tests/gpu/pair.h"
#include "tests/support/conv_stand_in.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;
using test::Values;

class GpuConvCandidates : public test::Gpu {};

// Computes y, dx or dfilter of the problem from these numbers, in float32 on the CPU.
Values on_the_cpu(const ConvProblem& p, const Values& x, const Values& filter, const Values& y, const Values& bias,
                  const Values& add) {
  Context cx;
  ConvGeometry g = p.geometry;
  g.src = g.dst = DType::f32;
  const Shape x_shape{g.n, g.h, g.w, g.ci}, filter_shape{g.co, 1, 1, g.ci}, y_shape{g.n, g.h, g.w, g.co};
  const Tensor tx = test::make(cx, x_shape, DType::f32, x), tf = test::make(cx, filter_shape, DType::f32, filter),
               ty = test::make(cx, y_shape, DType::f32, y), tb = test::make(cx, {g.co}, DType::f32, bias),
               ta = test::make(cx, y_shape, DType::f32, add);
  const ConvFilter both{tf.data<float>(), nullptr};
  ConvBackend& conv = conv_backend(cx);
  const Tensor out = cx.empty(p.pass == Pass::forward         ? y_shape
                              : p.pass == Pass::backward_data ? x_shape
                                                              : filter_shape,
                              DType::f32);
  if (p.pass == Pass::forward) {
    conv.forward(cx, g, tx.raw(), both, p.bias ? tb.data<float>() : nullptr, p.add ? ta.raw() : nullptr,
                 p.relu ? ConvAct::relu : ConvAct::none, out.raw(), nullptr);
  } else if (p.pass == Pass::backward_data) {
    conv.backward_data(cx, g, ty.raw(), both, out.raw());
  } else {
    conv.backward_filter(cx, g, tx.raw(), ty.raw(), out.data<float>(), nullptr);
  }
  return test::values(out);
}

// With HRNET_TEST_DEVICE=cpu there are no GPU libraries. oneDNN takes their place, so that the tests themselves are
// tested.
class StandIn final : public ConvLibrary {
 public:
  explicit StandIn(std::string name) : name_(std::move(name)) {}
  std::vector<ConvCandidate> candidates(const ConvProblem& p, const ConvSearch&) override {
    const auto run = [p](const Context&, const ConvBuffers& b, void*) { test::compute_convolution(p, b); };
    return {{.name = name_ + " 0", .run = run}};
  }
  std::optional<ConvCandidate> find(const ConvProblem& p, const std::string& name) override {
    std::vector<ConvCandidate> only = candidates(p, {});
    if (name != only[0].name) return {};
    return std::move(only[0]);
  }
  std::string description() const override { return "oneDNN as " + name_; }

 private:
  std::string name_;
};

struct Libraries {
  std::unique_ptr<ConvLibrary> cudnn, cublaslt;
  ConvLibraries all() const {
    return cublaslt != nullptr ? ConvLibraries{cudnn.get(), cublaslt.get()} : ConvLibraries{cudnn.get()};
  }
};
Libraries open_libraries() {
  if (test::test_device() == "cpu") return {std::make_unique<StandIn>("cuDNN"), std::make_unique<StandIn>("cuBLASLt")};
  return {open_cudnn(), open_cublaslt()};
}

int64_t count_of(const std::vector<ConvCandidate>& list, const std::string& library) {
  return std::count_if(list.begin(), list.end(),
                       [&](const ConvCandidate& c) { return c.name.starts_with(library + " "); });
}

// Runs all candidates twice. Each must give the CPU's numbers, and the same bytes again. Candidates that a library
// offers but then refuses to run are left out, as they are when the program chooses.
void expect_all_equal_the_cpus(const Context& cx, const ConvProblem& p, const std::vector<ConvCandidate>& candidates) {
  SCOPED_TRACE(to_string(p));
  const ConvGeometry& g = p.geometry;
  const int64_t rows = g.n * g.h * g.w;
  const Values x = test::random_values(rows * g.ci, 1, g.src), filter = test::random_values(g.co * g.ci, 2, g.src),
               y = test::random_values(rows * g.co, 3, g.src), bias = test::random_values(g.co, 4, g.dst),
               add = test::random_values(rows * g.co, 5, g.dst, -3, 3);
  const Values expected = on_the_cpu(p, x, filter, y, bias, add);
  const bool writes_x = p.pass == Pass::backward_data, writes_filter = p.pass == Pass::backward_filter,
             writes_y = p.pass == Pass::forward;
  const DType result = writes_x ? g.src : g.dst;
  int ran = 0;
  for (const ConvCandidate& candidate : candidates) {
    SCOPED_TRACE(candidate.name);
    std::vector<std::byte> first;
    for (int repeat = 0; repeat < 2; ++repeat) {
      // Elements that a kernel does not write keep a value far from any result.
      const auto input_or = [&](bool written, const Shape& shape, const Values& v) {
        return written ? test::place(cx, shape, result, Values(v.size(), 12345 + repeat))
                       : test::place(cx, shape, g.src, v);
      };
      const Tensor tx = input_or(writes_x, {g.n, g.h, g.w, g.ci}, x),
                   tf = input_or(writes_filter, {g.co, g.ci}, filter),
                   ty = input_or(writes_y, {g.n, g.h, g.w, g.co}, y);
      const Tensor tb = test::place(cx, {g.co}, g.dst, bias), ta = test::place(cx, ty.shape(), g.dst, add);
      const Tensor& out = writes_x ? tx : writes_filter ? tf : ty;
      const Tensor workspace = cx.empty({std::max<int64_t>(candidate.workspace, 1)}, DType::u8);
      try {
        candidate.run(cx,
                      {.x = writes_x ? nullptr : tx.raw(),
                       .filter = writes_filter ? nullptr : tf.raw(),
                       .y = writes_y ? nullptr : ty.raw(),
                       .out = out.raw(),
                       .bias = p.bias ? tb.raw() : nullptr,
                       .add = p.add ? ta.raw() : nullptr},
                      workspace.raw());
      } catch (const Error& e) {
        EXPECT_EQ(repeat, 0) << "ran once, then: " << e.what();
        break;
      }
      ++ran;
      if (repeat == 1) {
        EXPECT_EQ(test::bytes_of(cx, out), first) << "depends on more than its inputs";
        continue;
      }
      first = test::bytes_of(cx, out);
      // float32: a sum of k products in another order is off by about sqrt(k) roundings of its largest partial sum. A
      // tensor core truncates instead of rounding, so the error is up to k roundings. A bf16 result is rounded once
      // more, and so is a result that is computed in bf16 and widened afterwards. If the epilogue is a pass of its own,
      // the result is rounded twice.
      const double sums = g.src == DType::bf16 ? 384 * 0x1p-22 : 1e-5;
      const bool apart = candidate.name.ends_with("apart"),
                 on_the_way = candidate.name.ends_with("widened") || candidate.name.ends_with("rounded");
      // If the number of channels is not a multiple of 8, both libraries round the sum to bf16 before the epilogue and
      // round the result again. This was seen on an H200, where all their kernels give the same bytes.
      const bool twice = apart || ((p.bias || p.add) && (g.ci % 8 != 0 || g.co % 8 != 0));
      const int roundings = result == DType::bf16 ? (twice ? 2 : 1) : on_the_way ? 1 : 0;
      const double tolerance = sums + roundings * test::rounding(DType::bf16);
      EXPECT_TRUE(test::close(test::fetch(cx, out), expected, tolerance * test::max_abs(expected)));
    }
  }
  EXPECT_GT(ran, 0) << "no candidate runs";
}

TEST_F(GpuConvCandidates, OfBothLibrariesGiveTheCpusNumbersInEveryPass) {
  const Libraries libraries = open_libraries();
  const Context cx = test::device_context();
  // These are the channels of stages and stem, of 17 joints, and of widths that no 16-byte access fits.
  const ConvGeometry shapes[] = {{.n = 2, .h = 16, .w = 12, .ci = 64, .co = 256},
                                 {.n = 3, .h = 8, .w = 6, .ci = 256, .co = 64},
                                 {.n = 2, .h = 16, .w = 12, .ci = 32, .co = 17},
                                 {.n = 1, .h = 13, .w = 11, .ci = 18, .co = 36},
                                 {.n = 1, .h = 5, .w = 3, .ci = 7, .co = 33}};
  int64_t gemms = 0;
  const auto expect_all = [&](const ConvProblem& p) {
    std::vector<ConvCandidate> candidates;
    for (const ConvTier tier : {ConvTier::ready, ConvTier::apart, ConvTier::rounded}) {
      for (ConvCandidate& c : conv_candidates(libraries.all(), p, tier)) candidates.push_back(std::move(c));
    }
    gemms += count_of(candidates, "cuBLASLt");
    expect_all_equal_the_cpus(cx, p, candidates);
  };
  for (ConvGeometry g : shapes) {
    for (const DType t : {DType::f32, DType::bf16}) {
      g.src = g.dst = t;
      expect_all({g, Pass::backward_data});
      // These are the epilogues of training and inference. For others, and for f32 heatmaps from bf16, cuDNN compiles a
      // kernel in a second or two.
      expect_all({g, Pass::forward});
      for (const bool add : {false, true}) {
        for (const bool relu : {false, true}) expect_all({g, Pass::forward, true, add, relu});
      }
      if (t == DType::bf16) {
        g.dst = DType::f32;
        expect_all({g, Pass::forward, true});
      }
      g.dst = DType::f32;
      expect_all({g, Pass::backward_filter});
    }
  }
  if (libraries.cublaslt == nullptr) GTEST_SKIP() << "cuBLASLt is not installed: only cuDNN's candidates were compared";
  EXPECT_GT(gemms, 0);
}

TEST_F(GpuConvCandidates, CublasltOffersEveryPassOfAlignedChannels) {
  const Libraries libraries = open_libraries();
  if (libraries.cublaslt == nullptr) GTEST_SKIP() << "cuBLASLt is not installed";
  ConvGeometry g{.n = 2, .h = 16, .w = 12, .ci = 64, .co = 256};
  for (const DType t : {DType::f32, DType::bf16}) {
    g.src = g.dst = t;
    for (const bool add : {false, true}) {
      for (const bool relu : {false, true}) {
        const ConvProblem p{g, Pass::forward, true, add, relu};
        EXPECT_FALSE(libraries.cublaslt->candidates(p, {.at_most = 1}).empty()) << to_string(p);
      }
    }
    EXPECT_FALSE(libraries.cublaslt->candidates({g, Pass::backward_data}, {.at_most = 1}).empty());
    g.dst = DType::f32;
    EXPECT_FALSE(libraries.cublaslt->candidates({g, Pass::backward_filter}, {.at_most = 1}).empty());
  }
}

}  // namespace
}  // namespace hr
