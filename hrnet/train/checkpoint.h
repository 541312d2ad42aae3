// Checkpoints: a model's weights, the optimiser's moments, and in the metadata the run that they belong to.
#pragma once
#include <map>
#include <string>

#include "hrnet/model/model.h"
#include "hrnet/train/recipe.h"
#include "hrnet/train/run_state.h"
#include "nn/state_dict.h"

namespace hr {

constexpr int kMaxEpochs = 1'000'000'000;  // of a checkpoint; one more still fits an int

// What a checkpoint says about its run, as the metadata of a safetensors file: the network, its skeleton and codec, the
// settings that continue the run exactly, the position and the history. batch_size: people per step and rank.
std::map<std::string, std::string> checkpoint_metadata(const TrainRecipe& recipe, const PoseModel& model,
                                                       const Skeleton& skeleton, int batch_size, int ranks,
                                                       const RunState& state);

// Of the settings that came after the first version of the checkpoints, by their fields. checkpoint_metadata has those
// that differ from the defaults; a file without one had the default.
std::map<std::string, std::string> recipe_extras(const TrainRecipe& recipe);

// The position and the history of a checkpoint of ours. Every number is limited before it is converted or divided by.
// Throws Error that names the file and the number if one is absent or cannot be.
RunState read_run_state(const WeightFile& file);

// The text of one key of the metadata. Throws Error if it is not there: the file is not a training checkpoint.
std::string checkpoint_text(const WeightFile& file, const char* key);
// A whole number of the metadata from 1 to `most`.
int checkpoint_count(const WeightFile& file, const char* key, int most);

}  // namespace hr
