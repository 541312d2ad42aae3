#include "ops/conv/gpu_conv.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <unordered_map>

#include "core/comm/comm.h"
#include "core/file.h"
#include "ops/conv/candidates.h"
#include "ops/conv/choice.h"
#include "ops/conv/cublaslt_gemm.h"
#include "ops/conv/cudnn_conv.h"
#include "ops/conv/gpu_conv_kernel.h"
#include "ops/conv/tile_conv.h"
#include "ops/conv/timer.h"
#include "ops/elementwise_kernel.h"
#include "ops/for_each.h"
#include "ops/reduce_kernel.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Says what is measured, according to the environment (docs/guide/gpu.md).
struct Search {
  bool all = false;                    // HRNET_CONV_CANDIDATES=all.
  int at_most = ConvSearch().at_most;  // HRNET_CONV_CANDIDATES=N.
  fs::path log;                        // HRNET_CONV_LOG.

  Search() {
    if (const char* file = std::getenv("HRNET_CONV_LOG")) log = file;
    const char* wish = std::getenv("HRNET_CONV_CANDIDATES");
    if (wish == nullptr || *wish == 0) return;
    const std::string_view text(wish);
    all = text == "all";
    if (all) return;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), at_most);
    check(error == std::errc() && end == text.data() + text.size() && at_most >= 1,
          "HRNET_CONV_CANDIDATES={}: expected a number of candidates from each library, 1 or more, or all", text);
  }
};

class GpuConv final : public ConvBackend {
 public:
  explicit GpuConv(const Context& cx)
      : cudnn_(open_cudnn()),
        cublaslt_(open_cublaslt()),
        multiprocessors_(cuda::device_info(cx.device.index).multiprocessors),
        tile_(make_tile_conv(multiprocessors_, tile_settings_.most_channels)),
        description_(fmt::format("{}, {}, {}", cudnn_->description(),
                                 cublaslt_ != nullptr ? cublaslt_->description() : "no cuBLASLt",
                                 tile_->description())),
        memory_(conv_plan_file(), heading(cx, description_),
                cx.listener != nullptr ? *cx.listener : ConvPlanMemory::Listener()) {
    for (ConvLibrary* library : {cudnn_.get(), cublaslt_.get(), tile_.get()}) {
      if (library != nullptr) libraries_.push_back(library);
    }
  }

  void forward(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
               const void* add, ConvAct act, void* y, PackedFilters* packed) override {
    const bool silu = act == ConvAct::silu;  // SiLU is a separate pass.
    const ConvProblem p{g, Pass::forward, bias != nullptr, add != nullptr && !silu, act == ConvAct::relu, cx.tf32};
    Tensor kept, kept_bias;
    run(cx, p,
        {.x = x,
         .filter = filter_for(cx, g, filter, packed, kept),
         .out = y,
         .bias = bias_for(cx, g, bias, packed, kept_bias),
         .add = silu ? nullptr : add});
    if (!silu) return;
    const int64_t rows = g.n * g.out_h() * g.out_w();
    const auto finish = [&]<class T>(T* sums) {
      for_each(cx, rows, g.co, SiluEpilogue<T>{sums, static_cast<const T*>(add), g.co});
    };
    g.dst == DType::bf16 ? finish(static_cast<bf16*>(y)) : finish(static_cast<float*>(y));
  }

  void backward_data(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter, void* dx) override {
    ConvProblem p{g, Pass::backward_data};
    p.tf32 = cx.tf32;
    Tensor kept;
    run(cx, p, {.filter = filter_for(cx, g, filter, nullptr, kept), .y = dy, .out = dx});
  }

  Tensor forward_with_statistics(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter,
                                 void* y) override {
    if (!tile_settings_.statistics || !tile_conv_has_epilogues(g, tile_settings_.most_channels)) return {};
    Tensor kept;
    ++clock.calls;
    return tile_conv_with_statistics(cx, g, multiprocessors_, x, filter_for(cx, g, filter, nullptr, kept), y);
  }

  bool has_gradient_epilogue(const ConvGeometry& g) const override {
    return tile_settings_.gradient && tile_conv_has_epilogues(g, tile_settings_.most_channels);
  }

  Tensor backward_data_with_epilogue(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter,
                                     void* dx, const GradientEpilogue& epilogue) override {
    Tensor kept;
    ++clock.calls;
    return tile_conv_with_gradient_epilogue(cx, g, multiprocessors_, dy, filter_for(cx, g, filter, nullptr, kept), dx,
                                            epilogue);
  }

  void backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                       float* dbias) override {
    ConvProblem p{g, Pass::backward_filter};
    p.tf32 = cx.tf32;
    p.geometry.dst = DType::f32;
    Tensor swapped;
    if (g.transposed) swapped = cx.empty({g.co * g.kh * g.kw * g.ci}, DType::f32);
    float* f32 = g.transposed ? swapped.data<float>() : dfilter;
    bf16* half = halves != nullptr && !g.transposed ? halves->place(dfilter) : nullptr;
    const ConvCandidate& candidate = run(cx, p, {.x = x, .y = dy, .out = f32, .half = half});
    if (half != nullptr && candidate.writes_half) halves->mark(dfilter, g.co * g.kh * g.kw * g.ci, 1);
    if (g.transposed) swap_filter(cx, f32, dfilter, g.ci, g.kh * g.kw, g.co);
    if (dbias == nullptr) return;
    const int64_t rows = g.n * g.out_h() * g.out_w();
    const auto total = [&]<class T>(const T* rows_of_dy) {
      const Partials partials = reduce_rows(cx, rows, g.co, ColumnSum<T>{rows_of_dy, g.co});
      for_columns(cx, partials.blocks, g.co, ColumnTotal{partials.sums.data<float>(), g.co, dbias});
    };
    g.src == DType::bf16 ? total(static_cast<const bf16*>(dy)) : total(static_cast<const float*>(dy));
  }

  std::string description() const override { return description_; }

 private:
  static std::string heading(const Context& cx, const std::string& libraries) {
    const cuda::DeviceInfo info = cuda::device_info(cx.device.index);
    return fmt::format("hrnet.cpp plans 5; {}; sm_{}{}; {} multiprocessors; {}", info.name, info.major, info.minor,
                       info.multiprocessors, libraries);
  }

  // A first start takes a while, and only the network knows how many shapes will come. The listener is told after 2 s,
  // 6 s, 18 s and so on.
  void tell(const Context& cx, double seconds) {
    ++shapes_;
    measuring_ += seconds;
    if (measuring_ < next_line_) return;
    while (next_line_ <= measuring_) next_line_ *= 3;
    if (cx.listener == nullptr) return;
    (*cx.listener)(fmt::format("choosing the fastest kernel of each convolution: {} so far in {:.0f} s{}", shapes_,
                               measuring_,
                               conv_plan_file().empty() ? "" : fmt::format(", kept in {}", conv_plan_file().string())));
  }

  // [a, taps, b] -> [b, taps, a].
  static void swap_filter(const Context& cx, const float* from, float* to, int64_t a, int64_t taps, int64_t b) {
    for_each_flat(cx, a * taps * b, SwapFilterEnds<float>{from, to, a, taps, b});
  }

  // Returns the bias in the type of the result.
  static const void* bias_for(const Context& cx, const ConvGeometry& g, const float* bias, PackedFilters* packed,
                              Tensor& kept) {
    if (bias == nullptr || g.dst == DType::f32) return bias;
    Tensor* target = packed != nullptr ? &packed->by_layout["bias"] : &kept;
    if (target->defined()) return target->raw();
    Context persistent = cx;
    if (packed != nullptr) persistent.allocator = packed->allocator;
    *target = persistent.empty({g.co}, DType::bf16);
    for_each_flat(cx, g.co, Convert<float, bf16>{bias, target->data<bf16>()});
    return target->raw();
  }

  // Returns the filter in the type and order that the pass reads. Inference keeps it. Training rounds its filters once
  // per step, so that usually there is nothing to do.
  static const void* filter_for(const Context& cx, const ConvGeometry& g, ConvFilter filter, PackedFilters* packed,
                                Tensor& kept) {
    const bool half = g.src == DType::bf16;
    if (!g.transposed && !half) return filter.f32;
    if (!g.transposed && filter.rounded != nullptr) return filter.rounded;
    const std::string layout = half ? "bf16" : "f32";
    Tensor* target = packed != nullptr ? &packed->by_layout[layout] : &kept;
    if (target->defined()) return target->raw();
    Context persistent = cx;
    if (packed != nullptr) persistent.allocator = packed->allocator;
    const int64_t count = g.co * g.kh * g.kw * g.ci;
    const float* plain = filter.f32;
    Tensor swapped;
    if (g.transposed) {
      // A filter that is kept never lies in the step's arena, because the arena replays a sequence of allocations and
      // only the first call makes this one.
      swapped = persistent.empty({count}, DType::f32);
      swap_filter(cx, plain, swapped.data<float>(), g.co, g.kh * g.kw, g.ci);
      plain = swapped.data<float>();
    }
    if (half) {
      *target = persistent.empty({count}, DType::bf16);
      for_each_flat(cx, count, Convert<float, bf16>{plain, target->data<bf16>()});
    } else {
      *target = swapped;
    }
    return target->raw();
  }

  const ConvCandidate& run(const Context& cx, const ConvProblem& p, const ConvBuffers& buffers) {
    const std::string name = to_string(p);
    const bool shared = ranks != nullptr && ranks->size() > 1;
    auto& known = shared ? agreed_ : chosen_;
    auto chosen = known.find(name);
    if (chosen == known.end()) {
      ConvCandidate made = shared ? agree(cx, p, name, buffers) : choose(cx, p, name, buffers);
      chosen = known.emplace(name, std::move(made)).first;
    }
    const ConvCandidate& candidate = chosen->second;
    const Tensor workspace = cx.empty({std::max<int64_t>(candidate.workspace, 1)}, DType::u8);
    candidate.run(cx, buffers, workspace.raw());
    ++clock.calls;
    return candidate;
  }

  // Returns rank 0's choice. This rank's own earlier choices are ignored, so that all ranks ask for the same problems
  // in the same order, namely for those that they compute together for the first time.
  ConvCandidate agree(const Context& cx, const ConvProblem& p, const std::string& name, const ConvBuffers& buffers) {
    std::optional<ConvCandidate> own;
    if (ranks->rank() == 0) own = choose(cx, p, name, buffers);
    const std::string told = ranks->all_gather(name + '\t' + (own ? own->name : std::string()))[0];
    const size_t tab = told.find('\t');
    check(told.substr(0, tab) == name,
          "rank 0 computes {} where rank {} computes {}: all need the same model and batch", told.substr(0, tab),
          ranks->rank(), name);
    if (!own) own = find_candidate(libraries_, p, told.substr(tab + 1));
    // The GPU or the libraries of this rank differ, and the candidate does not exist here.
    if (!own) own = choose(cx, p, name, buffers);
    return std::move(*own);
  }

  // Returns the remembered candidate, or the fastest. Throws Error if none runs.
  ConvCandidate choose(const Context& cx, const ConvProblem& p, const std::string& name, const ConvBuffers& buffers) {
    if (const std::string* known = memory_.find(name)) {
      if (auto found = find_candidate(libraries_, p, *known)) return std::move(*found);
    }
    const auto start = Clock::now();
    const bool idle = seconds_since(measured_) > kIdleSeconds || shapes_ == 0;
    ConvTimer timer(cx, buffers, idle);
    std::exception_ptr failure;
    const auto of_tier = [&](ConvTier tier) -> std::optional<ConvCandidate> {
      std::vector<ConvCandidate> candidates = conv_candidates(libraries_, p, tier, search_.at_most);
      if (candidates.empty()) return {};
      const ConvChoice choice = choose_candidate(name, candidates, std::ref(timer));
      if (!search_.log.empty()) {
        std::string table = table_of(name, candidates, choice);
        table.pop_back();  // append_line adds the end of the last line.
        append_line(search_.log, table);
      }
      if (choice.failure && !failure) failure = choice.failure;
      if (choice.failure) return {};
      return std::move(candidates[choice.best]);
    };
    std::optional<ConvCandidate> best;
    using Tiers = std::vector<ConvTier>;
    for (const ConvTier tier : search_.all
                                   ? Tiers{ConvTier::all, ConvTier::rounded}
                                   : Tiers{ConvTier::ready, ConvTier::apart, ConvTier::compiled, ConvTier::rounded}) {
      if (!best) best = of_tier(tier);
    }
    if (!best && failure) std::rethrow_exception(failure);
    check(best.has_value(), "{}: no kernel for {}", description_, name);
    if (const std::string kept = memory_.put(name, best->name); kept != best->name) {
      if (auto found = find_candidate(libraries_, p, kept)) best = std::move(found);
    }
    measured_ = Clock::now();
    tell(cx, seconds_since(start));
    return std::move(*best);
  }

  // The time without a measurement after which the GPU's clocks have dropped.
  static constexpr double kIdleSeconds = 1;

  // The candidates refer to the libraries; cublaslt_ may be null.
  std::unique_ptr<ConvLibrary> cudnn_, cublaslt_;
  TileSettings tile_settings_ = TileSettings::from_environment();
  int multiprocessors_;
  std::unique_ptr<ConvLibrary> tile_;
  ConvLibraries libraries_;  // The libraries that are available.
  std::string description_;
  Search search_;
  ConvPlanMemory memory_;
  Clock::time_point measured_;            // The time of the last measurement.
  int shapes_ = 0;                        // The number of shapes measured so far.
  double measuring_ = 0, next_line_ = 2;  // In seconds.
  // The choices of this rank for itself, and those among the ranks.
  std::unordered_map<std::string, ConvCandidate> chosen_, agreed_;
};

}  // namespace

std::shared_ptr<ConvBackend> make_gpu_conv(const Context& cx) { return std::make_shared<GpuConv>(cx); }

}  // namespace hr
