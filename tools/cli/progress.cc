#include "tools/cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "tools/cli/cli.h"

namespace hr {
namespace {

constexpr double kRedraw = 0.1;     // seconds between two redraws of the bar
constexpr double kLineEvery = 10;   // plain lines are at least this many seconds apart,
constexpr double kLineAtMost = 60;  // and follow after a tenth of the work or after this many seconds
constexpr int kBar = 24;

int terminal_columns(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto whole = static_cast<int64_t>(std::min(std::round(seconds), 1e12));
  const int64_t s = whole % 60, m = whole / 60 % 60, h = whole / 3600;
  if (h >= 48) return fmt::format("{} d {:02}:{:02}", h / 24, h % 24, m);
  if (h > 0) return fmt::format("{}:{:02}:{:02}", h, m, s);
  return fmt::format("{}:{:02}", m, s);
}

Progress::Progress(std::string title, int64_t total) : Progress(std::move(title), total, Settings{}) {}

Progress::Progress(std::string title, int64_t total, Settings settings)
    : title_(std::move(title)), total_(std::max<int64_t>(total, 1)), settings_(std::move(settings)), known_(total > 0) {
  if (settings_.out == nullptr) settings_.out = stderr;
  terminal_ = settings_.terminal < 0 ? wants_colour(::fileno(settings_.out)) : settings_.terminal != 0;
  if (settings_.columns == 0) settings_.columns = terminal_ ? terminal_columns(::fileno(settings_.out)) : 80;
  started_ = printed_at_ = now();
}

Progress::~Progress() {
  if (dirty_) {
    std::fputc('\n', settings_.out);
    std::fflush(settings_.out);
  }
}

double Progress::now() const {
  if (settings_.clock) return settings_.clock();
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The rate is counted from the first update on, because the first unit includes the start-up, and a resumed run does
// not begin at zero.
double Progress::seconds_left(double at, int64_t done) const {
  if (done >= total_) return 0;
  if (first_done_ < 0 || done <= first_done_) return -1;
  return (at - first_at_) / static_cast<double>(done - first_done_) * static_cast<double>(total_ - done);
}

void Progress::update(int64_t done, std::string_view note) {
  if (finished_) return;
  const double at = now();
  if (first_done_ < 0) {
    first_done_ = done;
    first_at_ = at;
  }
  done_ = done;
  note_ = note;
  const double since = at - printed_at_;
  const bool due = terminal_ ? since >= kRedraw || !dirty_
                             : since >= kLineEvery && (since >= kLineAtMost || (done - printed_done_) * 10 >= total_);
  if (!due) return;
  draw(done, note, "ETA " + format_duration(seconds_left(at, done)), false);
  printed_at_ = at;
  printed_done_ = done;
}

void Progress::finish(std::string_view note) {
  if (finished_) return;
  if (!note.empty()) note_ = note;
  draw(done_, note_, "in " + format_duration(now() - started_), true);
  finished_ = true;
  dirty_ = false;
}

void Progress::say(std::string_view line) {
  if (title_.empty()) return;
  if (dirty_) fmt::print(settings_.out, "\r\x1b[K");
  fmt::print(settings_.out, "{}\n", line);
  std::fflush(settings_.out);
  dirty_ = false;  // the next update draws the bar again
}

void Progress::draw(int64_t done, std::string_view note, std::string_view clock_text, bool last) {
  if (title_.empty()) return;
  const double part = std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0);
  const int percent = static_cast<int>(part * 100);  // rounded down, so that 100 % means done
  const std::string_view gap = note.empty() ? "" : "  ";
  if (!known_) {
    const std::string_view time = last ? clock_text : "";
    const std::string line = fmt::format("{}  {}{}{}{}", title_, done, last ? "  " : "", time, gap).append(note);
    fmt::print(settings_.out, "{}{}{}", terminal_ ? "\r\x1b[K" : "", line, terminal_ && !last ? "" : "\n");
    dirty_ = terminal_ && !last;
  } else if (!terminal_) {
    fmt::print(settings_.out, "{}  {:3}%  {}{}{}\n", title_, percent, clock_text, gap, note);
  } else {
    const int filled = static_cast<int>(part * kBar);
    std::string bar(static_cast<size_t>(filled), '=');
    if (filled < kBar) bar += '>';
    bar.resize(kBar, ' ');
    std::string line = fmt::format("{} [{}] {:3}%  {}{}{}", title_, bar, percent, clock_text, gap, note);
    const auto room = static_cast<size_t>(std::max(settings_.columns - 1, 1));  // a full line would wrap
    if (line.size() > room) line.resize(room);
    fmt::print(settings_.out, "\r{}\x1b[K{}", line, last ? "\n" : "");
    dirty_ = !last;
  }
  std::fflush(settings_.out);
}

}  // namespace hr
