// bench --mode comm and --mode scaling: what communication between ranks costs, measured and predicted.
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

// Runs training steps on all ranks at once, in three variants that take turns: without exchange, with gradients
// averaged while backward runs, and with gradients averaged after it. Reports medians of: what averaging adds to a
// step, with and without overlap, as a share of the step; how long a step waits at its end; an all-reduce of the whole
// gradient and one of 8 bytes, both outside of a step; on the CPU also the prediction (tools/bench/scaling.h). Exit
// status as run_ranks().
int bench_comm(const BenchComm& options);

// Prints the tables of docs/design/scaling.md: a step of `step_ms` on 8 to 1,024 GPUs (tools/bench/scaling.h).
int bench_scaling(const BenchComm& options);

}  // namespace hr
