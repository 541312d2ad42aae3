#include "hrnet/train/train_step.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "core/error.h"
#include "core/gpu_switches.h"
#include "ops/conv/backend.h"
#include "ops/elementwise.h"
#include "ops/gradients.h"

namespace hr {
namespace {

constexpr int64_t kStatus = 4;

// When advising a batch size, this much of the free device memory is left to the driver: for instantiated graphs, for
// modules of kernels that are loaded when they are first needed, and for local memory.
constexpr double kReserve = 256 << 20;

// While this object exists, the ranks choose the kernels of convolutions together.
class OneChoice {
 public:
  OneChoice(Context& cx, const DataParallel* parallel) : conv_(parallel != nullptr ? &conv_backend(cx) : nullptr) {
    if (conv_ != nullptr) conv_->ranks = &parallel->comm();
  }
  ~OneChoice() {
    if (conv_ != nullptr) conv_->ranks = nullptr;
  }
  OneChoice(const OneChoice&) = delete;
  OneChoice& operator=(const OneChoice&) = delete;

 private:
  ConvBackend* conv_;
};

// The inputs of a step besides its batch.
struct Control {
  double lr;
  float stop;  // 1 if this rank requests a stop
};

}  // namespace

// The memory of a batch on the device until its step begins. The events mark how far the batch is.
struct TrainStep::Slot {
  Slot(std::shared_ptr<Allocator> allocator, size_t size)
      : memory(std::make_shared<Storage>(std::move(allocator), size)) {
    staged = static_cast<std::byte*>(memory->data());
    control = static_cast<Control*>(cuda::allocate_pinned(sizeof(Control) + kStatus * sizeof(float)));
    status = reinterpret_cast<float*>(control + 1);
    arrived = cuda::create_event();
    prepared = cuda::create_event();
    done = cuda::create_event();
  }
  ~Slot() {
    cuda::deallocate_pinned(control);
    cuda::destroy_event(arrived);
    cuda::destroy_event(prepared);
    cuda::destroy_event(done);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  const Plan* plan = nullptr;  // The plan of the step that uses the slot.
  std::shared_ptr<Storage> memory;
  std::byte* staged = nullptr;  // The bytes of `memory`.
  Control* control = nullptr;   // Pinned, like status.
  float* status = nullptr;
  cuda::Event arrived = nullptr, prepared = nullptr, done = nullptr;
};

TrainStep::TrainStep(const Context& cx, Optimizer& optimizer, LossFunction loss, DataParallel* parallel)
    : cx_(cx), optimizer_(optimizer), store_(optimizer.store()), loss_(std::move(loss)), parallel_(parallel) {
  check(loss_ != nullptr, "training step: there is no loss function");
  cx_.training = true;
  cx_.tape = &tape_;
  store_.bind(tape_);
  if (parallel_ != nullptr) parallel_->attach(tape_);
  const float one = 1.0f;
  one_ = cx_.empty({1}, DType::f32);
  cx_.upload(one_, std::as_bytes(std::span(&one, 1)));
  if (!cx_.device.is_cuda()) return;
  copies_ = cuda::create_stream();
  copy_memory_ = std::make_shared<CachingAllocator>(CachingAllocator::gpu());
  adam_rounds_ = cx_.precision == DType::bf16 && adam_rounds();
}

TrainStep::~TrainStep() {
  if (copies_ == nullptr) return;
  try {
    while (!running_.empty()) finish_oldest();
  } catch (const Error&) {
    // The device has failed, which wait() has already reported.
    running_.clear();
  }
  for (auto& [key, plan] : plans_) {
    if (plan.graph != nullptr) cuda::destroy_graph(plan.graph);
  }
  cuda::destroy_stream(copies_);
}

TrainStep::Plan TrainStep::make_plan(const StepBatch& batch) const {
  Plan plan;
  if (cx_.device.is_cuda() && preparation_of_) plan.preparation = preparation_of_(batch);
  plan.layout = lay_out(batch, plan.preparation ? &*plan.preparation : nullptr, sizeof(Control));
  const size_t at = plan.layout.control;
  const auto memory = std::make_shared<Storage>(cx_.allocator, plan.layout.input_bytes);
  plan.all = Tensor(memory, {static_cast<int64_t>(memory->bytes())}, DType::u8, cx_.device);
  for (const BatchLayout::Part& input : plan.layout.inputs) {
    plan.inputs.emplace_back(memory, input.shape, input.dtype, cx_.device, input.begin);
    plan.names.push_back(input.name);
  }
  plan.constants = batch.constants;
  plan.samples = std::max<int64_t>(1, batch.samples());
  plan.control = Tensor(memory, {sizeof(Control)}, DType::u8, cx_.device, at);
  plan.lr = Tensor(memory, {1}, DType::f64, cx_.device, at + offsetof(Control, lr));
  plan.stop = Tensor(memory, {1}, DType::f32, cx_.device, at + offsetof(Control, stop));
  plan.status = cx_.zeros({kStatus}, DType::f32);
  plan.loss = plan.status.view({1});
  plan.arena = std::make_shared<Arena>(cx_.allocator);
  return plan;
}

TrainStep::Plan& TrainStep::plan_for(const StepBatch& batch, Plan::Part part) {
  for (const HostArray& a : batch.arrays) {
    check(a.bytes.size() == a.expected_bytes(), "training step: {}: expected {} of {}, which is {} bytes; got {} bytes",
          a.name.empty() ? "an input" : a.name, to_string(a.shape), name_of(a.dtype), a.expected_bytes(),
          a.bytes.size());
  }
  const std::string key = fmt::format("{}{}", static_cast<int>(part), batch.key());
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  Plan& plan = plans_.emplace(key, make_plan(batch)).first->second;
  plan.part = part;
  return plan;
}

Tensor TrainStep::forward(Context& step, const Plan& plan) {
  Tensor loss = loss_(step, Inputs(plan.inputs, plan.names, plan.constants));
  check(loss.defined() && loss.numel() == 1 && loss.dtype() == DType::f32,
        "training step: expected a loss of one f32 element, got {}",
        loss.defined() ? fmt::format("{} of {}", to_string(loss.shape()), name_of(loss.dtype())) : "no tensor");
  check(loss.requires_grad(), "training step: the loss depends on no parameter, so there is nothing to learn");
  return loss;
}

void TrainStep::run(Plan& plan) {
  Context step = cx_;
  step.allocator = plan.arena;
  const bool gpu = cx_.device.is_cuda();
  bool whole = true;
  const OneChoice one_choice(step, parallel_);
  plan.arena->begin_step();
  try {
    using Rounding = ParameterStore::Rounding;
    const ParameterStore::Rounded rounded =
        store_.round_values(step, adam_rounds_ ? Rounding::with_update : Rounding::now);
    const std::vector<int64_t> before = store_.counts();
    // The forward pass changes the running statistics before it is known whether the loss is finite, so they are saved.
    const Tensor statistics = step.empty(store_.buffers.shape(), DType::f32);
    copy_or_add(step, store_.buffers, statistics, false);
    const Tensor loss = forward(step, plan);
    plan.counted = store_.counts();
    for (size_t i = 0; i < before.size(); ++i) plan.counted[i] -= before[i];
    copy_or_add(step, loss, plan.loss, false);
    copy_or_add(step, loss, plan.status.view({1}, 2), false);
    if (parallel_ != nullptr) {
      copy_or_add(step, plan.stop, plan.status.view({1}, 1), false);
      parallel_->comm().all_reduce(plan.status.view({2}), Reduce::mean, step.stream);
    }
    copy_unless_finite(step, plan.loss, statistics, store_.buffers);
    // The CPU can test the loss now and skip the rest. On a GPU the kernels of the optimiser test it.
    whole = gpu || std::isfinite(*plan.loss.data<float>());
    if (whole) {
      if (parallel_ != nullptr) parallel_->hold(plan.part != Plan::Part::alone);
      collect_halves(step, plan);
      tape_.backward(step, loss, one_);
      if (plan.halves) {
        widen_gradients(step, *plan.halves);
        conv_backend(step).halves = nullptr;
      }
      use_gradients(step, plan);
    } else {
      tape_.clear();
      if (plan.part == Plan::Part::last) *kept_samples_.data<float>() = 0;
    }
  } catch (...) {
    tape_.clear();
    if (plan.halves) conv_backend(step).halves = nullptr;
    plan.arena->abort_step();
    throw;
  }
  // A step that was cut short must not become the plan of later steps.
  whole ? plan.arena->end_step() : plan.arena->abort_step();
  cx_.ops = step.ops;
}

void TrainStep::collect_halves(Context& step, Plan& plan) {
  // With several ranks each gradient is sent as soon as it is complete, so it cannot wait for the others.
  const bool wanted = cx_.device.is_cuda() && cx_.precision == DType::bf16 && parallel_ == nullptr;
  if (!plan.halves && wanted && plan.graph == nullptr && !plan.arena->replaying() && filter_gradient_slab()) {
    const Context& home = store_.home();
    const Shape shape = store_.grads.shape();
    if (!halves_.defined()) halves_ = home.zeros(shape, DType::bf16);
    const int64_t blocks = store_.grads.numel() / HalfGradients::kBlock;
    plan.halves = std::make_shared<HalfGradients>();
    plan.halves->grads = store_.grads;
    plan.halves->half = halves_;
    plan.halves->marks.assign(static_cast<size_t>(blocks), 0);
    plan.halves->device_marks = home.empty({blocks}, DType::u8);
  }
  if (plan.halves) conv_backend(step).halves = plan.halves.get();
}

void TrainStep::use_gradients(Context& step, Plan& plan) {
  if (plan.part == Plan::Part::kept) {
    keep_gradient(step, store_.grads, kept_, kept_samples_, plan.loss, plan.samples);
    if (parallel_ != nullptr) parallel_->discard();
    return;
  }
  if (plan.part == Plan::Part::last) mean_of_kept(step, store_.grads, kept_, kept_samples_, plan.loss, plan.samples);
  if (parallel_ != nullptr) parallel_->finish(step);
  optimizer_.apply(step, plan.lr, plan.loss);
  const Tensor norm = optimizer_.gradient_norm();
  if (norm.defined()) copy_or_add(step, norm, plan.status.view({1}, 3), false);
}

void TrainStep::submit(const StepBatch& batch, double lr, Gradients gradients) {
  try {
    const bool keep = gradients == Gradients::keep;
    if (keep && !kept_.defined()) {
      kept_ = store_.home().empty(store_.grads.shape(), DType::f32);
      kept_samples_ = store_.home().zeros({1}, DType::f32);
    }
    Plan& plan = plan_for(batch, keep ? Plan::Part::kept : keeps_ ? Plan::Part::last : Plan::Part::alone);
    keeps_ = keep;
    cx_.device.is_cuda() ? submit_gpu(plan, batch, lr) : submit_cpu(plan, batch, lr);
    ++submitted_;
  } catch (const OutOfMemory& e) {
    explain_memory(e, batch);
  }
}

void TrainStep::submit_cpu(Plan& plan, const StepBatch& batch, double lr) {
  for (size_t i = 0; i < batch.arrays.size(); ++i) {
    const auto from = batch.arrays[i].bytes;
    if (!from.empty()) std::memcpy(plan.inputs[i].raw(), from.data(), from.size());
  }
  *plan.lr.data<double>() = lr;
  *plan.stop.data<float>() = stop_requested_ ? 1.0f : 0.0f;
  const uint64_t version = store_.version;
  run(plan);
  // The version may go back here: the step is over, so no cache can contain values of the versions in between.
  if (!std::isfinite(*plan.loss.data<float>())) store_.version = version;
  take(plan, plan.status.data<float>());
}

void TrainStep::take(const Plan& plan, const float* status) {
  if (!std::isfinite(status[0])) store_.uncount(plan.counted);
  const bool stop = parallel_ != nullptr ? status[1] > 0 : stop_requested_;
  losses_.push_back({.loss = status[0], .own_loss = status[2], .gradient_norm = status[3], .stop = stop});
}

std::unique_ptr<TrainStep::Slot> TrainStep::slot_for(const Plan& plan) {
  std::unique_ptr<Slot> slot;
  for (auto& candidate : free_slots_) {
    if (candidate->memory->bytes() == plan.layout.all) {
      slot = std::move(candidate);
      std::swap(candidate, free_slots_.back());
      free_slots_.pop_back();
      break;
    }
  }
  if (!slot) slot = std::make_unique<Slot>(copy_memory_, plan.layout.all);
  slot->plan = &plan;
  return slot;
}

void TrainStep::submit_gpu(Plan& plan, const StepBatch& batch, double lr) {
  while (static_cast<int>(running_.size()) >= kInFlight) finish_oldest();
  std::unique_ptr<Slot> slot = slot_for(plan);

  // Copies host -> (copy stream) -> staged -> (compute stream) -> the inputs of the graph.
  const auto send = [&](size_t place, std::span<const std::byte> from) {
    if (from.empty()) return;
    cuda::copy(slot->staged + place, from.data(), from.size(), cuda::Copy::host_to_device, copies_);
  };
  *slot->control = {.lr = lr, .stop = stop_requested_ ? 1.0f : 0.0f};
  send(plan.layout.control, std::as_bytes(std::span(slot->control, 1)));
  for (size_t i = 0; i < batch.arrays.size(); ++i) send(plan.layout.uploads[i].begin, batch.arrays[i].bytes);
  cuda::record(slot->arrived, copies_);
  if (plan.preparation) prepare(plan, *slot);
  cuda::wait(cx_.stream, plan.preparation ? slot->prepared : slot->arrived);
  cuda::copy(plan.all.raw(), slot->staged, plan.all.bytes(), cuda::Copy::device_to_device, cx_.stream);

  if (adam_rounds_) store_.refresh_rounded(cx_);
  run_or_launch(plan);
  if (adam_rounds_) store_.note_rounded();
  cuda::copy(slot->status, plan.status.raw(), plan.status.bytes(), cuda::Copy::device_to_host, cx_.stream);
  cuda::record(slot->done, cx_.stream);
  running_.push_back(std::move(slot));
  // The caller may overwrite the batch after this wait. The GPU stays busy with the steps that were submitted before.
  cuda::synchronize(running_.back()->arrived);
}

// Runs in the order of the copy stream, so that it follows the arrival of the batch and precedes that of the next one.
void TrainStep::prepare(const Plan& plan, const Slot& slot) {
  Context side = cx_;
  side.stream = copies_;
  side.allocator = copy_memory_;
  side.tape = nullptr;
  side.ops = nullptr;  // Libraries' handles and scratch memory belong to the other stream.
  side.side_streams = nullptr;
  side.profile = nullptr;
  std::vector<Tensor> uploads, made;
  std::vector<std::string> names;
  for (const BatchLayout::Part& a : plan.layout.uploads) {
    uploads.emplace_back(slot.memory, a.shape, a.dtype, cx_.device, a.begin);
    names.push_back(a.name);
  }
  for (const BatchLayout::Part& a : std::span(plan.layout.inputs).subspan(plan.layout.made))
    made.emplace_back(slot.memory, a.shape, a.dtype, cx_.device, a.begin);
  plan.preparation->compute(side, Inputs(uploads, names, plan.constants), made);
  cuda::record(slot.prepared, copies_);
}

void TrainStep::run_or_launch(Plan& plan) {
  if (plan.graph != nullptr) {
    store_.count(plan.counted);
  } else if (plan.arena->replaying()) {
    // The previous step was recorded and planned, so addresses are final and every convolution has its plan.
    cuda::begin_capture(cx_.stream);
    try {
      run(plan);
    } catch (...) {
      cuda::abort_capture(cx_.stream);
      throw;
    }
    plan.graph = cuda::end_capture(cx_.stream);
  }
  if (plan.graph != nullptr) {
    cuda::launch(plan.graph, cx_.stream);
  } else {
    run(plan);
  }
}

void TrainStep::finish_oldest() {
  std::unique_ptr<Slot> slot = std::move(running_.front());
  running_.pop_front();
  cuda::synchronize(slot->done);
  take(*slot->plan, slot->status);
  free_slots_.push_back(std::move(slot));
}

bool TrainStep::ready() const { return !losses_.empty() || (!running_.empty() && cuda::done(running_.front()->done)); }

double TrainStep::wait() {
  check(pending() > 0, "training step: no loss is pending; call submit() before wait()");
  if (losses_.empty()) finish_oldest();
  const Done done = losses_.front();
  losses_.pop_front();
  ++waited_;
  own_loss_ = done.own_loss;
  gradient_norm_ = done.gradient_norm;
  // Before a rank takes the loss of a step it may have submitted this many more steps, and so do all ranks.
  if (done.stop && stop_after_ < 0) stop_after_ = waited_ + (cx_.device.is_cuda() ? kInFlight : 0);
  return done.loss;
}

double TrainStep::operator()(const StepBatch& batch, double lr) {
  check(pending() == 0, "training step: earlier losses are pending; take them with wait() first");
  submit(batch, lr);
  return wait();
}

// Returns the bytes that a step with the first `n` samples of a batch takes beside parameters; nothing if they do not
// fit. It changes the running statistics, which does not matter, since training ends here.
std::optional<size_t> TrainStep::measure(const StepBatch& batch, int64_t n) {
  drop_plans();
  const int64_t samples = batch.samples();
  StepBatch fewer = batch;
  for (HostArray& a : fewer.arrays) {
    if (!a.per_sample || a.shape.empty()) continue;
    a.shape[0] = n;
    a.bytes = a.bytes.first(a.bytes.size() / static_cast<size_t>(samples) * static_cast<size_t>(n));
  }
  try {
    Plan& plan = plan_for(fewer);
    cx_.zero(plan.all);
    Context step = cx_;
    step.allocator = plan.arena;
    plan.arena->begin_step();
    {
      const Tensor loss = forward(step, plan);
      tape_.backward(step, loss, one_);
    }
    plan.arena->end_step();
    return plan.arena->peak_bytes() + plan.all.bytes() + 2 * plan.layout.all;
  } catch (const OutOfMemory&) {
    tape_.clear();
    return {};
  }
}

// Waits for the batches in flight, and frees graphs, arenas and their memory.
void TrainStep::drop_plans() {
  while (!running_.empty()) finish_oldest();
  for (auto& [key, plan] : plans_) {
    if (plan.graph != nullptr) cuda::destroy_graph(plan.graph);
  }
  plans_.clear();
  free_slots_.clear();
  if (copy_memory_) copy_memory_->release_cache();
  if (auto* cache = dynamic_cast<CachingAllocator*>(cx_.allocator.get())) cache->release_cache();
}

void TrainStep::explain_memory(const OutOfMemory& e, const StepBatch& batch) {
  const int64_t samples = batch.samples();
  const std::string asked = fmt::format("{} while training with batches of {}", e.what(), samples);
  if (cx_.device.is_cuda()) {
    drop_plans();
    const double free = std::max(0.0, static_cast<double>(cuda::free_bytes()) - kReserve);
    for (int64_t n = samples > 1 ? std::max<int64_t>(1, samples / 8) : 0; n >= 1;
         n = n > 1 ? std::max<int64_t>(1, n / 4) : 0) {
      const std::optional<size_t> taken = measure(batch, n);
      if (!taken) continue;
      // Part of a step's memory does not shrink with the batch, so the need of a smaller batch than the measured one is
      // not extrapolated. The smaller batch is measured itself.
      const auto fits = static_cast<int64_t>(0.95 * free / static_cast<double>(*taken) * static_cast<double>(n));
      if (fits < n) continue;
      fail("{}; batches of {} would fit", asked, std::min<int64_t>(fits, samples - 1));
    }
  }
  fail("{}; use a smaller model or input", asked);
}

size_t TrainStep::peak_bytes() const {
  size_t peak = 0;
  for (const auto& [key, plan] : plans_) peak += plan.arena->peak_bytes();
  return peak;
}

}  // namespace hr
