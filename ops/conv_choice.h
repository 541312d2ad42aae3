// Which candidate computes a convolution: the fastest, measured once per shape and remembered on disk.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/file.h"
#include "ops/conv_library.h"

namespace hr {

// conv_plans.txt in $HRNET_CACHE, $XDG_CACHE_HOME/hrnet.cpp or ~/.cache/hrnet.cpp; empty if none of them is set.
fs::path conv_plan_file();

// Names of the fastest candidates, by problem. A text file: the heading, then one line each,
//   cuDNN 3 conv forward [8, 64, 48, 256] -> 64, ...
// The heading names whatever the choice depends on. A file with another heading is not used (and replaced when this
// object ends), a line that does not read so is left out, and a file that cannot be read counts as empty.
class ConvPlanMemory {
 public:
  // An empty path: remembers until the end of the program.
  ConvPlanMemory(fs::path path, std::string heading);
  ~ConvPlanMemory();  // writes the file if anything was put
  ConvPlanMemory(const ConvPlanMemory&) = delete;
  ConvPlanMemory& operator=(const ConvPlanMemory&) = delete;

  const std::string* find(const std::string& problem) const;  // null if unknown
  void put(const std::string& problem, const std::string& candidate);

 private:
  fs::path path_;
  std::string heading_;
  std::map<std::string, std::string> choices_;
  bool changed_ = false;
};

// Index of the candidate to use: the remembered one, else the fastest of those that run, which is put into the memory.
// milliseconds(candidate) throws Error if the candidate does not run. Error: none does;
// OutOfMemory if for want of memory.
size_t choose_candidate(ConvPlanMemory& memory, const std::string& problem,
                        const std::vector<ConvCandidate>& candidates,
                        const std::function<float(const ConvCandidate&)>& milliseconds);

}  // namespace hr
