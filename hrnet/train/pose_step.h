// The training step of a pose network. The batch has images and target heatmaps, or the data from which the device
// makes them. It adapts hrnet/train/train_step.h, which describes how steps run.
#pragma once
#include <span>

#include "hrnet/model/model.h"
#include "hrnet/train/train_step.h"
#include "ops/joints_loss.h"

namespace hr {

// A batch in the caller's memory: weights [n, joints], and either images [n, h, w, 3] and targets [n, h/4, w/4,
// joints], or the data from which the device makes both: sources [n] slots (core/crop_slot.h), normal [3, 256]
// (ops/crop.h) and profiles [n, w/4 + h/4, joints] (ops/heatmaps.h).
struct TrainBatch {
  std::span<const float> images, targets, weights;
  int n = 0, h = 0, w = 0;
  std::span<const uint8_t> sources = {};
  std::span<const float> normal = {};
  std::span<const double> profiles = {};
};

// Thread-safety, losses and errors are those of TrainStep.
class PoseTrainStep : public TrainStep {
 public:
  // Throws Error if `optimizer` does not belong to `model`. Both must outlive the step, and so must `parallel`.
  PoseTrainStep(const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss,
                DataParallel* parallel = nullptr);

  // Throws Error if the batch has both images and sources, or if the size of an array does not fit n, h, w and the
  // model's joints.
  void submit(const TrainBatch& batch, double lr, Gradients gradients = Gradients::update) {
    TrainStep::submit(step_batch(batch), lr, gradients);
  }
  double operator()(const TrainBatch& batch, double lr) { return TrainStep::operator()(step_batch(batch), lr); }

 private:
  StepBatch step_batch(const TrainBatch& batch) const;
  int joints_;
};

}  // namespace hr
