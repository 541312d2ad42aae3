// A request to end a training run in an orderly way after the current step.
#pragma once
#include <atomic>

namespace hr {

// Thread-safe, and safe in a signal handler, unlike std::stop_source, which takes locks. The run reads it after each
// step.
class StopRequest {
 public:
  // `reason` is returned in TrainEnd, for example the number of a signal. It must not be 0.
  void request(int reason = 1) noexcept { reason_.store(reason, std::memory_order_relaxed); }
  void clear() noexcept { request(0); }
  int reason() const noexcept { return reason_.load(std::memory_order_relaxed); }  // 0 if no stop was requested

 private:
  std::atomic<int> reason_{0};
  static_assert(std::atomic<int>::is_always_lock_free);
};

}  // namespace hr
