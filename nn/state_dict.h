// Loading and saving weights. Only this code and Yolox convert between the layouts of torch and ours.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "nn/optimizer.h"
#include "nn/parameters.h"
#include "nn/weights.h"

namespace hr {

// The differences between the state dict of a file and that of a model, by name.
struct Fit {
  struct Mismatch {
    std::string name, file, model;  // Both shapes, or both element types.
  };
  std::vector<std::string> missing;  // In the model's order, without num_batches_tracked, which old files lack.
  std::vector<std::string>
      unexpected;  // As torch lists them: by the module where they leave the model, then the file's order.
  std::vector<Mismatch> misshaped, mistyped;  // In the model's order.
  size_t matched = 0;

  bool exact() const { return missing.empty() && unexpected.empty() && misshaped.empty() && mistyped.empty(); }
  // One line: each group with its first names and their number, "missing: a, b; unexpected: ...".
  std::string summary() const;
};
Fit compare(const WeightFile& file, const ParameterStore& store);

// Loads the entries that the file and the store have in common, except those named in `except`; the other entries of
// the store keep their values. Entries of another shape or type are skipped, so the caller should check compare()
// first.
void load_matching(const WeightFile& file, ParameterStore& store, const std::vector<std::string>& except = {});

// Saves the model in torch's layouts, with metadata, and with the moments, averages and step count of `optimizer` if it
// is given. The file appears under its name only when it is complete. Throws Error if it cannot be written.
void save_state_dict(const fs::path& path, const ParameterStore& store,
                     const std::map<std::string, std::string>& metadata, const Optimizer* optimizer = nullptr);

// Save and load a model without optimiser state, as safetensors with PyTorch's names and layouts. load_weights is
// strict: it throws one Error that lists missing and unexpected names and different shapes (both shapes), and then the
// model is unchanged. Both throw Error that names the file. For pose networks use the load_weights of
// hrnet/model/load.h, whose errors give the likely reason.
void save_weights(const fs::path& path, const Model& model, const std::map<std::string, std::string>& metadata = {});
void load_weights(const fs::path& path, Model& model);

// Loads moments and step count from a file of save_state_dict or from a PyTorch training checkpoint of Adam or AdamW.
// torch numbers the states by the position of the parameter; in old files, which use object ids as keys, the order of
// the keys gives the position. The averages of an optimiser that has some are loaded too. If the file has none, they
// start as copies of what the store holds, so load the weights first. Throws Error if the file has no optimiser state
// or one that does not fit the model; then moments and step count are unchanged.
void load_optimizer(const WeightFile& file, Optimizer& optimizer);

}  // namespace hr
