// The folder that a training run writes into:
//   config.json                   the settings as they were decided
//   last.safetensors              the checkpoint to resume; best.safetensors, the weights of the best validation
//   results<time>.txt             a line per epoch
//   key_results.json              the poses of the last validation
//   metrics.jsonl, events.*       what the run tells, for programs and for TensorBoard (hrnet/train/run_log.h)
//   bad_samples_{train,val}.tsv   what was left out and why, if anything was
#pragma once
#include <string>

#include "core/comm/world.h"
#include "core/device.h"
#include "hrnet/train/history.h"
#include "hrnet/train/recipe.h"

namespace hr {

class RunFolder {
 public:
  // Makes the folder if `writes` (rank 0). Throws Error, field output_dir, if it cannot be made or written to.
  RunFolder(const std::string& folder, bool writes);

  const fs::path& path() const { return folder_; }
  bool writes() const { return writes_; }
  fs::path last() const { return folder_ / "last.safetensors"; }
  fs::path results_file() const { return results_; }

  // What config.json tells beside the recipe: what the run has started with.
  struct Started {
    std::string train_annotations, val_annotations, skeleton;
    int start_epoch = 0, batch_size = 0, ranks = 1, threads = 0;
    Device device;
  };
  void write_config(const TrainRecipe& recipe, const Started& started) const;
  void append(const EpochRecord& record) const;  // a line to the results

 private:
  fs::path folder_, results_;
  bool writes_;
};

}  // namespace hr
