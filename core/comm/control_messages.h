// The messages that the server of the control connection (core/comm/control_server.h) and its clients
// (core/comm/control.h) exchange, and the time limits that both apply.
#pragma once
#include <string>
#include <string_view>

#include "core/comm/control.h"

namespace hr::control {

inline constexpr std::string_view kMagic = "hrnet.cpp ranks 1";
inline constexpr size_t kLargest = size_t{1}
                                   << 30;  // Limits the results of a gather; the limit for hello is far lower.
inline constexpr size_t kWelcome = size_t{1} << 20;  // The limit before the server has identified itself as rank 0.
inline constexpr Milliseconds kGrace{500};           // Ranks that fail for the same reason do so within this time.
inline constexpr Milliseconds kPrintedWithin{3000};  // Rank 0 gets this long to take over the printing.
inline constexpr Milliseconds kHangsUpWithin{1000};
inline constexpr int kPatience = 20;  // A barrier or a busy rank may take this many times longer.

enum Kind : uint8_t {
  // Messages to the server.
  hello = 1,
  put,
  get,
  gather,
  fail_with,
  bye,
  // Messages to a rank.
  welcome,
  value,
  gathered,
  abort_with,
  printed,
  farewell,
  // Messages in both directions.
  beat_beat,
};

inline Milliseconds since(Clock::time_point t) { return std::chrono::duration_cast<Milliseconds>(Clock::now() - t); }
inline double seconds(Milliseconds t) { return static_cast<double>(t.count()) / 1000; }

std::string host_name();
std::string describe(int rank, const std::string& host, int pid);

std::string pack(const Failure& f);
Failure unpack_failure(std::string_view payload);

// Measures how long this thread did not run, because its process was stopped or the machine was busy. Messages that it
// could not read meanwhile must not count as silence of the other processes, so this time is added to their deadlines.
class OwnAbsence {
 public:
  explicit OwnAbsence(Milliseconds beat) : allowed_(2 * beat + Milliseconds(500)) {}
  // Call once per round of the loop. Returns the time by which to extend the deadlines of all others.
  Clock::duration round() {
    const auto now = Clock::now(), before = last_;
    last_ = now;
    return now - before > allowed_ ? now - before : Clock::duration{};
  }
  // Returns the time of the last round. Silence must be judged at this time, because an absence after it has not been
  // measured yet.
  Clock::time_point last() const { return last_; }

 private:
  Clock::duration allowed_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace hr::control
