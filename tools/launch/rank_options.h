// The parts that programs with several ranks share: the flags, starting and joining the ranks, and reporting the errors
// of any rank.
#pragma once
#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "core/comm/world.h"
#include "core/file.h"

namespace hr {

struct RankOptions {
  int nproc = 0;        // 0: not given
  std::string devices;  // "0,3"
  int max_restarts = 0;
  double dist_timeout = 60;
  std::string dist_url = "env://";
  int world_size = 0;  // 0: not given
};
void add_rank_options(CLI::App& app, RankOptions& options);

// Call this on the first line of main(). Only rank 0 prints: in every other rank stdout is discarded. A wrong option is
// an error in all ranks, but only one rank per host prints it: stderr of the others is held back until run_ranks() has
// connected.
void hold_output_of_other_ranks();

// With --nproc or --devices it starts the ranks and waits for them (tools/launch/spawn.h). In a rank (started by this
// function, torchrun, mpirun or srun) it joins the others and runs `body`; an Error of any rank ends all of them, and
// rank 0 prints it once, with the rank that it comes from. Otherwise it runs `body` alone. `checkpoint` is what a
// restart resumes; the message of a lost rank names it. With `threads` 0 the ranks on one host share its processors.
int run_ranks(const std::string& program, const RankOptions& options, int threads, const fs::path& checkpoint,
              const std::function<int(World&)>& body);

}  // namespace hr
