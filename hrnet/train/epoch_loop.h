// Runs the training steps of one epoch.
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

// Converts a batch of the loader for the training step. The result is valid as long as the batch.
TrainBatch train_batch(const Batch& batch);

class EpochLoop {
 public:
  struct Options {
    Schedule rates;
    int epochs = 1;            // Epochs of the run, for the observer.
    int checkpoint_every = 0;  // Steps between checkpoints within the epoch; 0: none.
    int accumulate = 1;        // Steps whose gradients make one update; the last update of an epoch may have fewer.
    fs::path last_checkpoint;  // The error about a loss that is not finite names this file if it exists.
    // Null: the observer gets neither accuracies nor pictures of samples. Must outlive the loop. The step must keep its
    // heatmaps.
    const Skeleton* skeleton = nullptr;
    int print_freq = 0;  // Steps between two accuracies within an epoch; 0: only the last step has one.
    DecodeOptions decode = {};
    bool bgr = false;  // The images have blue first.
  };
  // All references must outlive the loop.
  EpochLoop(PoseTrainStep& step, Loader& loader, World& world, TrainObserver& observer, Options options)
      : step_(step), loader_(loader), world_(world), observer_(observer), options_(std::move(options)) {}

  // Trains from state.step to the end of the epoch, or until a stop is requested. If any rank requests it, all ranks
  // stop after the same step. state.trained tells whether the epoch was completed. save() is called every
  // checkpoint_every steps with the state at that moment. Both happen only after steps that update the weights, so that
  // a checkpoint needs no gradients. Throws Error if a loss is not finite, or the norm of a gradient that is to be
  // clipped; that batch has changed no weights.
  void run(RunState& state, const StopRequest& stop, const std::function<void()>& save);

 private:
  struct Running;  // The steps whose losses are still on the device.
  void take_loss(RunState& state, Running& running);
  double look_at(const Batch& batch, bool last, EpochStatus status);
  [[noreturn]] void fail_at(const RunState& state, int64_t step, const std::vector<int64_t>& annotations, double loss);
  EpochStatus status(const RunState& state, const Running& running) const;

  PoseTrainStep& step_;
  Loader& loader_;
  World& world_;
  TrainObserver& observer_;
  Options options_;
};

}  // namespace hr
