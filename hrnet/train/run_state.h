// How far a training run has come.
#pragma once
#include <cstdint>
#include <vector>

#include "hrnet/train/history.h"

namespace hr {

struct RunState {
  int epoch = 0;           // the first one that is not finished
  int64_t step = 0;        // the first one of it that is still to do
  double loss_sum = 0;     // over the samples of the started epoch, of all ranks
  int64_t samples = 0;     // of it that are done
  bool trained = false;    // all steps of the epoch are done, and its validation is not
  double best_score = -1;  // EpochRecord::score()
  std::vector<EpochRecord> history;

  double mean_loss() const { return loss_sum / static_cast<double>(samples); }
  // The epoch is finished and `record` is what it achieved.
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
