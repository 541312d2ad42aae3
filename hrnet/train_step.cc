#include "hrnet/train_step.h"

#include <cmath>
#include <cstring>

#include "core/error.h"

namespace hr {
namespace {
void fill(const Tensor& tensor, std::span<const float> values) {
  check(tensor.numel() == static_cast<int64_t>(values.size()), "training step: expected {} numbers for {}, got {}",
        tensor.numel(), to_string(tensor.shape()), values.size());
  std::memcpy(tensor.raw(), values.data(), values.size_bytes());
}
}  // namespace

TrainStep::TrainStep(const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss)
    : cx_(cx), model_(model), optimizer_(optimizer), loss_(loss) {
  cx_.training = true;
  cx_.tape = &tape_;
  model_.parameters().bind(tape_);
}

TrainStep::Inputs& TrainStep::inputs_for(const TrainBatch& b) {
  auto [it, is_new] = inputs_.try_emplace({b.n, b.h, b.w});
  Inputs& in = it->second;
  if (is_new) {
    in.images = cx_.empty({b.n, b.h, b.w, 3}, DType::f32);
    in.targets = cx_.empty({b.n, b.h / 4, b.w / 4, model_.joints()}, DType::f32);
    in.weights = cx_.empty({b.n, model_.joints()}, DType::f32);
    in.arena = std::make_shared<Arena>(cx_.allocator);
  }
  return in;
}

double TrainStep::operator()(const TrainBatch& batch, double lr) {
  Inputs& in = inputs_for(batch);
  fill(in.images, batch.images);
  fill(in.targets, batch.targets);
  fill(in.weights, batch.weights);
  Context step = cx_;
  step.allocator = in.arena;
  double value = 0;
  in.arena->begin_step();
  try {
    Tensor heatmaps = model_.forward(step, in.images);
    const Tensor loss = joints_loss(step, heatmaps, in.targets, in.weights, loss_);
    heatmaps.reset();
    value = *loss.data<float>();
    if (std::isfinite(value)) {
      tape_.backward(step, loss);
      optimizer_.step(step, lr);
    } else {
      tape_.clear();
    }
  } catch (...) {
    tape_.clear();
    in.arena->abort_step();
    throw;
  }
  // A step that ended early is no plan for the others.
  std::isfinite(value) ? in.arena->end_step() : in.arena->abort_step();
  cx_.ops = step.ops;
  return value;
}

size_t TrainStep::peak_bytes() const {
  size_t peak = 0;
  for (const auto& [shape, in] : inputs_) peak += in.arena->peak_bytes();
  return peak;
}

}  // namespace hr
