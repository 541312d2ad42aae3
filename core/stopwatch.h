// Measures time, and computes the median of several measurements.
#pragma once
#include <algorithm>
#include <chrono>
#include <ctime>
#include <vector>

namespace hr {

// Returns the seconds of a monotonic clock. Only differences of two results are meaningful.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Returns the processor time, in seconds, of all threads of this process. Other load on the machine does not count.
inline double processor_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Returns the median, and for an even number of values the larger of the two in the middle. `v` must not be empty.
inline double median(std::vector<double> v) {
  const auto middle = v.begin() + static_cast<int64_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

}  // namespace hr
