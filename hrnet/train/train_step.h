// One training step of any model with any loss: forward, loss, backward and optimiser, on planned memory. On a GPU the
// first step of a shape runs eagerly, and from the second on a captured graph is launched. Batches are uploaded on a
// stream of their own, and the host waits for the device only to read losses.
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
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/context.h"
#include "hrnet/train/step_batch.h"
#include "nn/data_parallel.h"
#include "nn/optimizer.h"

namespace hr {

struct HalfGradients;

// Computes the scalar loss [1] f32 of a batch and records it on cx.tape. It is called for the first steps of each plan
// and, on a GPU, once more while the graph is captured, and then never again. So it must enqueue the same work every
// time, must not wait for the device, and must not keep tensors that it makes beyond the call.
using LossFunction = std::function<Tensor(Context& cx, const Inputs& in)>;

// Not thread-safe: only one thread at a time may call a step, and during the call nothing else may use its model or its
// optimiser. Between calls both may be read and written. Steps of different models may run in parallel threads.
class TrainStep {
 public:
  // Trains the parameters of `optimizer.store()`. The optimiser, its model and whatever `loss` refers to must outlive
  // the step. With `parallel`, which must outlive it too, gradients are averaged over the ranks. Device, precision and
  // compiled primitives are those of cx. Throws Error if there is no loss function.
  TrainStep(const Context& cx, Optimizer& optimizer, LossFunction loss, DataParallel* parallel = nullptr);
  ~TrainStep();
  TrainStep(const TrainStep&) = delete;
  TrainStep& operator=(const TrainStep&) = delete;

  // On a GPU, prepares batches on the stream that copies them, beside the steps before. On the CPU this does nothing,
  // and the loss function gets batches as they are. Call it before the first step. Whatever `of` refers to must outlive
  // the step.
  void prepare_batches(PreparationOf of) { preparation_of_ = std::move(of); }

  // What happens to the gradient of a step. A step that keeps its gradient updates nothing. The next step that updates
  // uses the mean of its own gradient and of those kept before it, each weighted by its number of samples (gradient
  // accumulation). Keeping needs a second slab of gradients. If the loss of a step is not finite, its gradient is not
  // kept; if that step was to update, the gradients kept before it are dropped. With several ranks the gradients are
  // averaged over the ranks only in the step that updates, so all ranks must keep and update in the same steps.
  enum class Gradients { update, keep };

  // Starts a step. The batch's memory may be reused when this returns. On the CPU the step is then done. On a GPU the
  // batch has been copied to the device (without an extra copy if it lies in pinned memory), and up to kInFlight steps
  // are in flight. wait() returns the losses in the order of the steps, each as it was before the update (the mean over
  // all ranks).
  //
  // A step whose loss is not finite changes nothing on any rank: no parameters, moments or running statistics, and
  // neither the step number of the optimiser nor num_batches_tracked. On a GPU the device decides this when the step
  // runs, and later steps in flight continue from there. Only num_batches_tracked, which lies on the host, is raised in
  // submit() and lowered again when the loss arrives, so it is exact when nothing is pending.
  //
  // Throws Error if the bytes of an array do not fit its shape, if the loss is not one f32 number that depends on a
  // parameter, and whatever the loss function throws. OutOfMemory becomes an Error that says how many samples would
  // fit.
  static constexpr int kInFlight = 3;
  void submit(const StepBatch& batch, double lr, Gradients gradients = Gradients::update);
  void submit(const StepBatch& batch) { submit(batch, optimizer_.options().lr); }
  size_t pending() const { return losses_.size() + running_.size(); }  // Losses that were not taken yet.
  // Whether wait() would return the oldest loss without waiting.
  bool ready() const;
  double wait();  // Throws Error if nothing is pending.

  // submit() and wait() in one call. Throws Error if earlier losses were not taken.
  double operator()(const StepBatch& batch, double lr);
  double operator()(const StepBatch& batch) { return operator()(batch, optimizer_.options().lr); }

  double own_loss() const { return own_loss_; }  // This rank's part of the loss that wait() returned last.
  // Norm of the gradient of the step whose loss wait() returned last, before the gradient was clipped; 0 if the step
  // kept its gradient or the optimiser does not clip. If it is infinite or NaN, that step has changed no weights.
  double gradient_norm() const { return gradient_norm_; }

  // Any rank may request an orderly end. The request is sent along with the loss, so all ranks learn of it with the
  // loss of the same step, and must_stop() becomes true on all of them after the same number of submits.
  void request_stop() { stop_requested_ = true; }
  bool stop_heard() const { return stop_after_ >= 0; }
  bool must_stop() const { return stop_heard() && submitted_ >= stop_after_; }

  Context& context() { return cx_; }
  size_t peak_bytes() const;  // Activations and gradients, without parameters and moments.

 private:
  // The inputs of steps with one kind of batch, side by side at fixed addresses in `all`, and how these steps run.
  struct Plan {
    // The step updates with its own gradient alone, keeps its gradient, or updates with those kept before as well.
    enum class Part { alone, kept, last } part = Part::alone;
    int64_t samples = 1;
    Tensor all;
    std::vector<Tensor> inputs;
    std::vector<std::string> names;
    std::vector<int64_t> constants;
    std::optional<Preparation> preparation;
    BatchLayout layout;  // Of a Slot. `all` is its part of `input_bytes`.
    // `control` holds the bytes of the other two, learning rate [1] f64 and request to stop [1] f32.
    Tensor control, lr, stop;
    // [4]: loss and request to stop, averaged over the ranks; this rank's own loss; norm of the gradient.
    Tensor status;
    Tensor loss;                   // View [1] of status.
    std::shared_ptr<Arena> arena;  // Its plan is valid for one batch shape.
    cuda::Graph graph = nullptr;
    std::shared_ptr<HalfGradients> halves;  // Of a step that collects filter gradients in bf16; else null.
    std::vector<int64_t> counted;           // By how much a step raises each num_batches_tracked.
  };
  Tensor halves_;  // [parameters] bf16: HalfGradients::half of all plans; undefined until it is needed.
  struct Slot;     // A batch in flight to the GPU.

  Plan& plan_for(const StepBatch& batch, Plan::Part part = Plan::Part::alone);
  Plan make_plan(const StepBatch& batch) const;
  Tensor forward(Context& step, const Plan& plan);  // Computes the loss.
  void run(Plan& plan);                             // Runs one step, or records it for a graph.
  void collect_halves(Context& step, Plan& plan);   // Lets filter gradients be collected in bf16, if they shall be.
  void use_gradients(Context& step, Plan& plan);    // Keeps the gradients or updates with them, after backward.
  void submit_cpu(Plan& plan, const StepBatch& batch, double lr);
  void submit_gpu(Plan& plan, const StepBatch& batch, double lr);
  void prepare(const Plan& plan, const Slot& slot);
  void run_or_launch(Plan& plan);
  std::unique_ptr<Slot> slot_for(const Plan& plan);
  void finish_oldest();
  void take(const Plan& plan, const float* status);  // Takes the loss of a step that is done.
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
  std::map<std::string, Plan> plans_;  // Key: part, names, types, shapes and constants.
  Tensor kept_, kept_samples_;         // The sum of kept gradients and [1] f32; made when a step first keeps one.
  bool keeps_ = false;                 // Whether the previous step kept its gradient.
  struct Done {
    double loss, own_loss, gradient_norm;
    bool stop;
  };
  std::deque<Done> losses_;                    // Of finished steps.
  std::deque<std::unique_ptr<Slot>> running_;  // Oldest first.
  std::vector<std::unique_ptr<Slot>> free_slots_;
  cuda::Stream copies_ = nullptr;
  std::shared_ptr<CachingAllocator> copy_memory_;  // Of the slots, and of temporary tensors of a preparation.
  PreparationOf preparation_of_;
  // The optimiser of these steps also writes the rounded values (ParameterStore::Rounding::with_update).
  bool adam_rounds_ = false;
  double own_loss_ = 0, gradient_norm_ = 0;
  bool stop_requested_ = false;
  int64_t submitted_ = 0, waited_ = 0, stop_after_ = -1;
};

}  // namespace hr
