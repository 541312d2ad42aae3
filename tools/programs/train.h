// The program train translates flags into a recipe, and prints the course of the run.
#pragma once
#include <CLI/CLI.hpp>

#include "hrnet/train/recipe.h"
#include "tools/cli/config_option.h"
#include "tools/launch/rank_options.h"

namespace hr {

struct TrainOptions : TrainRecipe {
  RankOptions ranks;
  ConfigOptions config;
};
void add_train_options(CLI::App& app, TrainOptions& options);

// Restarts with --nproc resume this file.
inline fs::path last_checkpoint(const TrainOptions& o) { return fs::path(o.output_dir) / "last.safetensors"; }

// Returns 0, or 130 after Ctrl-C (143 after SIGTERM), when a checkpoint has been written and a message says how to
// continue. Of several ranks only the first prints and writes; all return the same status.
int train(const TrainOptions& options, World& world);
int train(const TrainOptions& options);  // one process

}  // namespace hr
