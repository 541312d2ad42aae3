// Tests without a GPU whether cuDNN has a kernel for every convolution of our networks on an H200, from the properties
// of that GPU (h200.json, in cuDNN's format). This needs cuDNN's libraries, but no device and, except for fused
// epilogues, no driver.
#include <gtest/gtest.h>

#include <dlfcn.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <algorithm>
#include <set>

#include "core/file.h"
#include "ops/conv/cudnn_conv.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;

// LeakSanitizer ignores what is allocated during these tests, because cuDNN, cuBLASLt and the libraries that they load
// keep memory until the process ends. Our own descriptors are checked in the tests of the simulated GPU.
class CudnnPlans : public testing::Test {
#ifdef __SANITIZE_ADDRESS__
  __lsan::ScopedDisabler not_ours_;
#endif
};

// The different convolutions of HRNet with branches of c, 2c, 4c, 8c channels on n pictures of 256 x 192, and of
// PoseResNet's head.
std::vector<ConvGeometry> convolutions(int64_t n, int64_t c, DType t) {
  std::vector<ConvGeometry> all;
  const auto add = [&](int64_t h, int64_t w, int64_t ci, int64_t co, int64_t k, int64_t stride) {
    all.push_back({.n = n,
                   .h = h,
                   .w = w,
                   .ci = ci,
                   .co = co,
                   .kh = k,
                   .kw = k,
                   .stride = stride,
                   .pad = k / 2,
                   .src = t,
                   .dst = t});
  };
  add(256, 192, 3, 64, 3, 2);
  add(128, 96, 64, 64, 3, 2);
  add(64, 48, 64, 64, 1, 1);
  add(64, 48, 256, 64, 1, 1);
  add(64, 48, 64, 64, 3, 1);
  add(64, 48, 64, 256, 1, 1);
  add(64, 48, 256, c, 3, 1);
  add(64, 48, 256, 2 * c, 3, 2);
  add(64, 48, c, 17, 1, 1);
  for (int i = 0; i < 4; ++i) {
    const int64_t h = 64 >> i, w = 48 >> i, width = c << i;
    add(h, w, width, width, 3, 1);
    if (i < 3) add(h, w, width, width, 3, 2);
    for (int j = 0; j < i; ++j) add(h, w, width, c << j, 1, 1);
    for (int j = i + 1; j < 4; ++j) add(64 >> (j - 1), 48 >> (j - 1), width, c << j, 3, 2);
  }
  for (const int64_t ci : {2048, 256}) {
    all.push_back({.n = n,
                   .h = ci == 2048 ? 8 : 16,
                   .w = ci == 2048 ? 6 : 12,
                   .ci = ci,
                   .co = 256,
                   .kh = 4,
                   .kw = 4,
                   .stride = 2,
                   .pad = 1,
                   .transposed = true,
                   .src = t,
                   .dst = t});
  }
  return all;
}

std::string h200() { return read_file(test::source_folder() / "tests/ops/h200.json"); }

#ifdef HR_CUDNN_DESCRIBES_GPUS
#define NEEDS_CUDNN() \
  if (!cudnn_available()) GTEST_SKIP() << cudnn_version()
#else
#define NEEDS_CUDNN() GTEST_SKIP() << "built without CUDA, or with cuDNN headers that cannot describe a GPU"
#endif

// Expects a kernel of this kind for every problem, and prints those without one.
using Kernels = ConvSearch::Kernels;
void expect_kernels(const std::vector<ConvProblem>& problems, Kernels kernels = Kernels::ready) {
  const std::string device = h200();
  for (const ConvProblem& p : problems) {
    const auto engines = cudnn_engines(p, device, {kernels, 1});
    EXPECT_FALSE(engines.empty()) << to_string(p);
    for (const ConvEngine& e : engines) EXPECT_EQ(e.compiled, kernels == Kernels::compiled) << to_string(p);
  }
}

TEST_F(CudnnPlans, TrainingHasAKernelForEveryConvolutionAndItsGradients) {
  NEEDS_CUDNN();
  for (const DType t : {DType::bf16, DType::f32}) {
    for (const int64_t c : {32, 48}) {
      std::vector<ConvProblem> problems;
      for (const ConvGeometry& g : convolutions(c == 32 ? 128 : 16, c, t)) {
        for (const Pass pass : {Pass::forward, Pass::backward_data, Pass::backward_filter})
          problems.push_back({g, pass});
      }
      expect_kernels(problems);
    }
  }
}

TEST_F(CudnnPlans, Bf16KernelsUseTensorCoresWhereChannelsAllow) {
  NEEDS_CUDNN();
  const std::string device = h200();
  for (const ConvGeometry& g : convolutions(128, 32, DType::bf16)) {
    if (g.ci % 8 != 0 || g.co % 8 != 0) continue;
    for (const Pass pass : {Pass::forward, Pass::backward_data, Pass::backward_filter}) {
      const auto engines = cudnn_engines({g, pass}, device, {.at_most = 8});
      EXPECT_TRUE(std::any_of(engines.begin(), engines.end(), [](const ConvEngine& e) { return e.tensor_core; }))
          << to_string(ConvProblem{g, pass});
    }
  }
}

TEST_F(CudnnPlans, Float32WithoutTf32RoundsNothing) {
  NEEDS_CUDNN();
  const std::string device = h200();
  ConvProblem p{convolutions(8, 32, DType::f32)[4]};
  for (const ConvEngine& e : cudnn_engines(p, device, {.at_most = 8})) EXPECT_FALSE(e.tensor_core) << e.name;
  p.tf32 = true;
  const auto engines = cudnn_engines(p, device, {.at_most = 8});
  EXPECT_TRUE(std::any_of(engines.begin(), engines.end(), [](const ConvEngine& e) { return e.tensor_core; }));
}

// Convolution, bias, addend and ReLU in one kernel, on 16 pictures. With `compiled`: those for which cuDNN has no ready
// kernel, which are f32 heatmaps from bf16 and deconvolutions.
std::vector<ConvProblem> epilogues(bool compiled) {
  std::vector<ConvProblem> problems;
  for (const DType t : {DType::bf16, DType::f32}) {
    for (const ConvGeometry& g : convolutions(16, 32, t)) {
      const bool heatmaps = g.co == 17;
      ConvProblem p{.geometry = g, .bias = true, .relu = !heatmaps};
      if (heatmaps) p.geometry.dst = DType::f32;
      if ((g.transposed || p.geometry.dst != t) != compiled) continue;
      problems.push_back(p);
      p.add = !g.transposed && g.stride == 1 && !heatmaps;
      if (p.add) problems.push_back(p);
    }
  }
  return problems;
}

TEST_F(CudnnPlans, InferenceHasAReadyKernelForConvolutionBiasSummandAndRelu) {
  NEEDS_CUDNN();
  expect_kernels(epilogues(false));
}

TEST_F(CudnnPlans, InferenceHasOneKernelForHeatmapsAndDeconvolutions) {
  NEEDS_CUDNN();
  // These kernels are compiled on request, which cuDNN does only where a driver's library can be loaded.
  if (::dlopen("libcuda.so.1", RTLD_NOW) == nullptr) GTEST_SKIP() << "no driver library: " << ::dlerror();
  expect_kernels(epilogues(true), Kernels::compiled);
}

// If only a compiled kernel has the epilogue, a pass of our own completes the result: for deconvolutions, and for bf16
// heatmaps.
TEST_F(CudnnPlans, BareDeconvolutionsAndHeatmapsHaveReadyKernels) {
  NEEDS_CUDNN();
  std::vector<ConvProblem> problems;
  for (const DType t : {DType::bf16, DType::f32}) {
    for (const ConvGeometry& g : convolutions(16, 32, t)) {
      if (g.transposed || g.co == 17) problems.push_back({g});
    }
  }
  ASSERT_EQ(problems.size(), 6u);
  expect_kernels(problems);
}

// The name of an engine with its knobs is enough to make the same plan again.
TEST_F(CudnnPlans, EveryEngineIsFoundByItsName) {
  NEEDS_CUDNN();
  const std::string device = h200();
  const auto all = convolutions(128, 32, DType::bf16);
  size_t seen = 0;
  for (const size_t which : {size_t{1}, size_t{4}, size_t{6}, all.size() - 1}) {
    for (const Pass pass : {Pass::forward, Pass::backward_data, Pass::backward_filter}) {
      const ConvProblem p{all[which], pass};
      SCOPED_TRACE(to_string(p));
      std::set<std::string> names;
      for (const ConvEngine& e : cudnn_engines(p, device, {})) {
        ++seen;
        EXPECT_TRUE(names.insert(e.name).second) << e.name << " is offered twice";
        const auto again = cudnn_engine(p, device, e.name);
        ASSERT_TRUE(again.has_value()) << e.name;
        EXPECT_EQ(again->name, e.name);
        EXPECT_EQ(again->workspace, e.workspace) << e.name;
        EXPECT_EQ(again->tensor_core, e.tensor_core) << e.name;
      }
    }
  }
  EXPECT_GT(seen, 100u) << "all of the heuristic's suggestions, not only the first ten";
}

TEST_F(CudnnPlans, ANameThatMakesNoSenseIsNoEngine) {
  NEEDS_CUDNN();
  const std::string device = h200();
  const ConvProblem p{convolutions(128, 32, DType::bf16)[4]};
  const std::string good = cudnn_engines(p, device, {.at_most = 1}).at(0).name;
  ASSERT_TRUE(cudnn_engine(p, device, good).has_value());
  for (const std::string& name :
       {std::string(), std::string("eng"), std::string("3"), std::string("eng-1"), std::string("eng99999"),
        std::string("eng99999999999999999999"), good + " ", good + " k", good + " k2", good + " k2=", good + " k2=x",
        good + " k99999=1", good + " k-1=1", "x" + good, good.substr(0, good.size() - 1) + "99999"})
    EXPECT_FALSE(cudnn_engine(p, device, name).has_value()) << name;
}

}  // namespace
}  // namespace hr
