// The program train: flags for a recipe, and what the run tells as text.
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

// What --nproc's restarts resume.
inline fs::path last_checkpoint(const TrainOptions& o) { return fs::path(o.output_dir) / "last.safetensors"; }

// Exit status 0; 130 after Ctrl-C (143 after SIGTERM), when a checkpoint has been written and the message says how to
// go on. Of several ranks the first one prints and writes; all return the same.
int train(const TrainOptions& options, World& world);
int train(const TrainOptions& options);  // by itself

}  // namespace hr
