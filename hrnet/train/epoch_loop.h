// The steps of one epoch.
#pragma once
#include <functional>

#include "core/comm/world.h"
#include "data/loader.h"
#include "hrnet/train/observer.h"
#include "hrnet/train/pose_step.h"
#include "hrnet/train/run_state.h"
#include "hrnet/train/stop.h"
#include "nn/optimizer.h"

namespace hr {

// What the loader made, as the training step takes it; valid as long as the batch.
TrainBatch train_batch(const Batch& batch);

class EpochLoop {
 public:
  struct Options {
    Schedule rates;
    int epochs = 1;            // of the run, for the observer
    int checkpoint_every = 0;  // steps; 0: none within the epoch
    int accumulate = 1;        // steps whose gradients make one update; the last of an epoch may have fewer
    fs::path last_checkpoint;  // what the error about a loss that is not finite recommends, if it exists
  };
  // All references must outlive the loop.
  EpochLoop(PoseTrainStep& step, Loader& loader, World& world, TrainObserver& observer, Options options)
      : step_(step), loader_(loader), world_(world), observer_(observer), options_(std::move(options)) {}

  // Trains from state.step to the end of the epoch, or until somebody wants to stop: on any rank, and then all ranks
  // stop after the same step. state.trained tells which of the two. save() is called every checkpoint_every steps, with
  // the state of that moment. Both happen after steps that update the weights only, so that a checkpoint needs no
  // gradients. Throws Error if a loss is not finite, or the norm of a gradient that is clipped; the batch has changed
  // no weights then.
  void run(RunState& state, const StopRequest& stop, const std::function<void()>& save);

 private:
  struct Running;  // steps whose losses are still on the device
  void take_loss(RunState& state, Running& running);
  [[noreturn]] void fail_at(const RunState& state, int64_t step, const std::vector<int64_t>& annotations, double loss);
  EpochStatus status(const RunState& state, const Running& running) const;

  PoseTrainStep& step_;
  Loader& loader_;
  World& world_;
  TrainObserver& observer_;
  Options options_;
};

}  // namespace hr
