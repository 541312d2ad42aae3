// cuDNN and cuBLASLt on the simulated device.
#include <cstring>

#include "core/error.h"
#include "ops/conv/cublaslt_gemm.h"
#include "ops/conv/cudnn_conv.h"
#include "tests/simulated_gpu/simulator.h"
#include "tests/support/conv_stand_in.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;

class Library final : public ConvLibrary {
 public:
  explicit Library(std::string name) : name_(std::move(name)) {}

  // There are two candidates. The second one must be the only user of its workspace while it runs. Like cuDNN, it makes
  // no f32 gradient of a filter from bf16, and has no ready deconvolution in bf16 with an epilogue.
  std::vector<ConvCandidate> candidates(const ConvProblem& p, const ConvSearch& search) override {
    const ConvGeometry& g = p.geometry;
    const bool gemm = g.kh == 1 && g.kw == 1 && g.stride == 1 && g.pad == 0 && !g.transposed;
    const bool epilogue = p.bias || p.add || p.relu;
    if (name_ == "cuBLASLt" && !gemm) return {};
    if (name_ == "cuDNN" && p.pass == Pass::backward_filter && g.src == DType::bf16 && g.dst == DType::f32) return {};
    const bool compiled = name_ == "cuDNN" && g.transposed && g.src == DType::bf16 && epilogue;
    if (search.kernels != ConvSearch::Kernels::all && compiled != (search.kernels == ConvSearch::Kernels::compiled))
      return {};
    std::vector<ConvCandidate> list;
    for (const int64_t workspace : {int64_t{0}, int64_t{4096}}) {
      if (static_cast<int>(list.size()) == search.at_most) break;
      const auto run = [p, workspace](const Context& cx, const ConvBuffers& buffers, void* scratch) {
        simulator::enqueue(cx.stream, [p, workspace, buffers, scratch] {
          std::memset(scratch, 0x5a, static_cast<size_t>(workspace));
          test::compute_convolution(p, buffers);
        });
      };
      list.push_back({fmt::format("{} {}", name_, list.size()), workspace, run});
    }
    return list;
  }
  std::optional<ConvCandidate> find(const ConvProblem& p, const std::string& name) override {
    for (ConvCandidate& c : candidates(p, {ConvSearch::Kernels::all})) {
      if (c.name == name) return std::move(c);
    }
    return {};
  }
  std::string description() const override { return "simulated " + name_; }

 private:
  std::string name_;
};

}  // namespace

std::unique_ptr<ConvLibrary> open_cudnn() { return std::make_unique<Library>("cuDNN"); }
std::unique_ptr<ConvLibrary> open_cublaslt() { return std::make_unique<Library>("cuBLASLt"); }
std::vector<ConvEngine> cudnn_engines(const ConvProblem&, const std::string&, const ConvSearch&) {
  fail("simulated cuDNN");
}
std::optional<ConvEngine> cudnn_engine(const ConvProblem&, const std::string&, const std::string&) {
  fail("simulated cuDNN");
}
std::string cudnn_version() { return "simulated cuDNN"; }
bool cudnn_available() { return true; }

}  // namespace hr
