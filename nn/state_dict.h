// Where weights enter and leave: the only place that permutes between torch's layouts and ours.
#pragma once
#include <map>
#include <string>

#include "core/io/safetensors.h"
#include "nn/optimizer.h"
#include "nn/parameters.h"

namespace hr {

// Loads every entry of the store from `file` by name. Strict: one Error lists what is missing, unexpected or of another
// shape (both shapes), and nothing is changed. Arrays named "optimizer.*" are ours and ignored here;
// num_batches_tracked may be missing (old files lack it).
void load_state_dict(const SafetensorsFile& file, ParameterStore& store);

// The model in torch's layouts, with metadata; the optimiser's moments too when given. Atomic.
void save_state_dict(const fs::path& path, const ParameterStore& store,
                     const std::map<std::string, std::string>& metadata, const Optimizer* optimizer = nullptr);

// Moments and step count saved by save_state_dict; Error if the file has none.
void load_optimizer(const SafetensorsFile& file, Optimizer& optimizer);

}  // namespace hr
