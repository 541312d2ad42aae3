#include "hrnet/infer/heatmap_runner.h"

#include <algorithm>

#include "core/error.h"
#include "core/parallel.h"
#include "data/crops/crop_writer.h"
#include "ops/conv/backend.h"
#include "ops/crop.h"
#include "ops/elementwise.h"
#include "ops/heatmaps.h"

namespace hr {
namespace {

// Rounds up to 256 bytes, so that every part of io_ is aligned.
size_t padded(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

// The memory of a batch in flight on a GPU, before and after the network, so that the network's own buffers are free
// for the next batch. The events mark how far the batch is:
//   host -(uploads_)-> staged -(stream)-> images or sources, network, maps -(stream)-> result -(downloads_)-> host
struct HeatmapRunner::Slot {
  explicit Slot(bool on_gpu) {
    if (!on_gpu) return;
    arrived = cuda::create_event();
    computed = cuda::create_event();
    done = cuda::create_event();
  }
  ~Slot() {
    if (arrived == nullptr) return;
    cuda::deallocate(staged);
    cuda::deallocate(result);
    cuda::deallocate_pinned(host);
    for (const cuda::Event event : {arrived, computed, done}) cuda::destroy_event(event);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  // This memory comes from the system and not from an allocator: a cached block of an allocator may still be in use by
  // kernels of the network, for which the copy streams do not wait.
  void reserve(size_t in, size_t out) {
    if (in > in_bytes) {
      cuda::deallocate(std::exchange(staged, nullptr));
      in_bytes = 0;
      staged = cuda::allocate(in);
      in_bytes = in;
    }
    if (out > out_bytes) {
      cuda::deallocate(std::exchange(result, nullptr));
      cuda::deallocate_pinned(std::exchange(host, nullptr));
      out_bytes = 0;
      result = cuda::allocate(out);
      host = static_cast<float*>(cuda::allocate_pinned(out));
      out_bytes = out;
    }
  }

  Heatmaps maps;
  void *staged = nullptr, *result = nullptr;
  float* host = nullptr;  // In pinned memory.
  size_t in_bytes = 0, out_bytes = 0;
  cuda::Event arrived = nullptr, computed = nullptr, done = nullptr;
};

HeatmapRunner::HeatmapRunner(const Context& cx, const PoseModel& model, std::vector<int> mirror, Options options)
    : cx_(cx), model_(model), options_(options) {
  cx_.tape = nullptr;
  cx_.training = false;
  // The runner has a memory pool of its own, so that the memory that inference frees does not fragment that of a
  // training step.
  const bool gpu = cx_.device.is_cuda();
  cx_.allocator = std::make_shared<CachingAllocator>(gpu ? CachingAllocator::gpu() : CachingAllocator::host());
  block_ = std::make_shared<ArenaBlock>(cx_.allocator);
  const std::vector<int32_t> indices(mirror.begin(), mirror.end());
  mirror_ = cx_.empty({static_cast<int64_t>(indices.size())}, DType::i32);
  cx_.upload(mirror_, std::as_bytes(std::span(indices)));
  normal_ = cx_.empty({3, 256}, DType::f32);
  cx_.upload(normal_, std::as_bytes(std::span(normal_table())));
  if (!gpu) return;
  uploads_ = cuda::create_stream();
  downloads_ = cuda::create_stream();
}

HeatmapRunner::~HeatmapRunner() {
  if (uploads_ == nullptr) return;
  settle();
  for (auto& [shape, s] : shapes_) {
    if (s.graph != nullptr) cuda::destroy_graph(s.graph);
  }
  cuda::destroy_stream(uploads_);
  cuda::destroy_stream(downloads_);
}

void HeatmapRunner::settle() noexcept {
  if (uploads_ == nullptr) return;
  for (const cuda::Stream stream : {uploads_, cx_.stream, downloads_}) {
    try {
      cuda::synchronize(stream);
    } catch (const Error&) {
      // The device has failed. wait() reports that; here it only matters that nothing is running any more.
    }
  }
}

HeatmapRunner::Shaped& HeatmapRunner::shaped(int n, int h, int w, bool sources) {
  const std::array<int, 4> shape{n, h, w, sources ? 1 : 0};
  if (shapes_.size() >= kShapes && !shapes_.contains(shape)) {
    const auto oldest = std::ranges::min_element(shapes_, {}, [](const auto& entry) { return entry.second.used; });
    if (oldest->second.graph != nullptr) {
      cuda::synchronize(cx_.stream);  // A launch of the graph may be running.
      cuda::destroy_graph(oldest->second.graph);
    }
    shapes_.erase(oldest);
  }
  Shaped& s = shapes_[shape];
  s.used = ++calls_;
  const uint64_t version = model_.parameters().version;
  // A graph holds the addresses of folded weights, of its arena and of its inputs. If one of them has changed, the
  // graph must be captured again.
  if (s.graph != nullptr && (s.version != version || s.moves != moves())) {
    cuda::synchronize(cx_.stream);  // A launch of the graph may be running.
    cuda::destroy_graph(std::exchange(s.graph, nullptr));
  }
  if (records_loops()) {
    if (s.step == nullptr) s.step = std::make_unique<PlannedStep>(cx_.allocator, block_);
    return s;
  }
  // New weights are folded in an eager step, so the plan must not be replayed.
  if (!s.arena || (cx_.device.is_cuda() && s.version != version))
    s.arena = std::make_shared<Arena>(cx_.allocator, block_);
  s.version = version;
  return s;
}

HeatmapRunner::Buffers HeatmapRunner::buffers(int n, int h, int w, size_t source_bytes) {
  Buffers io;
  struct Part {
    Tensor* tensor;
    Shape shape;
    DType dtype = DType::f32;
    size_t bytes() const { return padded(static_cast<size_t>(numel(shape)) * size_of(dtype)); }
  };
  std::vector<Part> parts{{&io.maps, {n, h / 4, w / 4, model_.joints()}}};
  if (source_bytes > 0) {
    parts.push_back({&io.sources, {n, static_cast<int64_t>(source_bytes) / n}, DType::u8});
  } else {
    parts.push_back({&io.images, {options_.flip ? 2 * n : n, h, w, 3}});
  }
  size_t bytes = 0;
  for (const Part& part : parts) bytes += part.bytes();
  if (io_ == nullptr || io_->bytes() < bytes) {
    io_.reset();
    ++io_moves_;
    io_ = std::make_shared<Storage>(cx_.allocator, bytes);
  }
  size_t at = 0;
  for (const Part& part : parts) {
    *part.tensor = Tensor(io_, part.shape, part.dtype, cx_.device, at);
    at += part.bytes();
  }
  return io;
}

void HeatmapRunner::forward(Context& step, const Buffers& io, int h, int w) {
  Tensor images = io.images;
  if (io.sources.defined()) {
    const int64_t n = io.sources.dim(0);
    images = step.empty({options_.flip ? 2 * n : n, h, w, 3}, DType::f32);
    crop(step, io.sources, normal_, images.view({n, h, w, 3}));
  }
  if (options_.flip) append_mirrored(step, images);
  Tensor maps = model_.forward(step, images);
  if (options_.flip) maps = flip_average(step, maps, mirror_, options_.shift);
  copy_or_add(step, maps, io.maps, false);
}

void HeatmapRunner::run_on_cpu(Shaped& s, const Buffers& io, int h, int w) {
  if (!records_loops()) return run(s, io, h, w);
  if (team_ == nullptr) team_ = std::make_unique<LoopTeam>(compute_threads());
  conv_backend(cx_);  // All steps share the backend, which keeps the compiled primitives.
  // The loops have the addresses of the weights and of io_.
  const uint64_t version = model_.parameters().version + (io_moves_ << 32);
  (*s.step)(cx_, *team_, version, [&](Context& step) { forward(step, io, h, w); });
}

void HeatmapRunner::run(Shaped& s, const Buffers& io, int h, int w) {
  Context step = cx_;
  step.allocator = s.arena;
  // A new shape is recorded on separate memory. The block is idle meanwhile, so it is released; otherwise both would
  // need memory at once.
  if (!s.arena->replaying()) block_->release();
  s.arena->begin_step();
  try {
    forward(step, io, h, w);
  } catch (...) {
    s.arena->abort_step();
    throw;
  }
  s.arena->end_step();
  cx_.ops = step.ops;  // Keep the compiled primitives for the next step.
}

void HeatmapRunner::run_on_gpu(Shaped& s, const Buffers& io, int h, int w) {
  if (s.graph == nullptr && s.arena->replaying()) {
    block_->reserve(s.arena->peak_bytes());  // Nothing may be allocated during a capture.
    cuda::begin_capture(cx_.stream);
    try {
      run(s, io, h, w);
    } catch (...) {
      cuda::abort_capture(cx_.stream);
      throw;
    }
    s.graph = cuda::end_capture(cx_.stream);
    s.moves = moves();
  }
  if (s.graph != nullptr) {
    cuda::launch(s.graph, cx_.stream);
  } else {
    run(s, io, h, w);
  }
}

void HeatmapRunner::submit(std::span<const float> images, int n, int h, int w) {
  const size_t image = static_cast<size_t>(w) * 3 * h;
  check(n > 0 && images.size() == image * n, "heatmaps: expected {} x {} x {} x 3 numbers, got {}", n, h, w,
        images.size());
  submit(images, {}, n, h, w);
}

void HeatmapRunner::submit(std::span<const uint8_t> sources, int n, int h, int w) {
  const size_t slot = CropSource::slot_bytes(w, h);
  check(n > 0 && sources.size() == slot * n, "heatmaps: expected {} slots of {} bytes, got {} bytes in all", n, slot,
        sources.size());
  submit({}, sources, n, h, w);
}

void HeatmapRunner::submit(const Batch& batch) {
  batch.sources.empty() ? submit(batch.images, batch.size, batch.h, batch.w)
                        : submit(batch.sources, batch.size, batch.h, batch.w);
}

void HeatmapRunner::submit(std::span<const float> images, std::span<const uint8_t> sources, int n, int h, int w) {
  check(!full(), "heatmaps: {} batches are in flight, which is the most; call wait() before the next submit()",
        pending());
  const Buffers io = buffers(n, h, w, sources.size());
  Shaped& s = shaped(n, h, w, !sources.empty());
  const std::span<const std::byte> from = sources.empty() ? std::as_bytes(images) : std::as_bytes(sources);
  const Tensor to = sources.empty() ? io.images.view({n, h, w, 3}) : io.sources;
  std::unique_ptr<Slot> slot;
  if (free_slots_.empty()) {
    slot = std::make_unique<Slot>(cx_.device.is_cuda());
  } else {
    slot = std::move(free_slots_.back());
    free_slots_.pop_back();
  }
  slot->maps = {io.maps.data<float>(), n, h / 4, w / 4, model_.joints()};
  if (!cx_.device.is_cuda()) {
    cx_.upload(to, from);
    run_on_cpu(s, io, h, w);
    running_.push_back(std::move(slot));
    return;
  }

  slot->reserve(from.size(), io.maps.bytes());
  slot->maps.data = slot->host;
  try {
    cuda::copy(slot->staged, from.data(), from.size(), cuda::Copy::host_to_device, uploads_);
    cuda::record(slot->arrived, uploads_);
    cuda::wait(cx_.stream, slot->arrived);
    cuda::copy(to.raw(), slot->staged, from.size(), cuda::Copy::device_to_device, cx_.stream);
    run_on_gpu(s, io, h, w);
    cuda::copy(slot->result, io.maps.raw(), io.maps.bytes(), cuda::Copy::device_to_device, cx_.stream);
    cuda::record(slot->computed, cx_.stream);
    cuda::wait(downloads_, slot->computed);
    cuda::copy(slot->host, slot->result, io.maps.bytes(), cuda::Copy::device_to_host, downloads_);
    cuda::record(slot->done, downloads_);
  } catch (...) {
    settle();  // The caller may overwrite the batch, and the slot's memory is about to be freed.
    throw;
  }
  running_.push_back(std::move(slot));
  // After this the caller may overwrite the batch. Batches submitted before keep the GPU busy meanwhile.
  cuda::synchronize(running_.back()->arrived);
}

Heatmaps HeatmapRunner::wait() {
  check(pending() > 0, "heatmaps: no batch is in flight; call submit() before wait()");
  std::unique_ptr<Slot> slot = std::move(running_.front());
  running_.pop_front();
  if (cx_.device.is_cuda()) cuda::synchronize(slot->done);
  const Heatmaps maps = slot->maps;
  free_slots_.push_back(std::move(slot));
  return maps;
}

void HeatmapRunner::discard() {
  while (pending() > 0) wait();
}

Heatmaps HeatmapRunner::operator()(std::span<const float> images, int n, int h, int w) {
  check(pending() == 0, "heatmaps: earlier batches are in flight; take them with wait() first");
  submit(images, n, h, w);
  return wait();
}

Heatmaps HeatmapRunner::operator()(std::span<const uint8_t> sources, int n, int h, int w) {
  check(pending() == 0, "heatmaps: earlier batches are in flight; take them with wait() first");
  submit(sources, n, h, w);
  return wait();
}

Heatmaps HeatmapRunner::operator()(const Batch& batch) {
  check(pending() == 0, "heatmaps: earlier batches are in flight; take them with wait() first");
  submit(batch);
  return wait();
}

}  // namespace hr
