// Starts the ranks of this host, like torchrun, but without another program: `train --nproc 4 ...` runs itself four
// times and waits. Processors are divided among the ranks; signals are passed on; when one rank ends badly the others
// get a moment to end by themselves; then, if asked, all are started again from the last checkpoint.
#pragma once
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct LaunchOptions {
  int ranks = 1;
  std::vector<int> devices;  // GPUs, one per rank; empty: CPUs
  int max_restarts = 0;      // after a crash or the loss of a rank; never after bad input or Ctrl-C
  double dist_timeout = 60;  // the ranks', seconds
  bool divide_cpus = true;   // each rank gets its own part of this process's processors
  // Resumed by restarted ranks, if it was written after the first start: Ranks::resume.
  fs::path checkpoint;
};

// Starts this process's own command line on every rank. Exit status: 0 when all ended with 0, otherwise that of the
// first that did not (128 + n for signal n).
int launch(const std::string& program, const LaunchOptions& options);

// The CUDA_VISIBLE_DEVICES under which local rank r finds GPU devices[r] as cuda:r. Numbers count within `visible`, the
// value that this process was started with; null: all GPUs are visible. Throws Error if one of them is not in it.
std::string visible_devices(const std::vector<int>& devices, const char* visible);

// "0,3" -> {0, 3}. Error unless these are different numbers.
std::vector<int> parse_devices(const std::string& text);

}  // namespace hr
