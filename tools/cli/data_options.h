// The flags that describe a dataset, and the check of its pictures with a progress bar. Shared by train, validate,
// pack, browse and bench.
#pragma once
#include <CLI/CLI.hpp>

#include <functional>

#include "data/find_dataset.h"

namespace hr {

// Adds --data-path, --train-annotations, --train-images, --val-annotations, --val-images, --recipe, --categories,
// --on-bad-sample, --max-megapixels, --dataset. For training it also adds --seed, --codec and the flags of augmentation
// and of the cache; for validation it leaves out those of the training split.
enum class DataFlags { training, plain, validation };
// If `modern` is given, --recipe accepts modern too and then calls it; flags that are added later override its values.
void add_data_options(CLI::App& app, DataOptions& options, DataFlags flags = DataFlags::training,
                      const std::function<void()>& modern = {});

// Calls check_samples with a progress bar, and prints its remarks and what is left out. With `quiet` nothing is printed
// (for ranks other than the first).
void check_samples_visibly(PoseDataset& dataset, const DataOptions& options, const std::string& split,
                           const fs::path& folder, int threads = 0, bool quiet = false);
// Prints "note       text", with flags in place of the names of settings.
void print_note(const std::string& text);

}  // namespace hr
