#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/parallel.h"
#include "core/philox.h"

namespace hr {
namespace {

struct Ready {
  Batch batch;
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
  std::vector<std::thread> threads;

  // Shared with the workers, under the mutex.
  std::mutex mutex;
  std::condition_variable changed;
  size_t to_take = 0, to_give = 0;  // next batch that a worker begins; next batch that the caller gets
  bool stop = false;
  std::map<size_t, Ready> ready;
  std::vector<Batch> spare;  // memory to use again

  State(const PoseDataset& data, LoaderOptions o) : dataset(data), options(o) {}

  // Everything of batch b into `batch`, whose memory is kept where it fits.
  void fill(size_t b, Batch& batch) const {
    const DatasetOptions& input = dataset.options();
    const size_t first = b * options.batch_size;
    const size_t size = std::min<size_t>(options.batch_size, order.size() - first);
    const size_t pixels = static_cast<size_t>(input.input_h) * input.input_w;
    const auto joints = static_cast<size_t>(dataset.skeleton().joints());
    batch.size = static_cast<int>(size);
    batch.h = input.input_h;
    batch.w = input.input_w;
    batch.joints = static_cast<int>(joints);
    batch.images.resize(size * pixels * 3);
    batch.targets.resize(size * (pixels / 16) * joints);
    batch.weights.resize(size * joints);
    batch.meta.resize(size);
    const auto part = [](std::vector<float>& all, size_t i, size_t count) {
      return std::span(all).subspan(i * count, count);
    };
    for (size_t i = 0; i < size; ++i) {
      dataset.sample_into(order[first + i], epoch, part(batch.images, i, pixels * 3),
                          part(batch.targets, i, pixels / 16 * joints), part(batch.weights, i, joints), batch.meta[i]);
    }
  }

  void work() {
    unpin_this_thread();
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] {
        return stop || to_take >= batches || to_take < to_give + static_cast<size_t>(options.prefetch);
      });
      if (stop || to_take >= batches) return;
      const size_t b = to_take++;
      Ready result;
      if (!spare.empty()) {
        result.batch = std::move(spare.back());
        spare.pop_back();
      }
      lock.unlock();
      try {
        fill(b, result.batch);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      ready.emplace(b, std::move(result));
      changed.notify_all();
    }
  }

  void join() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    for (auto& [b, left] : ready) spare.push_back(std::move(left.batch));
    ready.clear();
    stop = false;
  }

  // The batch that is due, or the error that befell it.
  void take(Batch& out) {
    if (options.workers == 0) {
      fill(to_give++, out);
      return;
    }
    std::unique_lock lock(mutex);
    spare.push_back(std::move(out));
    changed.wait(lock, [&] { return ready.count(to_give) != 0; });
    auto due = ready.extract(to_give++);
    changed.notify_all();
    if (due.mapped().error) std::rethrow_exception(due.mapped().error);
    out = std::move(due.mapped().batch);
  }
};

Loader::Loader(const PoseDataset& dataset, LoaderOptions options) : state_(std::make_unique<State>(dataset, options)) {
  check(options.batch_size > 0, "loader: batch size {}, expected at least 1", options.batch_size);
  check(options.workers >= 0 && options.workers <= 1024, "loader: {} workers, expected 0 to 1024", options.workers);
  check(options.prefetch > 0, "loader: prefetch {}, expected at least 1", options.prefetch);
  const size_t n = options.shard.size(dataset.size()), size = options.batch_size;
  check(n > 0, "loader: {} has no people to load", dataset.annotations().path);
  state_->batches = options.drop_last ? n / size : (n + size - 1) / size;
  check(state_->batches > 0,
        "loader: batch size {} is larger than the {} people of {}, and an incomplete batch is dropped", size, n,
        dataset.annotations().path);
  state_->to_give = state_->batches;  // next() is false until an epoch starts
}

Loader::~Loader() { state_->join(); }

void Loader::start_epoch(uint64_t epoch, size_t first_batch) {
  State& s = *state_;
  s.join();
  check(first_batch <= s.batches, "loader: epoch {} has {} batches, cannot start at {}", epoch, s.batches, first_batch);
  s.epoch = epoch;
  s.waited = 0;
  s.to_take = s.to_give = first_batch;
  s.order.resize(s.dataset.size());
  std::iota(s.order.begin(), s.order.end(), size_t{0});
  if (s.options.shuffle) {
    // A stream of its own: samples use their index, which never gets there.
    Philox random(s.options.seed, epoch, ~uint64_t{0});
    for (size_t i = s.order.size() - 1; i > 0; --i) std::swap(s.order[i], s.order[random.below(i + 1)]);
  }
  s.order = s.options.shard.of(std::move(s.order));
  const size_t left = s.batches - first_batch;
  for (size_t i = 0; i < std::min<size_t>(s.options.workers, left); ++i) s.threads.emplace_back(&State::work, &s);
}

bool Loader::next(Batch& out) {
  State& s = *state_;
  if (s.to_give >= s.batches) return false;  // only this thread writes to_give
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

}  // namespace hr
