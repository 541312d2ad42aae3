// Reading a clock, and the middle of what it said.
#pragma once
#include <algorithm>
#include <chrono>
#include <ctime>
#include <vector>

namespace hr {

// Seconds of a clock that never goes back; only differences mean something.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor time of this process, all threads: what a busy machine does not add to.
inline double processor_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// The larger one of two middles. At least one number.
inline double median(std::vector<double> v) {
  const auto middle = v.begin() + static_cast<int64_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

}  // namespace hr
