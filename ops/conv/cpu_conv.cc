#include "ops/conv/cpu_conv.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include "core/comm/comm.h"
#include "core/error.h"

namespace hr {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kClear = 1.3;  // Estimates are off by less than this factor.
constexpr const char* kWinograd = "winograd";
constexpr const char* kDirect = "direct";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

// The file of plans names the processor, because it may lie in a home folder that several machines share.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

CpuConv::CpuConv(fs::path plans, ConvPlanMemory::Listener listener)
    : plans_(std::move(plans)), listener_(std::move(listener)) {}

std::string CpuConv::description() const {
  const std::string direct = direct_.description();
  return winograd_.exists() ? direct + ", Winograd F(4x4, 3x3)" : direct;
}

// Measures both methods alternately and returns whether Winograd's method is to be used from now on.
template <class Direct, class Fast>
bool CpuConv::measure(const Context& cx, const std::string& problem, const Direct& direct, const Fast& fast) {
  if (!memory_) {
    memory_.emplace(plans_,
                    fmt::format("hrnet.cpp CPU plans 1; {}; x86-64-v{}; {}", processor_name(),
                                static_cast<int>(cpu_level()), direct_.description()),
                    listener_);
  }
  if (const std::string* known = memory_->find(problem)) return *known == kWinograd;
  // The measurement allocates from an allocator of its own, because the step's arena replays the allocations of its
  // first step.
  Context apart = cx;
  apart.allocator = std::make_shared<CachingAllocator>();
  apart.profile = nullptr;
  apart.loops = nullptr;
  PackedFilters packed;
  constexpr int kRounds = 7;
  double best_direct = 0, best_fast = 0;
  for (int round = 0; round <= kRounds; ++round) {
    auto start = Clock::now();
    direct(apart, &packed);
    const double t_direct = seconds_since(start);
    start = Clock::now();
    fast(apart);
    const double t_fast = seconds_since(start);
    // The first round is a warm-up, in which oneDNN also compiles its kernels.
    best_direct = round <= 1 ? t_direct : std::min(best_direct, t_direct);
    best_fast = round <= 1 ? t_fast : std::min(best_fast, t_fast);
  }
  return memory_->put(problem, best_fast < best_direct ? kWinograd : kDirect) == kWinograd;
}

// Computes the convolution by direct(context, packed) or by fast(context), which give the same result except for
// rounding. fast can be used only if it is `possible`.
template <class Direct, class Fast>
void CpuConv::run(const Context& cx, const ConvGeometry& g, Pass pass, const Direct& direct, const Fast& fast,
                  bool possible) {
  const double gain = cx.exact || !possible || !winograd_.supports(g) ? 0 : winograd_.gain(g, pass);
  bool is_fast = gain > 1;
  const bool alone = ranks == nullptr || ranks->size() == 1;
  if (gain > 1 / kClear && gain < kClear && alone && !plans_.empty() && (!memory_ || memory_->kept())) {
    is_fast = measure(cx, to_string(ConvProblem{g, pass}), direct, fast);
    // The choice was not saved, so the next run would measure again and might choose differently. The estimate decides
    // instead.
    if (!memory_->kept()) is_fast = gain > 1;
  }
  const ConvClock before = direct_.clock;
  const auto start = Clock::now();
  if (is_fast) {
    fast(cx);
    clock.primitives += seconds_since(start);
  } else {
    direct(cx, nullptr);
    clock.primitives += direct_.clock.primitives - before.primitives;
    clock.reorders += direct_.clock.reorders - before.reorders;
  }
  ++clock.calls;
}

// Runs a convolution that has only one method.
template <class Body>
void CpuConv::timed(const Body& body) {
  const auto start = Clock::now();
  body();
  clock.primitives += seconds_since(start);
  ++clock.calls;
}

void CpuConv::forward(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter, const float* bias,
                      const void* add, ConvAct act, void* y, PackedFilters* packed) {
  if (packed != nullptr && !cx.exact && rows_.supports(g)) {
    timed([&] {
      rows_.forward(cx, g, static_cast<const float*>(x), filter.f32, bias, static_cast<const float*>(add), act,
                    static_cast<float*>(y), packed);
    });
    return;
  }
  run(
      cx, g, Pass::forward,
      [&](const Context& in, PackedFilters* apart) {
        direct_.forward(in, g, x, filter, bias, add, act, y, apart != nullptr ? apart : packed);
      },
      [&](const Context& in) {
        winograd_.forward(in, g, static_cast<const float*>(x), filter.f32, bias, static_cast<const float*>(add), act,
                          static_cast<float*>(y));
      });
}

// Only Winograd's method computes statistics, and only where the estimate is clear, so that the choice does not depend
// on a measurement.
Tensor CpuConv::forward_with_statistics(const Context& cx, const ConvGeometry& g, const void* x, ConvFilter filter,
                                        void* y) {
  if (cx.exact || cx.loops != nullptr || !winograd_.supports(g) || winograd_.gain(g, Pass::forward) < kClear) return {};
  Tensor statistics;
  timed([&] {
    statistics =
        winograd_.forward_with_statistics(cx, g, static_cast<const float*>(x), filter.f32, static_cast<float*>(y));
  });
  return statistics;
}

// Our own methods read a summand where they write the result, once. oneDNN keeps partial sums in the result before it
// reads the summand. So a choice by measurement, which may be oneDNN's, does not count.
bool CpuConv::allows_y_over_add(const Context& cx, const ConvGeometry& g, bool packed) const {
  if (cx.exact) return false;
  if (packed && rows_.supports(g)) return true;
  return winograd_.supports(g) && winograd_.gain(g, Pass::forward) >= kClear;
}

bool CpuConv::joins(const Context& cx) const { return !cx.exact && rows_.exists(); }

void CpuConv::forward_joined(const Context& cx, const ConvGeometry& g, std::span<const ConvInput> inputs,
                             ConvFilter filter, const float* bias, ConvAct act, void* y, PackedFilters* packed) {
  timed([&] { rows_.forward_joined(cx, g, inputs, filter.f32, bias, act, static_cast<float*>(y), packed); });
}

void CpuConv::backward_data(const Context& cx, const ConvGeometry& g, const void* dy, ConvFilter filter, void* dx) {
  run(
      cx, g, Pass::backward_data,
      [&](const Context& in, PackedFilters*) { direct_.backward_data(in, g, dy, filter, dx); },
      [&](const Context& in) {
        winograd_.backward_data(in, g, static_cast<const float*>(dy), filter.f32, static_cast<float*>(dx));
      });
}

void CpuConv::backward_filter(const Context& cx, const ConvGeometry& g, const void* x, const void* dy, float* dfilter,
                              float* dbias) {
  if (!cx.exact && dbias == nullptr && products_.supports(g) && !winograd_.supports(g)) {
    timed([&] {
      products_.backward_filter(cx, g, static_cast<const float*>(x), static_cast<const float*>(dy), dfilter);
    });
    return;
  }
  run(
      cx, g, Pass::backward_filter,
      [&](const Context& in, PackedFilters*) { direct_.backward_filter(in, g, x, dy, dfilter, dbias); },
      [&](const Context&) {
        winograd_.backward_filter(g, static_cast<const float*>(x), static_cast<const float*>(dy), dfilter);
      },
      dbias == nullptr);
}

}  // namespace hr
