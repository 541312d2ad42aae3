// Where weights enter and leave: the only place that permutes between torch's layouts and ours.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "nn/optimizer.h"
#include "nn/parameters.h"
#include "nn/weights.h"

namespace hr {

// How a file's state dict and a model's fit together, by name.
struct Fit {
  struct Mismatch {
    std::string name, file, model;  // the two shapes, or the two element types
  };
  std::vector<std::string> missing;  // in the model's order; num_batches_tracked may be missing (old files lack it)
  std::vector<std::string>
      unexpected;  // as torch lists them: by the module where they leave the model, then the file's order
  std::vector<Mismatch> misshaped, mistyped;  // in the model's order
  size_t matched = 0;

  bool exact() const { return missing.empty() && unexpected.empty() && misshaped.empty() && mistyped.empty(); }
  // One line: each group with its count and its first names, "missing: a, b; unexpected: ...".
  std::string summary() const;
};
Fit compare(const WeightFile& file, const ParameterStore& store);

// Loads every entry of the store from `file` by name. Strict: one Error lists what is missing, unexpected or of another
// shape (both shapes), and nothing is changed.
void load_state_dict(const WeightFile& file, ParameterStore& store);

// Loads what the two have in common, but not `except`, and leaves the rest of the store as it is. Arrays of another
// shape or type are left out: the caller has judged the Fit.
void load_matching(const WeightFile& file, ParameterStore& store, const std::vector<std::string>& except = {});

// The model in torch's layouts, with metadata; the optimiser's moments and averages too when given. Atomic.
void save_state_dict(const fs::path& path, const ParameterStore& store,
                     const std::map<std::string, std::string>& metadata, const Optimizer* optimizer = nullptr);

// A model alone, as safetensors in PyTorch's names and layouts; a file of it loads into a model of the same structure.
// load_weights is strict, as load_state_dict is. Both throw Error, with the file's name.
void save_weights(const fs::path& path, const Model& model, const std::map<std::string, std::string>& metadata = {});
void load_weights(const fs::path& path, Model& model);

// Moments and step count, from a file of save_state_dict or from a PyTorch training checkpoint with Adam or AdamW
// (state by position; the positions are torch's parameter order, also where old files use object ids). Error if the
// file has none or they are not this model's; then the moments stay as they are. The averages of an optimiser that has
// some are loaded too; if the file has none, they begin with what the store holds, so weights are to be loaded first.
void load_optimizer(const WeightFile& file, Optimizer& optimizer);

}  // namespace hr
