// What a recipe leaves open, decided from the weight file and, on several ranks, by rank 0 for all.
#pragma once
#include <optional>

#include "core/comm/world.h"
#include "hrnet/train/recipe.h"
#include "nn/weights.h"

namespace hr {

// What `resume` "auto" and a restart by the launcher mean: a checkpoint's path, or a new run.
TrainRecipe resolve_resume(TrainRecipe recipe, const World& world);

// The file of `weights` or `resume`; nullopt if the recipe has neither. Throws Error if it cannot be read.
std::optional<WeightFile> open_weights(const TrainRecipe& recipe);

// Fills in model, joints, fixed_size, color and skeleton. Rank 0 has the file and decides; all ranks call this. Throws
// Error if the ranks' recipes differ, or if the checkpoint and the pack disagree about the joints.
TrainRecipe decide_recipe(TrainRecipe recipe, const std::optional<WeightFile>& file, const World& world);

}  // namespace hr
