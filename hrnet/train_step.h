// One training step: forward, loss, backward, optimiser, on planned memory. On a GPU the third step of a shape and all
// after it are one captured graph, batches travel on a stream of their own, and nothing waits for the device but the
// reading of losses.
#pragma once
#include <array>
#include <deque>
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
  ~TrainStep();
  TrainStep(const TrainStep&) = delete;
  TrainStep& operator=(const TrainStep&) = delete;

  // Puts a step under way; the batch's memory may be reused when this returns. On the CPU the step is then done, on a
  // GPU up to kInFlight steps are in work. Losses come out of wait() in the order of the steps, each the loss before
  // its update. A step whose loss is not finite updates nothing.
  static constexpr int kInFlight = 3;
  void submit(const TrainBatch& batch, double lr);
  size_t pending() const { return losses_.size() + running_.size(); }  // losses not yet taken
  // Whether the oldest loss can be had without waiting.
  bool ready() const;
  double wait();

  // submit and wait.
  double operator()(const TrainBatch& batch, double lr);

  Context& context() { return cx_; }
  size_t peak_bytes() const;  // of activations and gradients; parameters and moments come on top

 private:
  // What a step reads, at fixed addresses: in one tensor on the device, so that a batch arrives in one copy.
  struct Inputs {
    Tensor all;  // [images, targets, weights, numbers]
    Tensor images, targets, weights, numbers;
    Tensor loss;                   // [1]
    std::shared_ptr<Arena> arena;  // a replayed plan fits one batch shape
    cuda::Graph graph = nullptr;
  };
  struct Slot;  // a batch on its way to the GPU

  Inputs& inputs_for(const TrainBatch& batch);
  void run(Inputs& in);  // one step, run or recorded for a graph
  void submit_cpu(Inputs& in, const TrainBatch& batch, double lr);
  void submit_gpu(Inputs& in, const TrainBatch& batch, double lr);
  void finish_oldest();
  [[noreturn]] void explain_memory(const OutOfMemory& e, const TrainBatch& batch);

  Context cx_;
  PoseModel& model_;
  Optimizer& optimizer_;
  JointsLoss loss_;
  Tape tape_;
  Tensor one_;
  std::map<std::array<int, 3>, Inputs> inputs_;
  std::deque<double> losses_;                  // of finished steps
  std::deque<std::unique_ptr<Slot>> running_;  // oldest first
  std::vector<std::unique_ptr<Slot>> free_slots_;
  cuda::Stream copies_ = nullptr;
};

}  // namespace hr
