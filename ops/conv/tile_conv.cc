#include "ops/conv/tile_conv.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "ops/conv/tile_conv_launch.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;

// Tells whether the indices of the kernels, which are 32-bit numbers of pixels, hold.
bool index_fits(const ConvGeometry& g) { return g.n * g.h * g.w < int64_t{1} << 30; }

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

class TileConvs final : public ConvLibrary {
 public:
  TileConvs(int multiprocessors, int most_channels)
      : multiprocessors_(multiprocessors), most_channels_(most_channels) {}

  std::vector<ConvCandidate> candidates(const ConvProblem& p, const ConvSearch& search) override {
    if (search.kernels == ConvSearch::Kernels::compiled || search.at_most < 1) return {};
    if (std::optional<ConvCandidate> only = find(p, kName)) return {std::move(*only)};
    return {};
  }

  std::optional<ConvCandidate> find(const ConvProblem& p, const std::string& name) override {
    const ConvGeometry& g = p.geometry;
    const bool ours = g.kh == 3 && g.kw == 3 && g.pad == 1 && !g.transposed && g.src == DType::bf16;
    if (name != kName || !ours || !index_fits(g)) return {};
    if (g.stride == 2) return stem(p);
    if (g.stride != 1) return {};
    if (p.pass == Pass::backward_filter) return filter_gradient(g);
    if (!tile_conv_has_epilogues(g, most_channels_)) return {};
    const bool flipped = p.pass == Pass::backward_data;
    const auto run = [g, flipped, relu = p.relu, multiprocessors = multiprocessors_](const Context& cx,
                                                                                     const ConvBuffers& b, void*) {
      gpu::tile_conv(cx.stream, {.n = static_cast<int>(g.n),
                                 .h = static_cast<int>(g.h),
                                 .w = static_cast<int>(g.w),
                                 .channels = static_cast<int>(g.ci),
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

  // Remembered choices are kept under this text, so a library with more kernels makes choices of its own.
  std::string description() const override { return most_channels_ == 32 ? "own tiles" : "own tiles to 64 channels"; }

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

  int multiprocessors_, most_channels_;
};

}  // namespace

TileSettings TileSettings::from_environment() {
  TileSettings settings;
  const std::string_view channels = variable("HRNET_TILE_CHANNELS"), epilogues = variable("HRNET_TILE_EPILOGUES");
  check(channels.empty() || channels == "32" || channels == "64", "HRNET_TILE_CHANNELS={}: expected 32 or 64",
        channels);
  check(epilogues.empty() || epilogues == "statistics" || epilogues == "gradient" || epilogues == "all",
        "HRNET_TILE_EPILOGUES={}: expected statistics, gradient or all", epilogues);
  if (channels == "64") settings.most_channels = 64;
  settings.statistics = epilogues == "statistics" || epilogues == "all";
  settings.gradient = epilogues == "gradient" || epilogues == "all";
  return settings;
}

std::unique_ptr<ConvLibrary> make_tile_conv(int multiprocessors, int most_channels) {
  return std::make_unique<TileConvs>(multiprocessors, most_channels);
}

bool tile_conv_has_epilogues(const ConvGeometry& g, int most_channels) {
  return g.kh == 3 && g.kw == 3 && g.pad == 1 && g.stride == 1 && !g.transposed && g.src == DType::bf16 &&
         g.dst == DType::bf16 && g.ci == g.co && (g.ci == 32 || (g.ci == 64 && most_channels >= 64)) && index_fits(g);
}

Tensor tile_conv_with_statistics(const Context& cx, const ConvGeometry& g, int multiprocessors, const void* x,
                                 const void* filter, void* y) {
  const auto n = static_cast<int>(g.n), h = static_cast<int>(g.h), w = static_cast<int>(g.w),
             channels = static_cast<int>(g.ci);
  const Tensor parts = cx.empty({gpu::tile_conv_blocks(n, h, w, channels, multiprocessors), 4, g.ci}, DType::f32);
  gpu::tile_conv_with_statistics(cx.stream, {.n = n,
                                             .h = h,
                                             .w = w,
                                             .channels = channels,
                                             .multiprocessors = multiprocessors,
                                             .x = static_cast<const bf16*>(x),
                                             .filter = static_cast<const bf16*>(filter),
                                             .y = static_cast<bf16*>(y),
                                             .parts = parts.data<float>()});
  return parts;
}

Tensor tile_conv_with_gradient_epilogue(const Context& cx, const ConvGeometry& g, int multiprocessors, const void* dy,
                                        const void* filter, void* dx, const GradientEpilogue& epilogue) {
  const auto n = static_cast<int>(g.n), h = static_cast<int>(g.h), w = static_cast<int>(g.w),
             channels = static_cast<int>(g.ci);
  Tensor sums;
  if (epilogue.normalised != nullptr) {
    sums = cx.empty({gpu::tile_conv_blocks(n, h, w, channels, multiprocessors), 2, g.ci}, DType::f32);
  }
  gpu::tile_conv_with_gradient_epilogue(cx.stream, {.n = n,
                                                    .h = h,
                                                    .w = w,
                                                    .channels = channels,
                                                    .multiprocessors = multiprocessors,
                                                    .dy = static_cast<const bf16*>(dy),
                                                    .filter = static_cast<const bf16*>(filter),
                                                    .add = static_cast<const bf16*>(epilogue.add),
                                                    .mask = static_cast<const bf16*>(epilogue.mask),
                                                    .bits = epilogue.bits,
                                                    .normalised = static_cast<const bf16*>(epilogue.normalised),
                                                    .mean = epilogue.mean,
                                                    .scale = epilogue.scale,
                                                    .shift = epilogue.shift,
                                                    .dx = static_cast<bf16*>(dx),
                                                    .sums = sums.defined() ? sums.data<float>() : nullptr});
  return sums;
}

}  // namespace hr
