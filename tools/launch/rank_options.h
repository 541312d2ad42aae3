// The frame around a program that may run as several ranks: flags, starting them, joining them, and what becomes of the
// errors of any of them.
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

// Rank 0 alone prints: in every other rank stdout goes nowhere. Usage errors are everybody's, and one rank per host
// tells them: others are held back until run_ranks() has connected. First line of a main.
void hold_output_of_other_ranks();

// With --nproc or --devices: starts the ranks and waits (tools/launch/spawn.h). As a rank (of ours, torchrun's,
// mpirun's or srun's): joins the others and runs `body`; an Error of any rank ends all of them, and is printed once, by
// rank 0, with the rank it comes from. Otherwise: runs `body` alone. `checkpoint`: what a restart resumes, named when a
// rank is lost. `threads` 0: ranks on one host share its processors.
int run_ranks(const std::string& program, const RankOptions& options, int threads, const fs::path& checkpoint,
              const std::function<int(World&)>& body);

}  // namespace hr
