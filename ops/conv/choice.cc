#include "ops/conv/choice.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "core/cuda.h"
#include "core/error.h"

namespace hr {
namespace {

// Keeps other programs from changing a file while this object exists; they wait for the same lock, on a file beside it.
// If locks do not work, or another program holds the lock for seconds, the program continues without it: a lost choice
// is only measured again.
class FileLock {
 public:
  explicit FileLock(const fs::path& path)
      : fd_(::open((path.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (fd_ < 0) return;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) return;
      if (std::chrono::steady_clock::now() > deadline) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  ~FileLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

bool is_plain(std::string_view text) {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

using Choices = std::map<std::string, std::string>;  // The candidates by problem.

// The sections of a plan file, the one that was written last first.
struct Section {
  std::string heading;
  Choices choices;
};
constexpr size_t kSections = 8;

std::vector<Section> read_sections(const fs::path& path) {
  std::vector<Section> sections;
  std::error_code ignored;
  if (path.empty() || !fs::exists(path, ignored)) return sections;
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error&) {
    return sections;  // Everything is measured again. write() reports whether the file can be replaced.
  }
  for (size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string_view line = std::string_view(text).substr(at, end - at);
    const size_t tab = std::min(line.find('\t'), line.size());
    const std::string_view candidate = line.substr(0, tab), problem = line.substr(std::min(tab + 1, line.size()));
    if (line.starts_with('[') && line.ends_with(']') && tab == line.size()) {
      sections.push_back({std::string(line.substr(1, line.size() - 2)), {}});
    } else if (!sections.empty() && is_plain(candidate) && is_plain(problem)) {
      sections.back().choices[std::string(problem)] = candidate;
    }
  }
  return sections;
}

Choices read_choices(const fs::path& path, const std::string& heading) {
  for (Section& section : read_sections(path)) {
    if (section.heading == heading) return std::move(section.choices);
  }
  return {};
}

}  // namespace

fs::path conv_plan_file(const char* name) {
  if (const char* folder = std::getenv("HRNET_CACHE")) return fs::path(folder) / name;
  if (const char* folder = std::getenv("XDG_CACHE_HOME")) return fs::path(folder) / "hrnet.cpp" / name;
  if (const char* home = std::getenv("HOME")) return fs::path(home) / ".cache" / "hrnet.cpp" / name;
  return {};
}

ConvPlanMemory::ConvPlanMemory(fs::path path, std::string heading, Listener listener)
    : path_(std::move(path)),
      heading_(std::move(heading)),
      choices_(read_choices(path_, heading_)),
      listener_(std::move(listener)) {}

const std::string* ConvPlanMemory::find(const std::string& problem) const {
  const auto it = choices_.find(problem);
  return it == choices_.end() ? nullptr : &it->second;
}

std::string ConvPlanMemory::put(const std::string& problem, const std::string& candidate) {
  const std::string* before = find(problem);
  const std::string useless = before != nullptr ? *before : "";
  choices_[problem] = candidate;
  if (path_.empty()) return candidate;
  try {
    fs::create_directories(path_.parent_path());
    write(problem, useless);
  } catch (const std::exception& e) {
    // Only the next start becomes slower, but every start will, so the user is told.
    if (!told_ && listener_) listener_(fmt::format("measured convolution plans were not kept: {}", e.what()));
    told_ = true;
  }
  return choices_[problem];
}

void ConvPlanMemory::write(const std::string& put, const std::string& useless) {
  const FileLock lock(path_);
  std::vector<Section> others = read_sections(path_);
  // Choices that other programs have written since we read the file are kept, also one for the problem that was
  // measured here.
  const auto own = std::find_if(others.begin(), others.end(), [&](const Section& s) { return s.heading == heading_; });
  if (own != others.end()) {
    for (auto& [problem, candidate] : own->choices) {
      if (problem != put || candidate != useless) choices_[problem] = std::move(candidate);
    }
    others.erase(own);
  }
  // Programs with other settings, or with the driver before an update, use the sections of other headings.
  others.resize(std::min(others.size(), kSections - 1));
  std::string text;
  const auto append = [&](const std::string& heading, const Choices& choices) {
    text += fmt::format("[{}]\n", heading);
    for (const auto& [problem, candidate] : choices) text += fmt::format("{}\t{}\n", candidate, problem);
  };
  append(heading_, choices_);
  for (const Section& section : others) append(section.heading, section.choices);
  write_file(path_, text);
}

namespace {

// The measurements from which the fastest candidate follows.
class Contest {
 public:
  using Kind = ConvTiming::Kind;
  using Milliseconds = std::function<float(const ConvCandidate&, int launches)>;

  Contest(const std::vector<ConvCandidate>& candidates, const Milliseconds& milliseconds)
      : candidates_(candidates),
        milliseconds_(milliseconds),
        count_(candidates.size()),
        choice_{count_, std::vector<ConvTiming>(count_), nullptr} {}

  ConvChoice run(const std::string& problem) {
    const std::vector<size_t> best = finalists(measure_all());
    if (best.size() > 1) choice_.best = run_finals(best);
    if (choice_.best == count_) choice_.best = fastest();
    if (choice_.best == count_) {
      const std::string reason = first_reason_.empty() ? "there is none" : first_reason_;
      choice_.failure = no_memory_ ? no_memory_
                                   : std::make_exception_ptr(Error(
                                         fmt::format("none of {} kernels for {} runs ({})", count_, problem, reason)));
    }
    return std::move(choice_);
  }

 private:
  // Runs each candidate a few times, but one run is enough to see that a candidate is much too slow. Returns the
  // shortest time in ms.
  float measure_all() {
    float best_ms = 0;
    for (size_t i = 0; i < count_; ++i) {
      ConvTiming& t = choice_.timings[i];
      if (!time(i, 1, Kind::dropped)) continue;
      if (best_ms > 0 && t.ms > kHopeless * best_ms) continue;
      if (t.ms > kLong) {
        t.kind = Kind::measured;
      } else if (!time(i, kFewLaunches, Kind::measured)) {
        continue;
      }
      best_ms = best_ms > 0 ? std::min(best_ms, t.ms) : t.ms;
    }
    return best_ms;
  }

  std::vector<size_t> finalists(float best_ms) const {
    std::vector<size_t> list;
    for (size_t i = 0; i < count_; ++i) {
      const ConvTiming& t = choice_.timings[i];
      if (t.kind == Kind::measured && t.ms <= kClose * best_ms) list.push_back(i);
    }
    std::stable_sort(list.begin(), list.end(),
                     [&](size_t a, size_t b) { return choice_.timings[a].ms < choice_.timings[b].ms; });
    list.resize(std::min(list.size(), kFinalists));
    return list;
  }

  // Runs the fastest candidates many times, in turns, so that a disturbance of the GPU affects all of them. Returns the
  // winner, or the number of candidates if none ran.
  size_t run_finals(const std::vector<size_t>& finalists) {
    // The time so far was the luckiest of a few runs. From here on candidates are compared by the same number of runs.
    std::vector<int> launches;
    for (const size_t i : finalists) {
      const float ms = choice_.timings[i].ms;
      const int fill = static_cast<int>(std::ceil(kSpan / std::max(ms, 1e-6f)));
      launches.push_back(ms > kLong ? 1 : std::clamp(fill, kFewLaunches, kManyLaunches));
    }
    for (int round = 0; round < kRounds; ++round) {
      for (size_t f = 0; f < finalists.size(); ++f) {
        ConvTiming& t = choice_.timings[finalists[f]];
        if (round > 0 && t.kind == Kind::failed) continue;
        if (round == 0) t.kind = Kind::failed;  // Makes time() forget the earlier time.
        time(finalists[f], launches[f], Kind::finalist);
      }
    }
    size_t best = count_;
    for (const size_t i : finalists) {
      const ConvTiming& t = choice_.timings[i];
      const bool faster = best == count_ || t.ms < choice_.timings[best].ms ||
                          // If two are equally fast, the one that the library prefers is chosen.
                          (t.ms == choice_.timings[best].ms && i < best);
      if (t.kind == Kind::finalist && faster) best = i;
    }
    return best;
  }

  // Runs a candidate, keeps its shortest time, and returns whether it ran.
  bool time(size_t i, int launches, Kind then) {
    ConvTiming& t = choice_.timings[i];
    try {
      const float ms = milliseconds_(candidates_[i], launches);
      t.ms = t.kind == Kind::failed ? ms : std::min(t.ms, ms);
      t.kind = then;
      return true;
    } catch (const OutOfMemory& e) {
      no_memory_ = no_memory_ ? no_memory_ : std::current_exception();
      t.reason = e.what();
    } catch (const Error& e) {
      // The first reason is the cause. After an error of the device all other candidates fail for the same reason.
      if (first_reason_.empty()) first_reason_ = fmt::format("{}: {}", candidates_[i].name, e.what());
      t.reason = e.what();
    }
    t.kind = Kind::failed;
    return false;
  }

  size_t fastest() const {
    size_t best = count_;
    for (size_t i = 0; i < count_; ++i) {
      const ConvTiming& t = choice_.timings[i];
      if (t.kind != Kind::failed && (best == count_ || t.ms < choice_.timings[best].ms)) best = i;
    }
    return best;
  }

  static constexpr float kHopeless = 2.5f, kClose = 1.3f;  // As multiples of the fastest time.
  static constexpr size_t kFinalists = 8;
  static constexpr int kFewLaunches = 3, kManyLaunches = 20, kRounds = 3;
  static constexpr float kSpan = 0.3f;  // The time in ms that the launches of one measurement take together.
  static constexpr float kLong = 5;     // From this time in ms on, a single launch is measured well enough.

  const std::vector<ConvCandidate>& candidates_;
  const Milliseconds& milliseconds_;
  size_t count_;
  ConvChoice choice_;
  std::exception_ptr no_memory_;
  std::string first_reason_;
};

}  // namespace

ConvChoice choose_candidate(const std::string& problem, const std::vector<ConvCandidate>& candidates,
                            const std::function<float(const ConvCandidate&, int launches)>& milliseconds) {
  return Contest(candidates, milliseconds).run(problem);
}

std::string table_of(const std::string& problem, const std::vector<ConvCandidate>& candidates,
                     const ConvChoice& choice) {
  constexpr const char* kinds[] = {"failed", "dropped", "measured", "finalist"};
  std::string text;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const ConvTiming& t = choice.timings[i];
    std::string reason = t.reason;
    std::replace_if(
        reason.begin(), reason.end(), [](unsigned char c) { return c < ' '; }, ' ');
    text += fmt::format("{}\t{:.5f}\t{}\t{}\t{}\t{}\n", i == choice.best ? "chosen" : kinds[static_cast<int>(t.kind)],
                        t.ms, candidates[i].workspace, candidates[i].name, problem, reason);
  }
  return text;
}

}  // namespace hr
