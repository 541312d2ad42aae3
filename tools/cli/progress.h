// A line that shows the progress of the work. On a terminal it is a bar, redrawn at most ten times a second. Elsewhere
// (a log file, a pipe) it is a plain line now and then, so that logs stay readable.
//
//   Progress progress("epoch 3/20", steps);
//   for (...) progress.update(step + 1, fmt::format("loss {:.4f}  {:.0f} img/s", loss, rate));
//   progress.finish("loss 0.0123");
#pragma once
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

namespace hr {

// Formats a duration, rounded to whole seconds: "0:07", "12:34", "1:02:03", "3 d 04:05"; "?" for a negative or
// non-finite number.
std::string format_duration(double seconds);

class Progress {
 public:
  struct Settings {
    std::FILE* out = nullptr;       // null: stderr
    int terminal = -1;              // 1: bar, 0: plain lines, -1: a bar if `out` is a terminal
    int columns = 0;                // 0: the width of the terminal
    std::function<double()> clock;  // seconds; empty: the steady clock
  };

  // With an empty title nothing is shown, as ranks other than the first need it.
  // With a total of 0 the total is unknown, and neither a bar nor an ETA is shown.
  explicit Progress(std::string title, int64_t total);
  Progress(std::string title, int64_t total, Settings settings);
  ~Progress();  // an unfinished bar is left as it stands, with a line break
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of `total` units are done. It is cheap enough to be called in every step. Not thread-safe.
  void update(int64_t done, std::string_view note = {});
  // Prints the last line, with the elapsed time in place of the time left. Later calls do nothing.
  void finish(std::string_view note = {});
  // Prints a line of its own (a warning, a result) without running into the bar.
  void say(std::string_view line);

 private:
  double now() const;
  double seconds_left(double at, int64_t done) const;
  void draw(int64_t done, std::string_view note, std::string_view clock_text, bool last);

  std::string title_, note_;
  int64_t total_ = 0, done_ = 0, first_done_ = -1, printed_done_ = 0;
  Settings settings_;
  bool known_ = true, terminal_ = false, finished_ = false, dirty_ = false;
  double started_ = 0, first_at_ = 0, printed_at_ = 0;
};

}  // namespace hr
