// bench --mode comm measures the cost of communication between ranks, and --mode scaling predicts it.
#pragma once
#include <array>
#include <string>

#include "tools/launch/rank_options.h"

namespace hr {

struct BenchComm {
  std::string model = "hrnet_w32", dtype = "f32", device = "cpu";
  std::array<int, 2> fixed_size{256, 192};
  int batch_size = 8, repeats = 7, warmup = 3, threads = 0;
  double bucket_mib = 25;
  double link_gbit = 0;  // 0: no wire between the ranks
  double step_ms = 32;   // of --mode scaling
  bool sync_bn = false, json = false;
  RankOptions ranks;
};
void add_comm_options(CLI::App& app, BenchComm& options);

// Runs training steps on all ranks at once, in three variants in turn: without exchange, with gradients averaged while
// backward runs, and with gradients averaged after backward. Reports medians of the time that averaging adds to a step
// (with and without overlap, as a share of the step), of the time that a step waits at its end, and of all-reduces of
// the whole gradient and of 8 bytes outside of a step. On the CPU it also prints the prediction
// (tools/bench/scaling.h). Returns the exit status of run_ranks().
int bench_comm(const BenchComm& options);

// Prints the tables of docs/design/scaling.md: a step of `step_ms` on 8 to 1,024 GPUs (tools/bench/scaling.h).
int bench_scaling(const BenchComm& options);

}  // namespace hr
