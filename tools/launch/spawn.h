// Starts the ranks of this host, like torchrun, but without another program: `train --nproc 4 ...` runs itself four
// times and waits. Processors are divided among the ranks, and signals are passed on. When a rank fails, the others
// have a moment to end by themselves. Then all ranks are restarted from the last checkpoint, if --max-restarts allows
// it.
#pragma once
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct LaunchOptions {
  int ranks = 1;
  std::vector<int> devices;  // GPUs, one per rank; empty: CPUs
  int max_restarts = 0;      // after a crash or the loss of a rank; never after bad input or Ctrl-C
  double dist_timeout = 60;  // seconds, as the ranks use it
  bool divide_cpus = true;   // each rank gets its own part of the processors of this process
  // Restarted ranks resume this file (Ranks::resume), if it was written after the first start.
  fs::path checkpoint;
};

// Starts the command line of this process in every rank. Returns 0 if all ranks ended with 0, otherwise the exit status
// of the first that did not (128 + n for signal n).
int launch(const std::string& program, const LaunchOptions& options);

// Returns the CUDA_VISIBLE_DEVICES with which local rank r finds GPU devices[r] as cuda:r. Numbers count within
// `visible`, the value that this process was started with; null: all GPUs are visible. Throws Error if one of them is
// not in it.
std::string visible_devices(const std::vector<int>& devices, const char* visible);

// Parses "0,3" to {0, 3}. Throws Error unless these are different numbers.
std::vector<int> parse_devices(const std::string& text);

}  // namespace hr
