// Checkpoints: weights, the moments of the optimiser, and in the metadata the state of the run.
#pragma once
#include <map>
#include <string>

#include "hrnet/model/model.h"
#include "hrnet/train/recipe.h"
#include "hrnet/train/run_state.h"
#include "nn/state_dict.h"

namespace hr {

constexpr int kMaxEpochs = 1'000'000'000;  // The most that a checkpoint may have, so that one more fits an int.

// The metadata of a checkpoint (a safetensors file): the network, its skeleton and codec, the settings that are needed
// to continue the run exactly, the position and the history. batch_size is the number of people per step on each rank.
std::map<std::string, std::string> checkpoint_metadata(const TrainRecipe& recipe, const PoseModel& model,
                                                       const Skeleton& skeleton, int batch_size, int ranks,
                                                       const RunState& state);

// Returns the settings that were added after the first version of the checkpoints, by their fields.
// checkpoint_metadata contains those that differ from the defaults; a file that lacks one was written with the default.
std::map<std::string, std::string> recipe_extras(const TrainRecipe& recipe);

// Reads the position and the history of a checkpoint of ours. Every number is checked before it is converted or used as
// a divisor. Throws Error that names the file and the number if one is absent or impossible.
RunState read_run_state(const WeightFile& file);

// Reads one key of the metadata. Throws Error if it is absent, since the file is then no training checkpoint.
std::string checkpoint_text(const WeightFile& file, const char* key);
// Reads a whole number from the metadata. Throws Error if it is not from 1 to `most`.
int checkpoint_count(const WeightFile& file, const char* key, int most);

}  // namespace hr
