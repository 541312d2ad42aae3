// The flags of data_path and its people, and the check of pictures with a progress bar; shared by train, validate,
// pack, browse and bench.
#pragma once
#include <CLI/CLI.hpp>

#include <functional>

#include "data/find_dataset.h"

namespace hr {

// --data-path, --train-annotations, --train-images, --val-annotations, --val-images, --recipe, --categories,
// --on-bad-sample, --max-megapixels, --dataset; for training also --seed, --codec and what concerns augmentation and
// the cache; for validation nothing of the training split.
enum class DataFlags { training, plain, validation };
// With `modern`, --recipe modern is known too and calls it; flags that are added later have the last word.
void add_data_options(CLI::App& app, DataOptions& options, DataFlags flags = DataFlags::training,
                      const std::function<void()>& modern = {});

// check_samples with a progress bar; remarks and what is left out are printed. quiet: nothing is printed (ranks after
// the first).
void check_samples_visibly(PoseDataset& dataset, const DataOptions& options, const std::string& split,
                           const fs::path& folder, int threads = 0, bool quiet = false);
// Prints "note       text", with flags in place of settings.
void print_note(const std::string& text);

}  // namespace hr
