// The folder into which a training run writes:
//   config.json                   the settings as they were decided
//   last.safetensors              the checkpoint from which the run can be resumed
//   best.safetensors              the weights of the best validation
//   results<time>.txt             one line per epoch
//   key_results.json              the poses of the last validation
//   metrics.jsonl, events.*       the course of the run, for programs and for TensorBoard (hrnet/train/run_log.h)
//   bad_samples_{train,val}.tsv   the samples that were left out and the reasons, if there are any
#pragma once
#include <string>

#include "core/comm/world.h"
#include "core/device.h"
#include "hrnet/train/history.h"
#include "hrnet/train/recipe.h"

namespace hr {

class RunFolder {
 public:
  // Creates the folder if `writes`, which only rank 0 sets; on the other ranks nothing is written. Throws Error with
  // the field output_dir if it cannot be created or written to.
  RunFolder(const std::string& folder, bool writes);

  const fs::path& path() const { return folder_; }
  bool writes() const { return writes_; }
  fs::path last() const { return folder_ / "last.safetensors"; }
  fs::path results_file() const { return results_; }

  // The values in config.json that are not in the recipe: how the run was started.
  struct Started {
    std::string train_annotations, val_annotations, skeleton;
    int start_epoch = 0, batch_size = 0, ranks = 1, threads = 0;
    int64_t updates_per_epoch = 1;  // Of the weights.
    Device device;
  };
  void write_config(const TrainRecipe& recipe, const Started& started) const;
  void append(const EpochRecord& record) const;  // Adds a line to the results file.

 private:
  fs::path folder_, results_;
  bool writes_;
};

}  // namespace hr
