#include "ops/conv/timer.h"

#include <algorithm>
#include <chrono>

#include "ops/conv/gpu_conv_kernel.h"
#include "ops/for_each.h"

namespace hr {
namespace {

constexpr double kWarmUpSeconds = 0.2;  // A GPU takes tens of milliseconds to go from its idle clock to its full clock.
constexpr uint32_t kLongHeadStart = 5'000'000;  // In nanoseconds. A host that needs longer is measured as it is.
constexpr float kLongRunsMs = 5;

}  // namespace

ConvTimer::ConvTimer(const Context& cx, const ConvBuffers& buffers, bool warm_up)
    : cx_(cx), buffers_(buffers), warm_up_(warm_up), begin_(cuda::create_event(true)), end_(cuda::create_event(true)) {
  cx_.profile = nullptr;  // A measurement is not part of the step.
}

ConvTimer::~ConvTimer() {
  if (workspace_ != nullptr) cuda::deallocate(workspace_);
  cuda::destroy_event(begin_);
  cuda::destroy_event(end_);
}

// One block of memory for all candidates, as large as the largest workspace so far, because allocating takes longer
// than most measurements. No work that uses it may be queued when this is called.
void* ConvTimer::workspace(int64_t bytes) {
  if (bytes > workspace_bytes_ || workspace_ == nullptr) {
    if (workspace_ != nullptr) cuda::deallocate(workspace_);
    workspace_ = nullptr;
    workspace_bytes_ = 0;
    workspace_ = cuda::allocate(static_cast<size_t>(std::max<int64_t>(bytes, 1)));
    workspace_bytes_ = bytes;
  }
  return workspace_;
}

float ConvTimer::operator()(const ConvCandidate& candidate, int launches) {
  void* scratch = workspace(candidate.workspace);
  const auto launch = [&] { candidate.run(cx_, buffers_, scratch); };
  try {
    if (launches == 1) launch();
    if (warm_up_) {
      const auto start = std::chrono::steady_clock::now();
      while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < kWarmUpSeconds) {
        launch();
        cuda::synchronize(cx_.stream);
      }
      warm_up_ = false;
    }
    for (;;) {
      for_each_flat(cx_, 1, OccupyDevice{head_start_});
      cuda::record(begin_, cx_.stream);
      for (int i = 0; i < launches; ++i) launch();
      cuda::record(end_, cx_.stream);
      const bool in_time = !cuda::done(begin_);  // True if all runs were queued before the first one began.
      cuda::synchronize(end_);
      // For long runs the microseconds of the host do not matter.
      if (in_time || head_start_ > kLongHeadStart || cuda::elapsed_ms(begin_, end_) > kLongRunsMs) break;
      head_start_ *= 4;
    }
  } catch (...) {
    // Runs that were queued before the failure still use the workspace.
    try {
      cuda::synchronize(cx_.stream);
    } catch (const Error&) {
      // The exception that is being thrown says more.
    }
    throw;
  }
  return cuda::elapsed_ms(begin_, end_) / static_cast<float>(launches);
}

}  // namespace hr
