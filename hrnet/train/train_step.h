// One training step of any model with any loss: forward, loss, backward, optimiser, on planned memory. On a GPU the
// first step of a shape runs eagerly, the second and all after it are one captured graph, batches travel on a stream of
// their own, and nothing waits for the device but the reading of losses.
//
//   hr::TrainStep step(cx, adam, [&](hr::Context& c, const hr::Inputs& in) {
//     return hr::mse(c, net(c, in["images"]), in["targets"]);
//   });
//   double loss = step({{pixels, {8, 64, 64, 3}, "images"}, {numbers, {8, 1, 1, 4}, "targets"}});
//
// The step for poses is hrnet/train/pose_step.h.
#pragma once
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/context.h"
#include "nn/data_parallel.h"
#include "nn/optimizer.h"

namespace hr {

// One array of a batch, in the caller's memory: dense, dims in memory order. It must stay valid until submit() returns.
struct HostArray {
  HostArray(std::span<const float> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::f32, as) {}
  HostArray(std::span<const double> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::f64, as) {}
  HostArray(std::span<const int32_t> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::i32, as) {}
  HostArray(std::span<const uint8_t> values, Shape dims, std::string_view as = "")
      : HostArray(std::as_bytes(values), std::move(dims), DType::u8, as) {}
  HostArray(std::span<const std::byte> memory, Shape dims, DType element, std::string_view as = "")
      : bytes(memory), shape(std::move(dims)), dtype(element), name(as) {}

  std::span<const std::byte> bytes;
  Shape shape;
  DType dtype;
  std::string name;        // how a loss function may ask for it; it may be empty
  bool per_sample = true;  // the first dim counts samples; false: a table that all samples share
};

// What one step reads. Steps of equal names, types, shapes and constants share a plan and a graph.
struct StepBatch {
  StepBatch() = default;
  StepBatch(std::initializer_list<HostArray> list) : arrays(list) {}
  std::vector<HostArray> arrays;
  // Whole numbers that the loss function reads on the host, such as the size of an image that it makes on the device.
  // They are part of the plan, since a captured graph holds whatever was computed from them.
  std::vector<int64_t> constants;

  int64_t samples() const;  // first dim of the first array that has one per sample; 0 if there is none
};

// A batch on the device, as a loss function sees it, by position or by name. Valid during the call only.
class Inputs {
 public:
  Inputs(std::span<const Tensor> tensors, std::span<const std::string> names, std::span<const int64_t> constants)
      : tensors_(tensors), names_(names), constants_(constants) {}
  size_t size() const { return tensors_.size(); }
  bool contains(std::string_view name) const;
  const Tensor& operator[](size_t i) const;               // Throws Error if the batch has fewer arrays.
  const Tensor& operator[](std::string_view name) const;  // Throws Error, with the names there are, if it is none.
  int64_t constant(size_t i) const;                       // Throws Error if the batch has fewer constants.

 private:
  std::span<const Tensor> tensors_;
  std::span<const std::string> names_;
  std::span<const int64_t> constants_;
};

// The scalar loss [1] f32 of a batch, recorded on cx.tape. It is called for the first steps of each plan and, on a GPU,
// once while the graph is captured, and never again: it must enqueue the same work every time, may not wait for the
// device, and must keep no tensor that it makes beyond the call.
using LossFunction = std::function<Tensor(Context& cx, const Inputs& in)>;

// Not thread-safe: one thread at a time may call a step, and nothing else may use its model or its optimiser meanwhile.
// Between the calls both may be read and written. Steps of different models may run on threads of their own.
class TrainStep {
 public:
  // Trains the parameters of `optimizer.store()`. The optimiser, its model and whatever `loss` refers to must outlive
  // the step, and `parallel` too: gradients are then averaged over its ranks. cx: device, precision, the compiled
  // primitives.
  TrainStep(const Context& cx, Optimizer& optimizer, LossFunction loss, DataParallel* parallel = nullptr);
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
  // Throws Error if an array's bytes and shape disagree, if the loss is not one f32 number that depends on a parameter,
  // and whatever the loss function throws; OutOfMemory becomes an Error that says how many samples would fit.
  // Gradients that a step keeps are averaged with those of the steps that follow, each by its number of samples, until
  // a step updates the weights with the mean of all (gradient accumulation). Such a step needs a second slab of
  // gradients. If a loss is not finite, a step that keeps adds nothing, and one that updates drops what was kept. On
  // several ranks the gradients travel with the step that updates. All ranks must keep and update alike.
  enum class Gradients { update, keep };
  static constexpr int kInFlight = 3;
  void submit(const StepBatch& batch, double lr, Gradients gradients = Gradients::update);
  void submit(const StepBatch& batch) { submit(batch, optimizer_.options().lr); }
  size_t pending() const { return losses_.size() + running_.size(); }  // losses not yet taken
  // Whether the oldest loss can be had without waiting.
  bool ready() const;
  double wait();  // Throws Error if nothing is pending.

  // submit and wait. Throws Error if earlier losses were not taken.
  double operator()(const StepBatch& batch, double lr);
  double operator()(const StepBatch& batch) { return operator()(batch, optimizer_.options().lr); }

  double own_loss() const { return own_loss_; }  // this rank's part of what wait() gave last
  // The norm of the gradient of the step whose loss wait() gave last, before it was clipped; 0 if the step kept its
  // gradient or the optimiser does not clip. If it is infinite or NaN, that step has changed no weights.
  double gradient_norm() const { return gradient_norm_; }

  // An orderly end that any rank may ask for. The wish travels with the loss, so all ranks hear of it with the loss of
  // the same step, and must_stop() turns true on all of them after the same number of submits.
  void request_stop() { stop_requested_ = true; }
  bool stop_heard() const { return stop_after_ >= 0; }
  bool must_stop() const { return stop_heard() && submitted_ >= stop_after_; }

  Context& context() { return cx_; }
  size_t peak_bytes() const;  // of activations and gradients; parameters and moments come on top

 private:
  // What steps of one kind of batch read, at fixed addresses, side by side in the bytes of `all`, and how they run.
  struct Plan {
    // What the step does with its gradient: it updates by itself, it keeps it, or it updates with those kept before.
    enum class Part { alone, kept, last } part = Part::alone;
    int64_t samples = 1;
    Tensor all;
    std::vector<Tensor> inputs;
    std::vector<std::string> names;
    std::vector<int64_t> constants;
    Tensor control, lr, stop;  // control: the bytes of the other two, learning rate [1] f64 and wish to stop [1] f32
    Tensor status;             // [4]: loss and wish to stop, averaged over the ranks; own loss; norm of the gradient
    Tensor loss;               // [1] of status
    std::shared_ptr<Arena> arena;  // a replayed plan fits one batch shape
    cuda::Graph graph = nullptr;
    std::vector<int64_t> counted;  // by how much a step raises each num_batches_tracked
  };
  struct Slot;  // a batch on its way to the GPU

  Plan& plan_for(const StepBatch& batch, Plan::Part part = Plan::Part::alone);
  Plan make_plan(const StepBatch& batch) const;
  Tensor forward(Context& step, const Plan& plan);  // the loss
  void run(Plan& plan);                             // one step, run or recorded for a graph
  void use_gradients(Context& step, Plan& plan);    // after the backward pass
  void submit_cpu(Plan& plan, const StepBatch& batch, double lr);
  void submit_gpu(Plan& plan, const StepBatch& batch, double lr);
  void run_or_launch(Plan& plan);
  std::unique_ptr<Slot> slot_for(const Plan& plan);
  void finish_oldest();
  void take(const Plan& plan, const float* status);  // of a step that is done
  std::optional<size_t> measure(const StepBatch& batch, int64_t n);
  void drop_plans();
  [[noreturn]] void explain_memory(const OutOfMemory& e, const StepBatch& batch);

  Context cx_;
  Optimizer& optimizer_;
  ParameterStore& store_;
  LossFunction loss_;
  DataParallel* parallel_;
  Tape tape_;
  Tensor one_;
  std::map<std::string, Plan> plans_;  // by names, types, shapes and constants
  Tensor kept_, kept_samples_;  // like the slab of gradients, and [1] f32; made when first a step keeps something
  bool keeps_ = false;          // the step before kept its gradient
  struct Done {
    double loss, own_loss, gradient_norm;
    bool stop;
  };
  std::deque<Done> losses_;                    // of finished steps
  std::deque<std::unique_ptr<Slot>> running_;  // oldest first
  std::vector<std::unique_ptr<Slot>> free_slots_;
  cuda::Stream copies_ = nullptr;
  double own_loss_ = 0, gradient_norm_ = 0;
  bool stop_requested_ = false;
  int64_t submitted_ = 0, waited_ = 0, stop_after_ = -1;
};

}  // namespace hr
