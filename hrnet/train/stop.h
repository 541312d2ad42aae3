// A wish that a training run ends in an orderly way, after the step that runs.
#pragma once
#include <atomic>

namespace hr {

// May be asked for from any thread and from a signal handler; the run reads it after each step. (std::stop_source takes
// locks, which a signal handler must not.)
class StopRequest {
 public:
  // `reason` is what TrainEnd tells afterwards: a signal's number, say. Not 0.
  void request(int reason = 1) noexcept { reason_.store(reason, std::memory_order_relaxed); }
  void clear() noexcept { request(0); }
  int reason() const noexcept { return reason_.load(std::memory_order_relaxed); }  // 0: nobody has asked

 private:
  std::atomic<int> reason_{0};
  static_assert(std::atomic<int>::is_always_lock_free);
};

}  // namespace hr
