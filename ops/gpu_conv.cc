#include "ops/gpu_conv.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
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
  return {"cuDNN-bf16" + inner.name.substr(inner.name.find(' ')), offset + count * static_cast<int64_t>(sizeof(bf16)), run};
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
    Tensor kept, kept_bias;
    run(cx, p, {x, filter_for(cx, g, filter, packed, kept), y, bias_for(cx, g, bias, packed, kept_bias), add});
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
      reduce_rows(cx, rows, g.co, ColumnSum<T>{rows_of_dy, g.co}, [&](const float* sums, const RowBlocks&) {
        return ColumnTotal{sums, g.co, dbias};
      });
    };
    g.src == DType::bf16 ? total(static_cast<const bf16*>(dy)) : total(static_cast<const float*>(dy));
  }

  std::string description() const override { return libraries_; }

 private:
  static std::string heading(const Context& cx, const std::string& libraries) {
    const cuda::DeviceInfo info = cuda::device_info(cx.device.index);
    return fmt::format("hrnet.cpp plans 3; {}; sm_{}{}; {} multiprocessors; {}", info.name, info.major, info.minor,
                       info.multiprocessors, libraries);
  }

  // A first start takes a while, and how many shapes will come only the network knows: a line after 2 s, 6 s, 18 s ...
  void tell(double seconds) {
    ++shapes_;
    measuring_ += seconds;
    if (measuring_ < next_line_) return;
    while (next_line_ <= measuring_) next_line_ *= 3;
    fmt::print(stderr, "note: choosing the fastest kernel of each convolution: {} so far in {:.0f} s{}\n", shapes_,
               measuring_, conv_plan_file().empty() ? "" : fmt::format(", kept in {}", conv_plan_file().string()));
  }

  // [a, taps, b] -> [b, taps, a]
  static void swap_filter(const Context& cx, const float* from, float* to, int64_t a, int64_t taps, int64_t b) {
    for_each_flat(cx, a * taps * b, SwapFilterEnds<float>{from, to, a, taps, b});
  }

  // The bias in the result's type.
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
      // Never from the step's arena when the filter is kept: it replays a sequence of allocations, and only the first
      // call makes this one.
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

  void run(const Context& cx, const ConvProblem& p, const ConvBuffers& buffers) {
    const std::string name = to_string(p);
    auto chosen = chosen_.find(name);
    if (chosen == chosen_.end()) {
      std::vector<ConvCandidate> candidates = conv_candidates(*cudnn_, cublaslt_.get(), p, memory_.find(name));
      check(!candidates.empty(), "{}: no kernel for {}", libraries_, name);
      const Stopwatch watch;
      bool measured = false;
      const auto start = std::chrono::steady_clock::now();
      const size_t best = choose_candidate(memory_, name, candidates, [&](const ConvCandidate& candidate) {
        measured = true;
        return milliseconds(cx, watch, candidate, buffers);
      });
      chosen = chosen_.emplace(name, std::move(candidates[best])).first;
      if (measured) tell(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    const ConvCandidate& candidate = chosen->second;
    const Tensor workspace = cx.empty({std::max<int64_t>(candidate.workspace, 1)}, DType::u8);
    candidate.run(cx, buffers, workspace.raw());
    ++clock.calls;
  }

  std::unique_ptr<ConvLibrary> cudnn_, cublaslt_;  // candidates refer to them; cublaslt_ may be null
  std::string libraries_;
  ConvPlanMemory memory_;
  int shapes_ = 0;                        // measured so far
  double measuring_ = 0, next_line_ = 2;  // seconds
  std::unordered_map<std::string, ConvCandidate> chosen_;
};

}  // namespace

std::shared_ptr<ConvBackend> make_gpu_conv(const Context& cx) { return std::make_shared<GpuConv>(cx); }

std::vector<ConvCandidate> conv_candidates(ConvLibrary& cudnn, ConvLibrary* cublaslt, const ConvProblem& problem,
                                           const std::string* known) {
  // Up to the one that is known by its library and number.
  const auto wanted = [&](const std::string& library) {
    if (known == nullptr) return kCandidates;
    return known->starts_with(library + " ") ? std::atoi(known->c_str() + library.size() + 1) + 1 : 0;
  };
  std::vector<ConvCandidate> list;
  const ConvGeometry& g = problem.geometry;
  if (const int count = wanted("cuDNN"); count > 0) list = cudnn.candidates(problem, count);
  if (const int count = wanted("cuDNN-bf16"); count > 0 && problem.pass == Pass::backward_filter &&
                                              g.src == DType::bf16 && g.dst == DType::f32) {
    ConvProblem half = problem;  // as PyTorch does it
    half.geometry.dst = DType::bf16;
    for (const ConvCandidate& c : cudnn.candidates(half, count)) list.push_back(widened(c, g.co * g.kh * g.kw * g.ci));
  }
  if (const int count = wanted("cuBLASLt"); count > 0 && cublaslt != nullptr) {
    for (ConvCandidate& c : cublaslt->candidates(problem, count)) list.push_back(std::move(c));
  }
  const auto is_known = [&](const ConvCandidate& c) { return c.name == *known; };
  if (known == nullptr || std::any_of(list.begin(), list.end(), is_known)) return list;
  return conv_candidates(cudnn, cublaslt, problem);
}

}  // namespace hr
