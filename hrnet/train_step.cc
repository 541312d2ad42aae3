#include "hrnet/train_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "ops/sum.h"

namespace hr {
namespace {

void expect_numbers(const char* what, int64_t expected, std::span<const float> given) {
  check(expected == static_cast<int64_t>(given.size()), "training step: expected {} numbers of {}, got {}", expected,
        what, given.size());
}

// Parts of the input tensor start on 256-byte boundaries.
int64_t padded(int64_t n) { return (n + 63) / 64 * 64; }

constexpr int64_t kStatus = 3;

}  // namespace

// Pinned memory that a batch is copied to, the same on the device, and the events of its journey.
struct TrainStep::Slot {
  explicit Slot(int64_t size) : numbers(size) {
    pinned = static_cast<float*>(cuda::allocate_pinned(static_cast<size_t>(size) * sizeof(float)));
    staged = static_cast<float*>(cuda::allocate(static_cast<size_t>(size) * sizeof(float)));
    status = static_cast<float*>(cuda::allocate_pinned(kStatus * sizeof(float)));
    arrived = cuda::create_event();
    done = cuda::create_event();
  }
  ~Slot() {
    cuda::deallocate_pinned(pinned);
    cuda::deallocate(staged);
    cuda::deallocate_pinned(status);
    cuda::destroy_event(arrived);
    cuda::destroy_event(done);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  int64_t numbers;
  float *pinned = nullptr, *staged = nullptr, *status = nullptr;
  cuda::Event arrived = nullptr, done = nullptr;
};

TrainStep::TrainStep(const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss, DataParallel* parallel)
    : cx_(cx), model_(model), optimizer_(optimizer), loss_(loss), parallel_(parallel) {
  cx_.training = true;
  cx_.tape = &tape_;
  model_.parameters().bind(tape_);
  if (parallel_ != nullptr) parallel_->attach(tape_);
  const float one = 1.0f;
  one_ = cx_.empty({1}, DType::f32);
  cx_.upload(one_, std::as_bytes(std::span(&one, 1)));
  if (cx_.device.is_cuda()) copies_ = cuda::create_stream();
}

TrainStep::~TrainStep() {
  if (copies_ == nullptr) return;
  try {
    while (!running_.empty()) finish_oldest();
  } catch (const Error&) {
    // The device failed; whoever waited for a loss was told.
    running_.clear();
  }
  for (auto& [shape, in] : inputs_) {
    if (in.graph != nullptr) cuda::destroy_graph(in.graph);
  }
  cuda::destroy_stream(copies_);
}

TrainStep::Inputs& TrainStep::inputs_for(const TrainBatch& b) {
  auto [it, is_new] = inputs_.try_emplace({b.n, b.h, b.w});
  Inputs& in = it->second;
  if (is_new) {
    const Shape images{b.n, b.h, b.w, 3}, targets{b.n, b.h / 4, b.w / 4, model_.joints()},
        weights{b.n, model_.joints()};
    const int64_t first_target = padded(numel(images)), first_weight = first_target + padded(numel(targets)),
                  first_number = first_weight + padded(numel(weights));
    in.all = cx_.empty({first_number + kAdamNumbers + 1}, DType::f32);
    in.images = in.all.view(images);
    in.targets = in.all.view(targets, first_target);
    in.weights = in.all.view(weights, first_weight);
    in.numbers = in.all.view({kAdamNumbers}, first_number);
    in.stop = in.all.view({1}, first_number + kAdamNumbers);
    in.status = cx_.zeros({kStatus}, DType::f32);
    in.loss = in.status.view({1});
    in.arena = std::make_shared<Arena>(cx_.allocator);
  }
  expect_numbers("images", in.images.numel(), b.images);
  expect_numbers("targets", in.targets.numel(), b.targets);
  expect_numbers("weights", in.weights.numel(), b.weights);
  return in;
}

void TrainStep::run(Inputs& in) {
  Context step = cx_;
  step.allocator = in.arena;
  const bool gpu = cx_.device.is_cuda();
  bool whole = true;
  in.arena->begin_step();
  try {
    model_.parameters().round_values(step);
    Tensor heatmaps = model_.forward(step, in.images);
    const Tensor loss = joints_loss(step, heatmaps, in.targets, in.weights, loss_);
    heatmaps.reset();
    copy_or_add(step, loss, in.loss, false);
    copy_or_add(step, loss, in.status.view({1}, 2), false);
    if (parallel_ != nullptr) {
      copy_or_add(step, in.stop, in.status.view({1}, 1), false);
      parallel_->comm().all_reduce(in.status.view({2}), Reduce::mean, step.stream);
    }
    // The CPU can look at once and need not go on; on a GPU the optimiser's kernel looks.
    whole = gpu || std::isfinite(*in.loss.data<float>());
    if (whole) {
      tape_.backward(step, loss, one_);
      if (parallel_ != nullptr) parallel_->finish(step);
      optimizer_.apply(step, in.numbers, in.loss);
    } else {
      tape_.clear();
    }
  } catch (...) {
    tape_.clear();
    in.arena->abort_step();
    throw;
  }
  // A step that ended early is no plan for the others.
  whole ? in.arena->end_step() : in.arena->abort_step();
  cx_.ops = step.ops;
}

void TrainStep::submit(const TrainBatch& batch, double lr) {
  try {
    Inputs& in = inputs_for(batch);
    cx_.device.is_cuda() ? submit_gpu(in, batch, lr) : submit_cpu(in, batch, lr);
    ++submitted_;
  } catch (const OutOfMemory& e) {
    explain_memory(e, batch);
  }
}

void TrainStep::submit_cpu(Inputs& in, const TrainBatch& batch, double lr) {
  std::memcpy(in.images.raw(), batch.images.data(), batch.images.size_bytes());
  std::memcpy(in.targets.raw(), batch.targets.data(), batch.targets.size_bytes());
  std::memcpy(in.weights.raw(), batch.weights.data(), batch.weights.size_bytes());
  const auto numbers = optimizer_.next(lr);
  std::memcpy(in.numbers.raw(), numbers.data(), sizeof numbers);
  *in.stop.data<float>() = stop_requested_ ? 1.0f : 0.0f;
  run(in);
  if (!std::isfinite(*in.loss.data<float>())) --optimizer_.steps;
  take(in.status.data<float>());
}

void TrainStep::take(const float* status) {
  const bool stop = parallel_ != nullptr ? status[1] > 0 : stop_requested_;
  losses_.push_back({.loss = status[0], .own_loss = status[2], .stop = stop});
}

void TrainStep::submit_gpu(Inputs& in, const TrainBatch& batch, double lr) {
  while (static_cast<int>(running_.size()) >= kInFlight) finish_oldest();
  std::unique_ptr<Slot> slot;
  for (auto& candidate : free_slots_) {
    if (candidate->numbers == in.all.numel()) {
      slot = std::move(candidate);
      std::swap(candidate, free_slots_.back());
      free_slots_.pop_back();
      break;
    }
  }
  if (!slot) slot = std::make_unique<Slot>(in.all.numel());

  // Host -> pinned -> (copy stream) -> staged -> (compute stream) -> the graph's own inputs.
  const auto place = [&](const Tensor& part, const void* from) {
    std::memcpy(slot->pinned + (part.data<float>() - in.all.data<float>()), from, part.bytes());
  };
  place(in.images, batch.images.data());
  place(in.targets, batch.targets.data());
  place(in.weights, batch.weights.data());
  const auto numbers = optimizer_.next(lr);
  place(in.numbers, numbers.data());
  const float stop = stop_requested_ ? 1.0f : 0.0f;
  place(in.stop, &stop);
  cuda::copy(slot->staged, slot->pinned, in.all.bytes(), cuda::Copy::host_to_device, copies_);
  cuda::record(slot->arrived, copies_);
  cuda::wait(cx_.stream, slot->arrived);
  cuda::copy(in.all.raw(), slot->staged, in.all.bytes(), cuda::Copy::device_to_device, cx_.stream);

  if (in.graph != nullptr) model_.parameters().count_batch();
  if (in.graph == nullptr && in.arena->replaying()) {
    // The step before was recorded and planned: addresses are final, every convolution has its plan.
    cuda::begin_capture(cx_.stream);
    try {
      run(in);
    } catch (...) {
      cuda::abort_capture(cx_.stream);
      throw;
    }
    in.graph = cuda::end_capture(cx_.stream);
  }
  if (in.graph != nullptr) {
    cuda::launch(in.graph, cx_.stream);
  } else {
    run(in);
  }
  cuda::copy(slot->status, in.status.raw(), in.status.bytes(), cuda::Copy::device_to_host, cx_.stream);
  cuda::record(slot->done, cx_.stream);
  running_.push_back(std::move(slot));
}

void TrainStep::finish_oldest() {
  std::unique_ptr<Slot> slot = std::move(running_.front());
  running_.pop_front();
  cuda::synchronize(slot->done);
  take(slot->status);
  free_slots_.push_back(std::move(slot));
}

bool TrainStep::ready() const { return !losses_.empty() || (!running_.empty() && cuda::done(running_.front()->done)); }

double TrainStep::wait() {
  check(pending() > 0, "training step: no loss is due");
  if (losses_.empty()) finish_oldest();
  const Done done = losses_.front();
  losses_.pop_front();
  ++waited_;
  own_loss_ = done.own_loss;
  // Until a rank takes a step's loss it may have submitted so many more; all ranks do.
  if (done.stop && stop_after_ < 0) stop_after_ = waited_ + (cx_.device.is_cuda() ? kInFlight : 0);
  return done.loss;
}

double TrainStep::operator()(const TrainBatch& batch, double lr) {
  check(pending() == 0, "training step: earlier losses must be taken first");
  submit(batch, lr);
  return wait();
}

// Measures how much a smaller batch takes, forward and backward, and says which size fits. Parameters stay as they are;
// running statistics do not, but there is no going on from here.
void TrainStep::explain_memory(const OutOfMemory& e, const TrainBatch& batch) {
  const std::string asked = fmt::format("{} while training with batches of {}", e.what(), batch.n);
  if (!cx_.device.is_cuda() || batch.n == 1) fail("{}; a smaller model or input needs less", asked);
  while (!running_.empty()) finish_oldest();
  for (auto& [shape, in] : inputs_) {
    if (in.graph != nullptr) cuda::destroy_graph(in.graph);
  }
  inputs_.clear();
  free_slots_.clear();
  auto* cache = dynamic_cast<CachingAllocator*>(cx_.allocator.get());
  if (cache != nullptr) cache->release_cache();
  const size_t free = cuda::free_bytes();
  const int small = std::max(1, batch.n / 8);
  const std::vector<float> images(static_cast<size_t>(small) * batch.h * batch.w * 3),
      targets(static_cast<size_t>(small) * (batch.h / 4) * (batch.w / 4) * model_.joints()),
      weights(static_cast<size_t>(small) * model_.joints());
  size_t taken = 0;
  try {
    Inputs& in = inputs_for({images, targets, weights, small, batch.h, batch.w});
    cx_.zero(in.all);
    Context step = cx_;
    step.allocator = in.arena;
    in.arena->begin_step();
    {
      const Tensor heatmaps = model_.forward(step, in.images);
      const Tensor loss = joints_loss(step, heatmaps, in.targets, in.weights, loss_);
      tape_.backward(step, loss, one_);
    }
    in.arena->end_step();
    taken = in.arena->peak_bytes() + 3 * in.all.bytes();
  } catch (const OutOfMemory&) {
    fail("{}; not even {} fit: a smaller model or input needs less", asked, small);
  }
  const auto fits = static_cast<int64_t>(0.95 * static_cast<double>(free) / static_cast<double>(taken) * small);
  fail("{}; --batch-size {} would fit", asked, std::clamp<int64_t>(fits, 1, batch.n - 1));
}

size_t TrainStep::peak_bytes() const {
  size_t peak = 0;
  for (const auto& [shape, in] : inputs_) peak += in.arena->peak_bytes();
  return peak;
}

}  // namespace hr
