// Receives what a training run reports while it works. The run prints nothing itself.
#pragma once
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "data/formats/image.h"
#include "hrnet/train/history.h"
#include "hrnet/validate/run_validation.h"

namespace hr {

// The progress within an epoch.
struct EpochStatus {
  int epoch = 0, epochs = 0;      // The epoch counts from 0; number of epochs of the run.
  int64_t step = 0, steps = 0;    // Steps that are done, and steps of the epoch.
  double loss = 0;                // Mean over the samples of the epoch whose losses have arrived; NaN before the first.
  double lr = 0;                  // Learning rate of the last step.
  double samples_per_second = 0;  // Samples per second of all ranks.
  double wait_share = 0;          // Share of the time that was spent waiting for data.
  // Accuracy of the heatmaps of the last step's batch (eval/heatmap_accuracy.h), with several ranks of rank 0's part.
  // It is only computed every `print_freq` steps and in the last step of an epoch; otherwise, and if no joint has a
  // target, it is NaN.
  double accuracy = std::numeric_limits<double>::quiet_NaN();
};

// Derive from it and override the calls of interest. They come from the thread that trains, on rank 0 only.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;

  // A fact about the start of the run: ("model", "hrnet_w32: 28.5 M parameters, ..."), ("note", "...").
  virtual void fact(std::string_view /*label*/, const std::string& /*text*/) {}
  // Progress of the check before the start: pictures of "train" or "val" that were looked at.
  virtual void checked_pictures(std::string_view /*split*/, size_t /*done*/, size_t /*all*/) {}

  virtual void epoch_begins(const EpochStatus&) {}
  virtual void stepped(const EpochStatus&) {}
  virtual void epoch_trained(const EpochStatus&) {}
  // Some samples of the last step of an epoch, with their targets and what the network predicted in that step
  // (hrnet/train/sample_picture.h). Called before epoch_trained.
  virtual void samples(const EpochStatus&, const Image& /*picture*/) {}

  virtual void validating(const PeopleProgress&) {}
  // `last` tells that this is the last epoch of the run. `remarks` is empty if the remarks are those of the previous
  // validation.
  struct Validated {
    const EpochRecord& record;
    const ValidationRun& run;
    const std::string& model;  // Name of the model.
    std::vector<std::string> remarks;
    bool best = false, last = false;
    const PoseDataset* data = nullptr;  // The people that were predicted. Lives as long as the trainer.
  };
  virtual void validated(const Validated&) {}

  // A remark about the data that was found while training.
  virtual void remark(const std::string& /*text*/) {}
  // `count` samples have turned out to be bad since the last call; `list` names the files that list them.
  virtual void more_bad_samples(size_t /*count*/, const std::string& /*list*/) {}
  // An epoch is finished and has been added to the history. An observer may now draw curves into the folder.
  virtual void epoch_finished(const fs::path& /*folder*/, const std::vector<EpochRecord>& /*history*/) {}
};

}  // namespace hr
