// The position of a training run, and its history.
#pragma once
#include <cstdint>
#include <vector>

#include "hrnet/train/history.h"

namespace hr {

struct RunState {
  int epoch = 0;           // The first epoch that is not finished.
  int64_t step = 0;        // The first step of that epoch that is not done.
  double loss_sum = 0;     // Sum of the losses over the samples of that epoch that are done, of all ranks.
  int64_t samples = 0;     // Number of these samples.
  bool trained = false;    // All steps of the epoch are done, but its validation is not.
  double best_score = -1;  // EpochRecord::score()
  std::vector<EpochRecord> history;

  double mean_loss() const { return loss_sum / static_cast<double>(samples); }
  // Ends the epoch with its record and moves to the next one.
  void close_epoch(EpochRecord record) {
    history.push_back(std::move(record));
    begin(epoch + 1);
  }
  void begin(int first_epoch) {
    epoch = first_epoch;
    step = samples = 0;
    loss_sum = 0;
    trained = false;
  }
};

}  // namespace hr
