#include "ops/conv/tile_conv.h"

#include <algorithm>

#include "ops/conv/tile_conv_launch.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;

class TileConvs final : public ConvLibrary {
 public:
  explicit TileConvs(int multiprocessors) : multiprocessors_(multiprocessors) {}

  std::vector<ConvCandidate> candidates(const ConvProblem& p, const ConvSearch& search) override {
    if (search.kernels == ConvSearch::Kernels::compiled || search.at_most < 1) return {};
    if (std::optional<ConvCandidate> only = find(p, kName)) return {std::move(*only)};
    return {};
  }

  std::optional<ConvCandidate> find(const ConvProblem& p, const std::string& name) override {
    const ConvGeometry& g = p.geometry;
    const bool ours = g.kh == 3 && g.kw == 3 && g.pad == 1 && !g.transposed && g.src == DType::bf16;
    const bool index_fits = g.n * g.h * g.w < int64_t{1} << 30;
    if (name != kName || !ours || !index_fits) return {};
    if (g.stride == 2) return stem(p);
    if (g.stride != 1) return {};
    if (p.pass == Pass::backward_filter) return filter_gradient(g);
    if (g.ci != 32 || g.co != 32 || g.dst != DType::bf16) return {};
    const bool flipped = p.pass == Pass::backward_data;
    const auto run = [g, flipped, relu = p.relu, multiprocessors = multiprocessors_](const Context& cx,
                                                                                     const ConvBuffers& b, void*) {
      gpu::tile_conv(cx.stream, {.n = static_cast<int>(g.n),
                                 .h = static_cast<int>(g.h),
                                 .w = static_cast<int>(g.w),
                                 .multiprocessors = multiprocessors,
                                 .x = static_cast<const bf16*>(flipped ? b.y : b.x),
                                 .filter = static_cast<const bf16*>(b.filter),
                                 .bias = static_cast<const bf16*>(b.bias),
                                 .add = static_cast<const bf16*>(b.add),
                                 .y = static_cast<bf16*>(b.out),
                                 .relu = relu,
                                 .flipped = flipped});
    };
    return ConvCandidate{kName, 0, run};
  }

  std::string description() const override { return "own tiles"; }

 private:
  static constexpr const char* kName = "tile 3";  // The number is the version of the kernels.

  std::optional<ConvCandidate> filter_gradient(const ConvGeometry& g) const {
    if (g.ci % 32 != 0 || g.co % 32 != 0 || g.dst != DType::f32) return {};
    const int64_t parts = g.ci / 32 * (g.co / 32);
    const int64_t tiles = g.n * ((g.h + 15) / 16) * ((g.w + 15) / 16);
    const auto slots = static_cast<int>(std::clamp<int64_t>(multiprocessors_ / parts, 1, tiles));
    const auto run = [g, slots](const Context& cx, const ConvBuffers& b, void* workspace) {
      gpu::tile_filter_gradient(cx.stream, {.n = static_cast<int>(g.n),
                                            .h = static_cast<int>(g.h),
                                            .w = static_cast<int>(g.w),
                                            .ci = static_cast<int>(g.ci),
                                            .co = static_cast<int>(g.co),
                                            .slots = slots,
                                            .x = static_cast<const bf16*>(b.x),
                                            .dy = static_cast<const bf16*>(b.y),
                                            .partial = static_cast<float*>(workspace),
                                            .filter = static_cast<float*>(b.out)});
    };
    return ConvCandidate{kName, slots * parts * gpu::kTilePartBytes, run};
  }

  // The first convolution of a network. Its gradient of the data, which would be that of the picture, is not needed.
  std::optional<ConvCandidate> stem(const ConvProblem& p) const {
    const ConvGeometry& g = p.geometry;
    if (g.ci != 3 || g.co != 64 || g.w % 2 != 0 || p.add) return {};
    if (p.pass == Pass::forward && g.dst == DType::bf16) {
      const auto run = [g, relu = p.relu](const Context& cx, const ConvBuffers& b, void*) {
        gpu::stem_conv(cx.stream, {.n = static_cast<int>(g.n),
                                   .h = static_cast<int>(g.h),
                                   .w = static_cast<int>(g.w),
                                   .x = static_cast<const bf16*>(b.x),
                                   .filter = static_cast<const bf16*>(b.filter),
                                   .bias = static_cast<const bf16*>(b.bias),
                                   .y = static_cast<bf16*>(b.out),
                                   .relu = relu});
      };
      return ConvCandidate{kName, 0, run};
    }
    if (p.pass != Pass::backward_filter || g.dst != DType::f32) return {};
    const int64_t tiles = g.n * ((g.out_h() + 15) / 16) * ((g.out_w() + 15) / 16);
    const auto blocks = static_cast<int>(std::min<int64_t>(tiles, 2 * multiprocessors_));
    const auto run = [g, blocks](const Context& cx, const ConvBuffers& b, void* workspace) {
      gpu::stem_filter_gradient(cx.stream, {.n = static_cast<int>(g.n),
                                            .h = static_cast<int>(g.h),
                                            .w = static_cast<int>(g.w),
                                            .blocks = blocks,
                                            .x = static_cast<const bf16*>(b.x),
                                            .dy = static_cast<const bf16*>(b.y),
                                            .partial = static_cast<float*>(workspace),
                                            .filter = static_cast<float*>(b.out)});
    };
    return ConvCandidate{kName, blocks * gpu::kStemPartBytes, run};
  }

  int multiprocessors_;
};

}  // namespace

std::unique_ptr<ConvLibrary> make_tile_conv(int multiprocessors) {
  return std::make_unique<TileConvs>(multiprocessors);
}

}  // namespace hr
