// Which candidate computes a convolution: the fastest, measured once per shape and remembered on disk.
#pragma once
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "ops/conv/library.h"

namespace hr {

// conv_plans.txt in $HRNET_CACHE, $XDG_CACHE_HOME/hrnet.cpp or ~/.cache/hrnet.cpp; empty if none of them is set.
fs::path conv_plan_file();

// Names of the fastest candidates, by problem. A text file: the heading, then one line each, with a tab between:
//   cuDNN eng34 k2=1 k24=3 <tab> conv forward [8, 64, 48, 256] -> 64, ...
// The heading names whatever the choice depends on. A file with another heading is not used (and replaced by the first
// put), a line that does not read so is left out, and a file that cannot be read counts as empty.
class ConvPlanMemory {
 public:
  // An empty path: remembers until the end of the program.
  using Listener = std::function<void(const std::string& remark)>;
  ConvPlanMemory(fs::path path, std::string heading, Listener listener = {});

  const std::string* find(const std::string& problem) const;  // null if unknown; valid until the next put
  // Writes the file at once, so that a program that is killed has not measured in vain, together with what other
  // programs have put into it meanwhile. Returns the choice that holds: of programs that measure the same problem at
  // the same time the first one's, so that all of them, and whoever starts later, run the same kernel. What find() gave
  // is replaced, since who measures again could not use it. That the file cannot be written is said once, to
  // `listener`.
  std::string put(const std::string& problem, const std::string& candidate);

 private:
  void write(const std::string& put, const std::string& useless);

  fs::path path_;
  std::string heading_;
  std::map<std::string, std::string> choices_;
  Listener listener_;
  bool told_ = false;
};

// What became of a candidate.
struct ConvTiming {
  enum class Kind {
    failed,    // `reason`
    dropped,   // its first run took far longer than the fastest known then
    measured,  // a few runs
    finalist,  // among the fastest, measured again with many runs
  };
  Kind kind = Kind::failed;
  float ms = 0;  // a run
  std::string reason;
};

struct ConvChoice {
  size_t best = 0;  // an index; the number of candidates if none runs
  std::vector<ConvTiming> timings;
  // If none runs: OutOfMemory if one of them lacked memory, else an Error with the problem and the first reason.
  std::exception_ptr failure;
};

// The fastest. milliseconds(candidate, launches) is the time of one of so many runs in a row; the first time that it is
// asked about a candidate, `launches` is 1 and the candidate has not run before. It throws Error if the candidate does
// not run.
ConvChoice choose_candidate(const std::string& problem, const std::vector<ConvCandidate>& candidates,
                            const std::function<float(const ConvCandidate&, int launches)>& milliseconds);

// A choice as lines of a table without heading, with tabs between the columns:
//   chosen, finalist, measured, dropped or failed; ms; workspace in bytes; candidate; problem; reason of a failure
std::string table_of(const std::string& problem, const std::vector<ConvCandidate>& candidates,
                     const ConvChoice& choice);

}  // namespace hr
