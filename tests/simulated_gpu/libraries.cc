// cuDNN and cuBLASLt on the simulated device.
#include <cstring>

#include "core/error.h"
#include "ops/cublaslt_gemm.h"
#include "ops/cudnn_conv.h"
#include "tests/simulated_gpu/simulator.h"
#include "tests/support/conv_stand_in.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;

class Library final : public ConvLibrary {
 public:
  explicit Library(std::string name) : name_(std::move(name)) {}

  // Two candidates; the second one needs its workspace to itself while it runs.
  std::vector<ConvCandidate> candidates(const ConvProblem& p, int at_most) override {
    const ConvGeometry& g = p.geometry;
    const bool gemm = g.kh == 1 && g.kw == 1 && g.stride == 1 && g.pad == 0 && !g.transposed;
    if (name_ == "cuBLASLt" && !gemm) return {};
    // As the real one: no f32 gradient of a filter from bf16.
    if (name_ == "cuDNN" && p.pass == Pass::backward_filter && g.src == DType::bf16 && g.dst == DType::f32) return {};
    std::vector<ConvCandidate> list;
    for (const int64_t workspace : {int64_t{0}, int64_t{4096}}) {
      if (static_cast<int>(list.size()) == at_most) break;
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
  std::string description() const override { return "simulated " + name_; }

 private:
  std::string name_;
};

}  // namespace

std::unique_ptr<ConvLibrary> open_cudnn() { return std::make_unique<Library>("cuDNN"); }
std::unique_ptr<ConvLibrary> open_cublaslt() { return std::make_unique<Library>("cuBLASLt"); }
std::vector<ConvEngine> cudnn_engines(const ConvProblem&, const std::string&, int) { fail("simulated cuDNN"); }
std::string cudnn_version() { return "simulated cuDNN"; }
bool cudnn_available() { return true; }

}  // namespace hr
