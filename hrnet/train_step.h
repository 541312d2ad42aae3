// One training step: forward, loss, backward, optimiser, on planned memory.
#pragma once
#include <map>
#include <memory>
#include <span>

#include "hrnet/model.h"
#include "nn/optimizer.h"
#include "ops/joints_loss.h"

namespace hr {

// A batch in the caller's memory: images [n, h, w, 3], targets [n, h/4, w/4, joints], weights [n, joints].
struct TrainBatch {
  std::span<const float> images, targets, weights;
  int n = 0, h = 0, w = 0;
};

class TrainStep {
 public:
  // Model and optimiser must outlive the step. cx: device, precision, the compiled primitives.
  TrainStep(const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss);

  // Returns the loss before the update. If it is not finite, nothing is updated.
  double operator()(const TrainBatch& batch, double lr);

  Context& context() { return cx_; }
  size_t peak_bytes() const;  // of activations and gradients; parameters and moments come on top

 private:
  struct Inputs {
    Tensor images, targets, weights;
    std::shared_ptr<Arena> arena;  // a replayed plan fits one batch shape
  };
  Inputs& inputs_for(const TrainBatch& batch);

  Context cx_;
  PoseModel& model_;
  Optimizer& optimizer_;
  JointsLoss loss_;
  Tape tape_;
  std::map<std::array<int, 3>, Inputs> inputs_;
};

}  // namespace hr
