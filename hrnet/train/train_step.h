// One training step: forward, loss, backward, optimiser, on planned memory. On a GPU the first step of a shape runs
// eagerly, the second and all after it are one captured graph, batches travel on a stream of their own, and nothing
// waits for the device but the reading of losses.
#pragma once
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "hrnet/model/model.h"
#include "nn/data_parallel.h"
#include "nn/optimizer.h"
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

class TrainStep {
 public:
  // Model and optimiser must outlive the step, and `parallel` too: gradients are then averaged over its ranks. cx:
  // device, precision, the compiled primitives.
  TrainStep(const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss,
            DataParallel* parallel = nullptr);
  ~TrainStep();
  TrainStep(const TrainStep&) = delete;
  TrainStep& operator=(const TrainStep&) = delete;

  // Puts a step under way; the batch's memory may be reused when this returns. On the CPU the step is then done, on a
  // GPU the batch has arrived (pinned memory saves the driver a copy) and up to kInFlight steps are in work. Losses
  // come out of wait() in the order of the steps, each the loss before its update (the mean over all ranks).
  // A step whose loss is not finite changes nothing, on any rank: neither parameters, moments and running statistics,
  // nor the optimiser's step number and num_batches_tracked. On a GPU the device decides so when the step runs, and
  // later steps in work go on from there; only num_batches_tracked, which lives on the host, is counted at submit() and
  // taken back when the loss arrives, so it is exact when nothing is pending.
  static constexpr int kInFlight = 3;
  void submit(const TrainBatch& batch, double lr);
  size_t pending() const { return losses_.size() + running_.size(); }  // losses not yet taken
  // Whether the oldest loss can be had without waiting.
  bool ready() const;
  double wait();

  // submit and wait.
  double operator()(const TrainBatch& batch, double lr);

  double own_loss() const { return own_loss_; }  // this rank's part of what wait() gave last

  // An orderly end that any rank may ask for. The wish travels with the loss, so all ranks hear of it with the loss of
  // the same step, and must_stop() turns true on all of them after the same number of submits.
  void request_stop() { stop_requested_ = true; }
  bool stop_heard() const { return stop_after_ >= 0; }
  bool must_stop() const { return stop_heard() && submitted_ >= stop_after_; }

  Context& context() { return cx_; }
  size_t peak_bytes() const;  // of activations and gradients; parameters and moments come on top

 private:
  // What a step reads, at fixed addresses, side by side in the bytes of `all`.
  struct Inputs {
    Tensor all;
    Tensor images, targets;            // of a batch that brings them
    Tensor sources, normal, profiles;  // of one whose images and targets are made here
    Tensor weights;
    Tensor control, lr, stop;  // control: the bytes of the other two, learning rate [1] f64 and wish to stop [1] f32
    int h = 0, w = 0;
    Tensor status;                 // [3]: loss and wish to stop, averaged over the ranks; this rank's own loss
    Tensor loss;                   // [1] of status
    std::shared_ptr<Arena> arena;  // a replayed plan fits one batch shape
    cuda::Graph graph = nullptr;
  };
  struct Slot;  // a batch on its way to the GPU

  Inputs& inputs_for(const TrainBatch& batch);
  template <class Put>
  static void for_parts(const Inputs& in, const TrainBatch& batch, const Put& put);
  Tensor forward(Context& step, const Inputs& in);  // the loss
  void run(Inputs& in);                             // one step, run or recorded for a graph
  void submit_cpu(Inputs& in, const TrainBatch& batch, double lr);
  void submit_gpu(Inputs& in, const TrainBatch& batch, double lr);
  void finish_oldest();
  void take(const float* status);  // of a step that is done
  std::optional<size_t> measure(const TrainBatch& batch, int n);
  void drop_plans();
  [[noreturn]] void explain_memory(const OutOfMemory& e, const TrainBatch& batch);

  Context cx_;
  PoseModel& model_;
  Optimizer& optimizer_;
  JointsLoss loss_;
  DataParallel* parallel_;
  Tape tape_;
  Tensor one_;
  std::map<std::array<int, 4>, Inputs> inputs_;  // by n, h, w and which of the two kinds of batches
  struct Done {
    double loss, own_loss;
    bool stop;
  };
  std::deque<Done> losses_;                    // of finished steps
  std::deque<std::unique_ptr<Slot>> running_;  // oldest first
  std::vector<std::unique_ptr<Slot>> free_slots_;
  cuda::Stream copies_ = nullptr;
  double own_loss_ = 0;
  bool stop_requested_ = false;
  int64_t submitted_ = 0, waited_ = 0, stop_after_ = -1;
};

}  // namespace hr
