// Chooses the candidate that computes a convolution: the fastest, which is measured once per shape and remembered on
// disk.
#pragma once
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "ops/conv/library.h"

namespace hr {

// Returns the file in $HRNET_CACHE, $XDG_CACHE_HOME/hrnet.cpp or ~/.cache/hrnet.cpp; empty if none of them is set.
// conv_plans.txt is of GPUs, cpu_plans.txt of CPUs.
fs::path conv_plan_file(const char* name = "conv_plans.txt");

// The names of the fastest candidates, by problem. The file is text. A section begins with its heading in brackets,
// which names everything on which the choices depend; each further line is a problem, with a tab between its columns:
//   cuDNN eng34 k2=1 k24=3 <tab> conv forward [8, 64, 48, 256] -> 64, ...
// Programs with other headings have sections of their own. The 8 sections that were written last are kept, so that
// programs with different settings do not forget each other's choices. A malformed line is ignored, and a file that
// cannot be read counts as empty. Not thread-safe within a process.
class ConvPlanMemory {
 public:
  // If `path` is empty, choices are remembered until the end of the program.
  // `listener` gets remarks; it may be empty.
  using Listener = std::function<void(const std::string& remark)>;
  ConvPlanMemory(fs::path path, std::string heading, Listener listener = {});

  // Null if the problem is unknown. Valid until the next put().
  const std::string* find(const std::string& problem) const;
  // Writes the file at once, so that the measurement is not lost if the program is killed, and merges it with what
  // other programs have written meanwhile. Returns the choice that is valid: if several programs measure the same
  // problem at the same time, it is the first one's, so that all of them and all later programs run the same kernel. A
  // choice that find() returned before is replaced, because a caller that measures again could not use it. If the file
  // cannot be written, the listener is told, once.
  std::string put(const std::string& problem, const std::string& candidate);
  // Tells whether every choice so far could be written.
  bool kept() const { return !told_; }

 private:
  void write(const std::string& put, const std::string& useless);

  fs::path path_;
  std::string heading_;
  std::map<std::string, std::string> choices_;
  Listener listener_;
  bool told_ = false;
};

// The outcome of measuring a candidate.
struct ConvTiming {
  enum class Kind {
    failed,    // See `reason`.
    dropped,   // Its first run took far longer than the fastest known at that time.
    measured,  // Measured with a few runs.
    finalist,  // Among the fastest; measured again with many runs.
  };
  Kind kind = Kind::failed;
  float ms = 0;  // The time of one run.
  std::string reason;
};

struct ConvChoice {
  size_t best = 0;  // An index into the candidates; their number if none runs.
  std::vector<ConvTiming> timings;
  // If none runs: OutOfMemory if one of them lacked memory, otherwise an Error with the problem and the first reason.
  std::exception_ptr failure;
};

// Chooses the fastest candidate. milliseconds(candidate, launches) returns the time of one of `launches` runs in a row.
// At its first call for a candidate `launches` is 1 and the candidate has not run before. It throws Error if the
// candidate does not run.
ConvChoice choose_candidate(const std::string& problem, const std::vector<ConvCandidate>& candidates,
                            const std::function<float(const ConvCandidate&, int launches)>& milliseconds);

// Returns a choice as the lines of a table without heading, with tabs between the columns:
//   chosen, finalist, measured, dropped or failed; ms; workspace in bytes; candidate; problem; reason of a failure
std::string table_of(const std::string& problem, const std::vector<ConvCandidate>& candidates,
                     const ConvChoice& choice);

}  // namespace hr
