#include "hrnet/train/train_step.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "core/crop_slot.h"
#include "core/error.h"
#include "ops/conv/backend.h"
#include "ops/crop.h"
#include "ops/heatmaps.h"
#include "ops/sum.h"

namespace hr {
namespace {

// Parts of the inputs start on 256-byte boundaries.
size_t padded(size_t bytes) { return (bytes + 255) / 256 * 256; }

constexpr int64_t kStatus = 3;

// Of the device memory that is free before a step's plans are made, what the advice on a batch size leaves to the
// driver: instantiated graphs, modules of kernels that are loaded when they are first needed, local memory.
constexpr double kReserve = 256 << 20;

// While it lives, the ranks choose kernels of convolutions together.
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

// The host tells a step this besides its batch.
struct Control {
  double lr;
  float stop;  // 1: this rank wishes to stop
};

}  // namespace

// Where a batch lies on the device until its step begins, and the events of its journey.
struct TrainStep::Slot {
  explicit Slot(size_t size) : bytes(size) {
    staged = static_cast<std::byte*>(cuda::allocate(size));
    control = static_cast<Control*>(cuda::allocate_pinned(sizeof(Control) + kStatus * sizeof(float)));
    status = reinterpret_cast<float*>(control + 1);
    arrived = cuda::create_event();
    done = cuda::create_event();
  }
  ~Slot() {
    cuda::deallocate(staged);
    cuda::deallocate_pinned(control);
    cuda::destroy_event(arrived);
    cuda::destroy_event(done);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  size_t bytes;
  std::byte* staged = nullptr;
  Control* control = nullptr;  // pinned, as is what comes back:
  float* status = nullptr;
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

// put(tensor, the batch's numbers for it) for everything that a batch brings.
template <class Put>
void TrainStep::for_parts(const Inputs& in, const TrainBatch& b, const Put& put) {
  if (in.images.defined()) {
    put(in.images, std::as_bytes(b.images));
    put(in.targets, std::as_bytes(b.targets));
  } else {
    put(in.sources, std::as_bytes(b.sources));
    put(in.normal, std::as_bytes(b.normal));
    put(in.profiles, std::as_bytes(b.profiles));
  }
  put(in.weights, std::as_bytes(b.weights));
}

TrainStep::Inputs& TrainStep::inputs_for(const TrainBatch& b) {
  const bool sources = !b.sources.empty();
  check(!sources || (b.images.empty() && b.targets.empty()),
        "training step: a batch of sources has no images and targets, this one has both");
  auto [it, is_new] = inputs_.try_emplace({b.n, b.h, b.w, sources ? 1 : 0});
  Inputs& in = it->second;
  if (is_new) {
    struct Part {
      Tensor* tensor;
      Shape shape;
      DType dtype = DType::f32;
      size_t bytes() const { return static_cast<size_t>(numel(shape)) * size_of(dtype); }
    };
    const int64_t n = b.n, h = b.h / 4, w = b.w / 4, joints = model_.joints();
    std::vector<Part> parts;
    if (sources) {
      parts = {{&in.sources, {n, static_cast<int64_t>(CropSource::slot_bytes(b.w, b.h))}, DType::u8},
               {&in.normal, {3, 256}},
               {&in.profiles, {n, w + h, joints}, DType::f64}};
    } else {
      parts = {{&in.images, {n, b.h, b.w, 3}}, {&in.targets, {n, h, w, joints}}};
    }
    parts.push_back({&in.weights, {n, joints}});
    parts.push_back({&in.control, {sizeof(Control)}, DType::u8});
    size_t bytes = 0;
    for (const Part& part : parts) bytes += padded(part.bytes());
    const auto memory = std::make_shared<Storage>(cx_.allocator, bytes);
    in.all = Tensor(memory, {static_cast<int64_t>(bytes)}, DType::u8, cx_.device);
    size_t at = 0;
    for (const Part& part : parts) {
      *part.tensor = Tensor(memory, part.shape, part.dtype, cx_.device, at);
      at += padded(part.bytes());
    }
    const auto control = static_cast<size_t>(in.control.data<std::byte>() - in.all.data<std::byte>());
    in.lr = Tensor(memory, {1}, DType::f64, cx_.device, control + offsetof(Control, lr));
    in.stop = Tensor(memory, {1}, DType::f32, cx_.device, control + offsetof(Control, stop));
    in.h = b.h;
    in.w = b.w;
    in.status = cx_.zeros({kStatus}, DType::f32);
    in.loss = in.status.view({1});
    in.arena = std::make_shared<Arena>(cx_.allocator);
  }
  for_parts(in, b, [](const Tensor& part, std::span<const std::byte> given) {
    check(part.bytes() == given.size(), "training step: expected {} of {} in a batch, {} bytes; got {}",
          to_string(part.shape()), name_of(part.dtype()), part.bytes(), given.size());
  });
  return in;
}

Tensor TrainStep::forward(Context& step, const Inputs& in) {
  Tensor images = in.images, targets = in.targets;
  if (in.sources.defined()) {
    images = step.empty({in.sources.dim(0), in.h, in.w, 3}, DType::f32);
    crop(step, in.sources, in.normal, images);
    targets = gaussian_targets(step, in.profiles, in.h / 4, in.w / 4);
  }
  const Tensor heatmaps = model_.forward(step, images);
  return joints_loss(step, heatmaps, targets, in.weights, loss_);
}

void TrainStep::run(Inputs& in) {
  Context step = cx_;
  step.allocator = in.arena;
  const bool gpu = cx_.device.is_cuda();
  bool whole = true;
  const OneChoice one_choice(step, parallel_);
  in.arena->begin_step();
  try {
    ParameterStore& store = model_.parameters();
    const ParameterStore::Rounded rounded = store.round_values(step);
    // The forward pass moves the running statistics before the loss is known.
    const Tensor statistics = step.empty(store.buffers.shape(), DType::f32);
    copy_or_add(step, store.buffers, statistics, false);
    const Tensor loss = forward(step, in);
    copy_or_add(step, loss, in.loss, false);
    copy_or_add(step, loss, in.status.view({1}, 2), false);
    if (parallel_ != nullptr) {
      copy_or_add(step, in.stop, in.status.view({1}, 1), false);
      parallel_->comm().all_reduce(in.status.view({2}), Reduce::mean, step.stream);
    }
    copy_unless_finite(step, in.loss, statistics, store.buffers);
    // The CPU can look at once and need not go on; on a GPU the optimiser's kernels look.
    whole = gpu || std::isfinite(*in.loss.data<float>());
    if (whole) {
      tape_.backward(step, loss, one_);
      if (parallel_ != nullptr) parallel_->finish(step);
      optimizer_.apply(step, in.lr, in.loss);
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
  for_parts(in, batch, [](const Tensor& part, std::span<const std::byte> given) {
    std::memcpy(part.raw(), given.data(), given.size());
  });
  *in.lr.data<double>() = lr;
  *in.stop.data<float>() = stop_requested_ ? 1.0f : 0.0f;
  const uint64_t version = model_.parameters().version;
  run(in);
  // Nobody has seen a version between, since the step is over.
  if (!std::isfinite(*in.loss.data<float>())) model_.parameters().version = version;
  take(in.status.data<float>());
}

void TrainStep::take(const float* status) {
  if (!std::isfinite(status[0])) model_.parameters().uncount_batch();
  const bool stop = parallel_ != nullptr ? status[1] > 0 : stop_requested_;
  losses_.push_back({.loss = status[0], .own_loss = status[2], .stop = stop});
}

void TrainStep::submit_gpu(Inputs& in, const TrainBatch& batch, double lr) {
  while (static_cast<int>(running_.size()) >= kInFlight) finish_oldest();
  std::unique_ptr<Slot> slot;
  for (auto& candidate : free_slots_) {
    if (candidate->bytes == in.all.bytes()) {
      slot = std::move(candidate);
      std::swap(candidate, free_slots_.back());
      free_slots_.pop_back();
      break;
    }
  }
  if (!slot) slot = std::make_unique<Slot>(in.all.bytes());

  // Host -> (copy stream) -> staged -> (compute stream) -> the graph's own inputs.
  const auto send = [&](const Tensor& part, std::span<const std::byte> from) {
    cuda::copy(slot->staged + (part.data<std::byte>() - in.all.data<std::byte>()), from.data(), from.size(),
               cuda::Copy::host_to_device, copies_);
  };
  *slot->control = {.lr = lr, .stop = stop_requested_ ? 1.0f : 0.0f};
  send(in.control, std::as_bytes(std::span(slot->control, 1)));
  for_parts(in, batch, send);
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
  // The caller may write into the batch again. Steps submitted before keep the GPU busy meanwhile.
  cuda::synchronize(running_.back()->arrived);
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

// Bytes that a step with the first `n` of a batch takes beside parameters; nothing if they do not fit. Running
// statistics change, but there is no going on from here.
std::optional<size_t> TrainStep::measure(const TrainBatch& batch, int n) {
  drop_plans();
  TrainBatch fewer = batch;
  const auto first = [&](auto& part) { part = part.first(part.size() / static_cast<size_t>(batch.n) * n); };
  first(fewer.images), first(fewer.targets), first(fewer.weights), first(fewer.sources), first(fewer.profiles);
  fewer.n = n;
  try {
    Inputs& in = inputs_for(fewer);
    cx_.zero(in.all);  // a source of zeros is a black crop
    Context step = cx_;
    step.allocator = in.arena;
    in.arena->begin_step();
    {
      const Tensor loss = forward(step, in);
      tape_.backward(step, loss, one_);
    }
    in.arena->end_step();
    return in.arena->peak_bytes() + 3 * in.all.bytes();
  } catch (const OutOfMemory&) {
    tape_.clear();
    return {};
  }
}

// Graphs, arenas and batches under way, and the memory behind them.
void TrainStep::drop_plans() {
  while (!running_.empty()) finish_oldest();
  for (auto& [shape, in] : inputs_) {
    if (in.graph != nullptr) cuda::destroy_graph(in.graph);
  }
  inputs_.clear();
  free_slots_.clear();
  if (auto* cache = dynamic_cast<CachingAllocator*>(cx_.allocator.get())) cache->release_cache();
}

void TrainStep::explain_memory(const OutOfMemory& e, const TrainBatch& batch) {
  const std::string asked = fmt::format("{} while training with batches of {}", e.what(), batch.n);
  if (cx_.device.is_cuda()) {
    drop_plans();
    const double free = std::max(0.0, static_cast<double>(cuda::free_bytes()) - kReserve);
    for (int n = batch.n > 1 ? std::max(1, batch.n / 8) : 0; n >= 1; n = n > 1 ? std::max(1, n / 4) : 0) {
      const std::optional<size_t> taken = measure(batch, n);
      if (!taken) continue;
      // Part of a step's memory does not shrink with the batch, so a batch smaller than the measured one is not
      // foretold from it but measured itself.
      const auto fits = static_cast<int64_t>(0.95 * free / static_cast<double>(*taken) * n);
      if (fits < n) continue;
      fail("{}; --batch-size {} would fit", asked, std::min<int64_t>(fits, batch.n - 1));
    }
  }
  fail("{}; a smaller model or input needs less", asked);
}

size_t TrainStep::peak_bytes() const {
  size_t peak = 0;
  for (const auto& [shape, in] : inputs_) peak += in.arena->peak_bytes();
  return peak;
}

}  // namespace hr
