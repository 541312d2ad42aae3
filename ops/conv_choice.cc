#include "ops/conv_choice.h"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "core/cuda.h"
#include "core/error.h"

namespace hr {

fs::path conv_plan_file() {
  if (const char* folder = std::getenv("HRNET_CACHE")) return fs::path(folder) / "conv_plans.txt";
  if (const char* folder = std::getenv("XDG_CACHE_HOME")) return fs::path(folder) / "hrnet.cpp" / "conv_plans.txt";
  if (const char* home = std::getenv("HOME")) return fs::path(home) / ".cache" / "hrnet.cpp" / "conv_plans.txt";
  return {};
}

ConvPlanMemory::ConvPlanMemory(fs::path path, std::string heading)
    : path_(std::move(path)), heading_(std::move(heading)) {
  std::error_code ignored;
  if (path_.empty() || !fs::exists(path_, ignored)) return;
  std::string text;
  try {
    text = read_file(path_);
  } catch (const Error&) {
    return;  // everything is measured again; whether the file can be replaced, the destructor tells
  }
  size_t at = text.find('\n');
  if (at == std::string::npos || text.substr(0, at) != heading_) return;
  for (size_t end = 0; (end = text.find('\n', ++at)) != std::string::npos; at = end) {
    const std::string line = text.substr(at, end - at);
    const size_t library = line.find(' '), number = std::min(line.find(' ', library + 1), line.size());
    if (library == 0 || library >= number || number + 1 >= line.size()) continue;
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (number == library + 1 || !std::all_of(line.begin() + library + 1, line.begin() + number, is_digit)) continue;
    choices_[line.substr(number + 1)] = line.substr(0, number);
  }
}

ConvPlanMemory::~ConvPlanMemory() {
  if (!changed_ || path_.empty()) return;
  std::string text = heading_ + "\n";
  for (const auto& [problem, candidate] : choices_) text += fmt::format("{} {}\n", candidate, problem);
  try {
    fs::create_directories(path_.parent_path());
    write_file(path_, text);
  } catch (const std::exception& e) {
    // Only the next start gets slower; but say so, since it will every time.
    fmt::print(stderr, "note: measured convolution plans were not kept: {}\n", e.what());
  }
}

const std::string* ConvPlanMemory::find(const std::string& problem) const {
  const auto it = choices_.find(problem);
  return it == choices_.end() ? nullptr : &it->second;
}

void ConvPlanMemory::put(const std::string& problem, const std::string& candidate) {
  choices_[problem] = candidate;
  changed_ = true;
}

size_t choose_candidate(ConvPlanMemory& memory, const std::string& problem,
                        const std::vector<ConvCandidate>& candidates,
                        const std::function<float(const ConvCandidate&)>& milliseconds) {
  if (const std::string* known = memory.find(problem)) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (candidates[i].name == *known) return i;
    }
  }
  size_t best = candidates.size();
  float best_ms = 0;
  std::string reason = "there is none";
  std::exception_ptr no_memory;
  for (size_t i = 0; i < candidates.size(); ++i) {
    try {
      const float ms = milliseconds(candidates[i]);
      if (best == candidates.size() || ms < best_ms) {
        best = i;
        best_ms = ms;
      }
    } catch (const OutOfMemory&) {
      no_memory = std::current_exception();
    } catch (const Error& e) {
      reason = fmt::format("{}: {}", candidates[i].name, e.what());
    }
  }
  if (best == candidates.size() && no_memory) std::rethrow_exception(no_memory);
  check(best < candidates.size(), "none of {} kernels for {} runs ({})", candidates.size(), problem, reason);
  memory.put(problem, candidates[best].name);
  return best;
}

}  // namespace hr
