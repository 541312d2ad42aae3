// The training step of a pose network: a batch of images and target heatmaps, or of what the device makes them of, and
// the joints' loss. An adapter over hrnet/train/train_step.h, which says how steps run.
#pragma once
#include <span>

#include "hrnet/model/model.h"
#include "hrnet/train/train_step.h"
#include "ops/joints_loss.h"

namespace hr {

// A batch in the caller's memory: weights [n, joints], and either images [n, h, w, 3] and targets [n, h/4, w/4,
// joints], or what the device makes the same of: sources [n] slots (core/crop_slot.h), normal [3, 256] (ops/crop.h)
// and profiles [n, w/4 + h/4, joints] (ops/heatmaps.h).
struct TrainBatch {
  std::span<const float> images, targets, weights;
  int n = 0, h = 0, w = 0;
  std::span<const uint8_t> sources = {};
  std::span<const float> normal = {};
  std::span<const double> profiles = {};
};

// Thread rules, losses and errors are those of TrainStep.
class PoseTrainStep : public TrainStep {
 public:
  // Throws Error if `optimizer` is not that of `model`. Both must outlive the step, and `parallel` too.
  PoseTrainStep(const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss,
                DataParallel* parallel = nullptr);

  // Throws Error if the batch has both images and sources, or arrays of other sizes than n, h, w and the model's joints
  // say.
  void submit(const TrainBatch& batch, double lr, Gradients gradients = Gradients::update) {
    TrainStep::submit(step_batch(batch), lr, gradients);
  }
  double operator()(const TrainBatch& batch, double lr) { return TrainStep::operator()(step_batch(batch), lr); }

 private:
  StepBatch step_batch(const TrainBatch& batch) const;
  int joints_;
};

}  // namespace hr
