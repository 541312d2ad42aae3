#include "ops/gpu_conv.h"

#include <algorithm>
#include <unordered_map>

#include "ops/conv_choice.h"
#include "ops/cublaslt_gemm.h"
#include "ops/cudnn_conv.h"
#include "ops/filter_layout_kernel.h"
#include "ops/for_each.h"
#include "ops/sum_kernel.h"

namespace hr {
namespace {

using Pass = ConvProblem::Pass;

constexpr int kCandidates = 10, kRepeats = 3;

// A candidate that makes a filter's gradient in bf16 as one that makes it in f32: what it wrote behind the workspace is
// widened.
ConvCandidate widened(const ConvCandidate& inner, int64_t count) {
  const int64_t offset = (inner.workspace + 63) / 64 * 64;
  const auto run = [inner, count, offset](const Context& cx, const ConvBuffers& buffers, void* workspace) {
    const auto* rounded = reinterpret_cast<const bf16*>(static_cast<std::byte*>(workspace) + offset);
    ConvBuffers half = buffers;
    half.filter = rounded;
    inner.run(cx, half, workspace);
    auto* gradient = static_cast<float*>(const_cast<void*>(buffers.filter));
    for_each_flat(cx, count, Convert<bf16, float>{rounded, gradient});
  };
  return {inner.name, offset + count * static_cast<int64_t>(sizeof(bf16)), run};
}

// Two events of a GPU, to time work on a stream.
struct Stopwatch {
  cuda::Event begin = cuda::create_event(true), end = cuda::create_event(true);
  Stopwatch() = default;
  ~Stopwatch() {
    cuda::destroy_event(begin);
    cuda::destroy_event(end);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
};

// The fastest of some runs after a first one. Error: it does not run, or its workspace does not fit.
float milliseconds(const Context& cx, const Stopwatch& watch, const ConvCandidate& candidate,
                   const ConvBuffers& buffers) {
  Context plain = cx;
  plain.profile = nullptr;  // a measurement is no part of the step
  const std::unique_ptr<void, decltype(&cuda::deallocate)> workspace(
      cuda::allocate(std::max<int64_t>(candidate.workspace, 1)), &cuda::deallocate);
  candidate.run(plain, buffers, workspace.get());
  float best = 0;
  for (int r = 0; r < kRepeats; ++r) {
    cuda::record(watch.begin, cx.stream);
    candidate.run(plain, buffers, workspace.get());
    cuda::record(watch.end, cx.stream);
    cuda::synchronize(watch.end);
    const float ms = cuda::elapsed_ms(watch.begin, watch.end);
    best = r == 0 ? ms : std::min(best, ms);
  }
  return best;
}

class GpuConv final : public ConvBackend {
 public:
  explicit GpuConv(const Context& cx)
      : cudnn_(open_cudnn()),
        cublaslt_(open_cublaslt()),
        libraries_(cudnn_->description() + ", " + (cublaslt_ != nullptr ? cublaslt_->description() : "no cuBLASLt")),
        memory_(conv_plan_file(), heading(cx, libraries_)) {}

  void forward(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
               const void* add, bool relu, void* y, PackedFilters* packed) override {
    const ConvProblem p{g, Pass::forward, bias != nullptr, add != nullptr, relu, cx.tf32};
    Tensor kept;
    run(cx, p, {x, filter_for(cx, g, filter, packed, kept), y, bias, add});
  }

  void backward_data(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter, void* dx) override {
    ConvProblem p{g, Pass::backward_data};
    p.tf32 = cx.tf32;
    Tensor kept;
    run(cx, p, {dx, filter_for(cx, g, filter, nullptr, kept), dy});
  }

  void backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                       float* dbias) override {
    ConvProblem p{g, Pass::backward_filter};
    p.tf32 = cx.tf32;
    p.geometry.dst = DType::f32;
    Tensor swapped;
    if (g.transposed) swapped = cx.empty({g.co * g.kh * g.kw * g.ci}, DType::f32);
    float* f32 = g.transposed ? swapped.data<float>() : dfilter;
    run(cx, p, {x, f32, dy});
    if (g.transposed) swap_filter(cx, f32, dfilter, g.ci, g.kh * g.kw, g.co);
    if (dbias == nullptr) return;
    const int64_t rows = g.n * g.out_h() * g.out_w();
    const auto total = [&]<class T>(const T* rows_of_dy) {
      const Partials partials = reduce_rows(cx, rows, g.co, ColumnSum<T>{rows_of_dy, g.co});
      for_columns(cx, partials.blocks, g.co, ColumnTotal{partials.sums.data<float>(), g.co, dbias});
    };
    g.src == DType::bf16 ? total(static_cast<const bf16*>(dy)) : total(static_cast<const float*>(dy));
  }

  std::string description() const override { return libraries_; }

 private:
  static std::string heading(const Context& cx, const std::string& libraries) {
    const cuda::DeviceInfo info = cuda::device_info(cx.device.index);
    return fmt::format("hrnet.cpp plans 2; {}; sm_{}{}; {} multiprocessors; {}", info.name, info.major, info.minor,
                       info.multiprocessors, libraries);
  }

  // [a, taps, b] -> [b, taps, a]
  static void swap_filter(const Context& cx, const float* from, float* to, int64_t a, int64_t taps, int64_t b) {
    for_each_flat(cx, a * taps * b, SwapFilterEnds<float>{from, to, a, taps, b});
  }

  // The filter in the type and order that the pass reads. Inference keeps what was made; training rounds its filters
  // once per step, so usually there is nothing to do.
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
      swapped = (half ? cx : persistent).empty({count}, DType::f32);
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

  void run(const Context& cx, const ConvProblem& p, const ConvBuffers& buffers) {
    const std::string name = to_string(p);
    auto chosen = chosen_.find(name);
    if (chosen == chosen_.end()) {
      std::vector<ConvCandidate> candidates = conv_candidates(*cudnn_, cublaslt_.get(), p);
      check(!candidates.empty(), "{}: no kernel for {}", libraries_, name);
      const Stopwatch watch;
      const size_t best = choose_candidate(memory_, name, candidates, [&](const ConvCandidate& candidate) {
        return milliseconds(cx, watch, candidate, buffers);
      });
      chosen = chosen_.emplace(name, std::move(candidates[best])).first;
    }
    const ConvCandidate& candidate = chosen->second;
    const Tensor workspace = cx.empty({std::max<int64_t>(candidate.workspace, 1)}, DType::u8);
    candidate.run(cx, buffers, workspace.raw());
    ++clock.calls;
  }

  std::unique_ptr<ConvLibrary> cudnn_, cublaslt_;  // candidates refer to them; cublaslt_ may be null
  std::string libraries_;
  ConvPlanMemory memory_;
  std::unordered_map<std::string, ConvCandidate> chosen_;
};

}  // namespace

std::shared_ptr<ConvBackend> make_gpu_conv(const Context& cx) { return std::make_shared<GpuConv>(cx); }

std::vector<ConvCandidate> conv_candidates(ConvLibrary& cudnn, ConvLibrary* cublaslt, const ConvProblem& problem) {
  std::vector<ConvCandidate> list = cudnn.candidates(problem, kCandidates);
  const ConvGeometry& g = problem.geometry;
  if (list.empty() && problem.pass == Pass::backward_filter && g.src == DType::bf16 && g.dst == DType::f32) {
    ConvProblem half = problem;  // as PyTorch does it
    half.geometry.dst = DType::bf16;
    for (const ConvCandidate& c : cudnn.candidates(half, kCandidates))
      list.push_back(widened(c, g.co * g.kh * g.kw * g.ci));
  }
  if (cublaslt != nullptr) {
    for (ConvCandidate& c : cublaslt->candidates(problem, kCandidates)) list.push_back(std::move(c));
  }
  return list;
}

}  // namespace hr
