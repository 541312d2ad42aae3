// Completes a recipe from the weight file. With several ranks, rank 0 decides for all.
#pragma once
#include <optional>

#include "core/comm/world.h"
#include "hrnet/train/recipe.h"
#include "nn/weights.h"

namespace hr {

// Replaces `resume` "auto", and the request of the launcher that restarts a run, by the path of a checkpoint, or clears
// it for a new run.
TrainRecipe resolve_resume(TrainRecipe recipe, const World& world);

// Opens the file of `weights` or `resume`; nullopt if the recipe has neither. Throws Error if it cannot be read.
std::optional<WeightFile> open_weights(const TrainRecipe& recipe);

// Fills in model, joints, fixed_size, color and skeleton. Only rank 0 has the file and decides, but all ranks must call
// this. Throws Error if the recipes of the ranks differ, or if the checkpoint and the pack have different joints.
TrainRecipe decide_recipe(TrainRecipe recipe, const std::optional<WeightFile>& file, const World& world);

}  // namespace hr
