// The training step of a pose network. The batch has images and target heatmaps, or the data from which the device
// makes them. It adapts hrnet/train/train_step.h, which describes how steps run.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <span>
#include <vector>

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
    newest_ = {batch.n, batch.h / 4, batch.w / 4};
    TrainStep::submit(step_batch(batch), lr, gradients);
  }
  double operator()(const TrainBatch& batch, double lr) {
    newest_ = {batch.n, batch.h / 4, batch.w / 4};
    return TrainStep::operator()(step_batch(batch), lr);
  }

  // From now on keeps a copy of the heatmaps that each step computes: before the update, with the batch's statistics.
  // It costs n * h/4 * w/4 * joints * 4 bytes for each shape of a batch, and one copy of them per step. Must be called
  // before the first step.
  void keep_heatmaps() { kept_->on = true; }
  // The kept heatmaps [n, h/4, w/4, joints] of the step that was submitted last, in host memory. Throws Error if the
  // losses were not all taken, or if no heatmaps are kept.
  std::vector<float> heatmaps();

 private:
  // The copies, by n, h and w of the heatmaps. Captured steps know their addresses.
  struct Kept {
    bool on = false;
    std::map<std::array<int64_t, 3>, Tensor> by_shape;
  };
  PoseTrainStep(std::shared_ptr<Kept> kept, const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss,
                DataParallel* parallel);
  StepBatch step_batch(const TrainBatch& batch) const;

  std::shared_ptr<Kept> kept_;
  std::array<int64_t, 3> newest_{};
  int joints_;
};

}  // namespace hr
