// Continues a run from its checkpoint.
#pragma once
#include <functional>

#include "hrnet/train/checkpoint.h"

namespace hr {

struct Resumed {
  RunState state;
  int batch_size = 0;              // Of each rank; it differs from the recipe's if the number of ranks has changed.
  std::vector<std::string> notes;  // Settings in which the recipe differs from the checkpoint.
  std::string what;                // "a PyTorch checkpoint, Adam's step 40", if the checkpoint is not ours
};

// Loads weights, moments and position. `file` is a checkpoint of ours, which continues exactly where it stopped, or a
// PyTorch checkpoint of the seed, the official project or simple-HRNet, which continues after its last epoch. Throws
// Error if the file is no training checkpoint, holds impossible numbers, fits another model, or was trained with
// another seed, codec or number of people per step.
Resumed resume_run(const WeightFile& file, const TrainRecipe& recipe, int ranks, PoseModel& model,
                   Optimizer& optimizer);

}  // namespace hr
