// What a training run tells while it works. It prints nothing itself.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "hrnet/train/history.h"
#include "hrnet/validate/run_validation.h"

namespace hr {

// Where an epoch stands.
struct EpochStatus {
  int epoch = 0, epochs = 0;      // counted from 0; in all
  int64_t step = 0, steps = 0;    // done, of the epoch
  double loss = 0;                // mean of the epoch's samples whose losses have come; NaN before the first
  double lr = 0;                  // of the last step
  double samples_per_second = 0;  // of all ranks
  double wait_share = 0;          // of the time: what was spent on waiting for data
};

// Derive from it and override what is of interest. The calls come from the thread that trains, on rank 0 only.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;

  // What the run starts from, piece by piece: ("model", "hrnet_w32: 28.5 M parameters, ..."), ("note", "...").
  virtual void fact(std::string_view /*label*/, const std::string& /*text*/) {}
  // The check before the start: pictures of "train" or "val" that were looked at.
  virtual void checked_pictures(std::string_view /*split*/, size_t /*done*/, size_t /*all*/) {}

  virtual void epoch_begins(const EpochStatus&) {}
  virtual void stepped(const EpochStatus&) {}
  virtual void epoch_trained(const EpochStatus&) {}

  virtual void validating(const PeopleProgress&) {}
  // `last`: of the run's last epoch. `remarks` differ from those of the validation before; else they are empty.
  struct Validated {
    const EpochRecord& record;
    const ValidationRun& run;
    const std::string& model;  // its name
    std::vector<std::string> remarks;
    bool best = false, last = false;
  };
  virtual void validated(const Validated&) {}

  // Something odd about the data that was noticed while training.
  virtual void remark(const std::string& /*text*/) {}
  // So many samples have turned bad since the last call; `list` names the files that list them.
  virtual void more_bad_samples(size_t /*count*/, const std::string& /*list*/) {}
  // An epoch is finished and part of the history: the time to draw curves into the folder.
  virtual void epoch_finished(const fs::path& /*folder*/, const std::vector<EpochRecord>& /*history*/) {}
};

}  // namespace hr
