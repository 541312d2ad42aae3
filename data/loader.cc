#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <unordered_map>

#include "core/crop_slot.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"
#include "core/threads.h"

namespace hr {
namespace {

// The number of samples of a batch that one worker makes at once: enough that handing out work costs nothing, and few
// enough that a batch is divided among many workers. People of one picture stay together.
constexpr size_t slice_size = 8;

struct Slot {
  Batch batch;
  std::vector<std::vector<size_t>> slices;  // Positions within the batch.
  size_t next = 0, left = 0;                // The next slice to begin, and the number of slices that are not done.
  size_t failed = ~size_t{0};               // The first slice that failed, and its exception.
  std::exception_ptr error;
};

}  // namespace

struct Loader::State {
  const PoseDataset& dataset;
  const LoaderOptions options;
  size_t batches = 0;

  uint64_t epoch = 0;
  std::vector<size_t> order;
  double waited = 0;
  ThreadTeam threads;
  SampleWorkspace own;  // Of the calling thread.

  // Shared with the workers; guarded by the mutex.
  mutable std::mutex mutex;
  std::condition_variable work_there, batch_there;
  size_t to_open = 0, to_give = 0;  // The next batch to begin, and the next batch that the caller receives.
  bool stop = false;
  // An exception that ended a worker outside of a sample, for example because memory for a batch was refused.
  std::exception_ptr lost;
  // Batches that have begun and were not given out yet. A map does not move its elements.
  std::map<size_t, Slot> slots;
  std::vector<Batch> spare;  // Batches whose memory can be reused.
  SampleClock clock;

  State(const PoseDataset& data, LoaderOptions o) : dataset(data), options(std::move(o)) {}

  Batch empty_batch() const {
    Batch batch;
    for (auto* buffer : {&batch.images, &batch.targets, &batch.weights}) {
      *buffer = HostBuffer<float>(options.allocator);
    }
    batch.sources = HostBuffer<uint8_t>(options.allocator);
    batch.profiles = HostBuffer<double>(options.allocator);
    return batch;
  }

  // Sets the shapes of batch b and allocates memory if it has none yet.
  void shape(size_t b, Batch& batch) const {
    const DatasetOptions& input = dataset.options();
    const size_t size = std::min<size_t>(options.batch_size, order.size() - b * options.batch_size);
    const size_t pixels = static_cast<size_t>(input.input_h) * input.input_w;
    const auto joints = static_cast<size_t>(dataset.skeleton().joints());
    batch.size = static_cast<int>(size);
    batch.h = input.input_h;
    batch.w = input.input_w;
    batch.joints = static_cast<int>(joints);
    batch.images.resize(options.images ? size * pixels * 3 : 0);
    batch.targets.resize(options.targets ? size * (pixels / 16) * joints : 0);
    batch.weights.resize(size * joints);
    batch.sources.resize(options.sources ? size * CropSource::slot_bytes(batch.w, batch.h) : 0);
    batch.profiles.resize(options.profiles ? size * (batch.w / 4 + batch.h / 4) * joints : 0);
    batch.meta.resize(size);
  }

  // Returns the positions of batch b, cut into slices, with people of one picture next to each other.
  std::vector<std::vector<size_t>> slices(size_t b, size_t size) const {
    std::unordered_map<int, size_t> first_of;  // From a picture to its group.
    std::vector<std::vector<size_t>> groups;
    for (size_t i = 0; i < size; ++i) {
      const int picture = dataset.people()[order[b * options.batch_size + i]].image_index;
      const auto [at, fresh] = first_of.try_emplace(picture, groups.size());
      if (fresh) groups.emplace_back();
      groups[at->second].push_back(i);
    }
    std::vector<std::vector<size_t>> out(1);
    for (const std::vector<size_t>& group : groups) {
      if (!out.back().empty() && out.back().size() + group.size() > slice_size) out.emplace_back();
      out.back().insert(out.back().end(), group.begin(), group.end());
    }
    return out;
  }

  void fill(size_t b, std::span<const size_t> positions, Batch& batch, SampleWorkspace& workspace) const {
    const size_t pixels = static_cast<size_t>(batch.h) * batch.w;
    const auto joints = static_cast<size_t>(batch.joints);
    std::vector<size_t> indices;
    std::vector<SampleTarget> targets;
    std::vector<SampleMeta> metas(positions.size());
    for (const size_t i : positions) {
      indices.push_back(order[b * options.batch_size + i]);
      SampleTarget& to = targets.emplace_back();
      if (options.images) to.image = batch.images.part(i, pixels * 3);
      if (options.targets) to.heatmap = batch.targets.part(i, pixels / 16 * joints);
      to.weight = batch.weights.part(i, joints);
      if (options.sources) to.source = batch.sources.part(i, CropSource::slot_bytes(batch.w, batch.h));
      if (options.profiles) to.profile = batch.profiles.part(i, (batch.w / 4 + batch.h / 4) * joints);
    }
    dataset.samples_into(indices, epoch, targets, metas, workspace);
    for (size_t k = 0; k < positions.size(); ++k) batch.meta[positions[k]] = metas[k];
  }

  // Returns the batch with a slice to begin, and opens the next batch if there is room; null if there is nothing to do
  // now.
  std::pair<const size_t, Slot>* slot_with_work() {
    for (auto& slot : slots) {
      if (slot.second.next < slot.second.slices.size()) return &slot;
    }
    if (to_open >= batches || to_open >= to_give + static_cast<size_t>(options.prefetch)) return nullptr;
    const size_t b = to_open;
    Slot fresh;  // Completed before other threads can see it, because allocating its memory may fail.
    if (spare.empty()) {
      fresh.batch = empty_batch();
    } else {
      fresh.batch = std::move(spare.back());
      spare.pop_back();
    }
    shape(b, fresh.batch);
    fresh.slices = slices(b, static_cast<size_t>(fresh.batch.size));
    fresh.left = fresh.slices.size();
    auto& slot = *slots.try_emplace(b, std::move(fresh)).first;
    ++to_open;
    return &slot;
  }

  void work() {
    unpin_this_thread();
    SampleWorkspace workspace;
    std::unique_lock lock(mutex);
    while (true) {
      std::pair<const size_t, Slot>* slot = nullptr;
      work_there.wait(lock, [&] { return stop || lost || to_give >= batches || (slot = slot_with_work()) != nullptr; });
      if (stop || lost || slot == nullptr) return;
      Slot& s = slot->second;
      const size_t slice = s.next++;
      if (s.next < s.slices.size() || to_open < batches) work_there.notify_one();
      lock.unlock();
      std::exception_ptr error;
      workspace.clock = {};
      try {
        fill(slot->first, s.slices[slice], s.batch, workspace);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      clock += workspace.clock;
      if (error && slice < s.failed) {
        s.failed = slice;
        s.error = error;
      }
      if (--s.left == 0) batch_there.notify_all();
    }
  }

  // Stores an exception that ended a worker. The next call of next() throws it instead of returning a batch.
  void lose(std::exception_ptr error) noexcept {
    const std::lock_guard lock(mutex);
    if (!lost) lost = std::move(error);
    batch_there.notify_all();
    work_there.notify_all();
  }

  void join() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    work_there.notify_all();
    threads.join();
    for (auto& [b, slot] : slots) spare.push_back(std::move(slot.batch));
    slots.clear();
    stop = false;
    lost = nullptr;
  }

  // Gives out the batch that is due, or throws its exception.
  void take(Batch& out) {
    if (options.workers == 0) {
      if (out.images.size() + out.sources.size() == 0) out = empty_batch();
      const size_t b = to_give++;
      shape(b, out);
      own.clock = {};
      try {
        for (const auto& slice : slices(b, static_cast<size_t>(out.size))) fill(b, slice, out, own);
      } catch (...) {
        clock += own.clock;
        throw;
      }
      clock += own.clock;
      return;
    }
    std::unique_lock lock(mutex);
    // Keeps the memory of the caller's batch for a later batch. A batch without memory is not kept, because it may lack
    // the loader's allocator.
    if (out.images.capacity() + out.sources.capacity() > 0) spare.push_back(std::move(out));
    batch_there.wait(lock, [&] {
      const auto due = slots.find(to_give);
      return lost || (due != slots.end() && due->second.left == 0);
    });
    if (lost) std::rethrow_exception(lost);
    auto due = slots.extract(to_give++);
    work_there.notify_all();
    if (due.mapped().error) {
      spare.push_back(std::move(due.mapped().batch));
      std::rethrow_exception(due.mapped().error);
    }
    out = std::move(due.mapped().batch);
  }
};

Loader::Loader(const PoseDataset& dataset, LoaderOptions options) : state_(std::make_unique<State>(dataset, options)) {
  check(options.batch_size > 0, "loader: batch size {}, expected at least 1", options.batch_size);
  check(options.workers >= 0 && options.workers <= 1024, "loader: {} workers, expected 0 to 1024", options.workers);
  check(options.prefetch > 0, "loader: prefetch {}, expected at least 1", options.prefetch);
  check(options.images || options.sources, "loader: expected images or sources to be requested");
  const size_t n = options.shard.size(dataset.size()), size = options.batch_size;
  check(n > 0, "loader: {} has no people to load", dataset.annotations().path);
  state_->batches = options.drop_last ? n / size : (n + size - 1) / size;
  check(state_->batches > 0,
        "loader: batch size {} is larger than the {} people of {}, and an incomplete batch is dropped", size, n,
        dataset.annotations().path);
  state_->to_give = state_->batches;  // next() returns false until an epoch starts.
}

Loader::~Loader() { state_->join(); }

void Loader::start_epoch(uint64_t epoch, size_t first_batch) {
  State& s = *state_;
  s.join();
  check(first_batch <= s.batches, "loader: epoch {} has {} batches, cannot start at {}", epoch, s.batches, first_batch);
  s.epoch = epoch;
  s.waited = 0;
  s.clock = {};
  s.to_open = s.to_give = first_batch;
  s.order.resize(s.dataset.size());
  std::iota(s.order.begin(), s.order.end(), size_t{0});
  if (s.options.shuffle) {
    // A separate random stream. Samples use their index as the last number, which never reaches this value.
    Philox random(s.options.seed, epoch, ~uint64_t{0});
    for (size_t i = s.order.size() - 1; i > 0; --i) std::swap(s.order[i], s.order[random.below(i + 1)]);
  }
  s.order = s.options.shard.of(std::move(s.order));
  if (first_batch == s.batches) return;
  s.threads.start(
      s.options.workers, [&s] { s.work(); }, [&s](std::exception_ptr error) { s.lose(std::move(error)); });
}

bool Loader::next(Batch& out) {
  State& s = *state_;
  if (s.to_give >= s.batches) return false;  // Only this thread writes to_give.
  const auto before = std::chrono::steady_clock::now();
  try {
    s.take(out);
  } catch (...) {
    s.join();
    s.to_give = s.batches;
    throw;
  }
  s.waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
  return true;
}

size_t Loader::batches() const { return state_->batches; }
const std::vector<size_t>& Loader::order() const { return state_->order; }
double Loader::wait_seconds() const { return state_->waited; }

SampleClock Loader::clock() const {
  const std::lock_guard lock(state_->mutex);
  return state_->clock;
}

}  // namespace hr
