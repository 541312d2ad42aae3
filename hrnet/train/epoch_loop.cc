#include "hrnet/train/epoch_loop.h"

#include <cmath>
#include <deque>
#include <limits>

#include "core/error.h"
#include "core/stopwatch.h"
#include "data/crops/crop_writer.h"
#include "eval/heatmap_accuracy.h"
#include "hrnet/train/sample_picture.h"

namespace hr {

TrainBatch train_batch(const Batch& batch) {
  return {.images = batch.images,
          .targets = batch.targets,
          .weights = batch.weights,
          .n = batch.size,
          .h = batch.h,
          .w = batch.w,
          .sources = batch.sources,
          .normal = normal_table(),
          .profiles = batch.profiles};
}

struct EpochLoop::Running {
  struct Step {
    int64_t number;
    int size;
    std::vector<int64_t> annotations;
  };
  std::deque<Step> steps;  // Steps whose loss was not taken yet; on the CPU at most the last one.
  double started = now();
  int64_t samples = 0;  // Samples submitted since the start, of all ranks.
  double lr = 0;
  double accuracy = std::numeric_limits<double>::quiet_NaN();  // Of the last step.
};

void EpochLoop::take_loss(RunState& state, Running& running) {
  const double loss = step_.wait();
  const Running::Step done = std::move(running.steps.front());
  running.steps.pop_front();
  if (!std::isfinite(loss) || !std::isfinite(step_.gradient_norm()))
    fail_at(state, done.number, done.annotations, loss);
  const int64_t size = int64_t{done.size} * world_.size();
  state.loss_sum += loss * static_cast<double>(size);
  state.samples += size;
}

void EpochLoop::fail_at(const RunState& state, int64_t step, const std::vector<int64_t>& annotations, double loss) {
  // The rank whose own loss is not finite knows which people were in the batch, so the others wait for its message
  // instead of reporting their own.
  if (!std::isfinite(loss) && std::isfinite(step_.own_loss()) && world_.control != nullptr)
    world_.control->await_failure(world_.control->timeout());
  world_.comm->check();
  const std::string what = std::isfinite(loss)
                               ? fmt::format("the gradient's norm is {} (the loss is {})", step_.gradient_norm(), loss)
                               : fmt::format("the loss is {}", loss);
  const bool saved = fs::exists(options_.last_checkpoint);
  fail("{} at epoch {}, batch {} of {} (annotations {}); nothing was updated by this batch. {}", what, state.epoch,
       step, loader_.batches(), fmt::join(annotations, ", "),
       saved ? fmt::format("{} is the last good checkpoint; try a lower `lr` and `resume` it",
                           options_.last_checkpoint.string())
             : "There is no checkpoint yet; try a lower `lr`");
}

EpochStatus EpochLoop::status(const RunState& state, const Running& running) const {
  const double seconds = now() - running.started;
  return {.epoch = state.epoch,
          .epochs = options_.epochs,
          .step = state.step,
          .steps = static_cast<int64_t>(loader_.batches()),
          .loss = state.samples > 0 ? state.mean_loss() : std::numeric_limits<double>::quiet_NaN(),
          .lr = running.lr,
          .samples_per_second = static_cast<double>(running.samples) / seconds,
          .wait_share = loader_.wait_seconds() / seconds,
          .accuracy = running.accuracy};
}

// Returns the accuracy of the newest step, whose heatmaps are on the device, and tells the observer about its samples.
double EpochLoop::look_at(const Batch& batch, bool last, EpochStatus s) {
  const std::vector<float> maps = step_.heatmaps();
  const std::vector<float> targets = target_heatmaps(batch, batch.size);
  const Heatmaps predicted{maps.data(), batch.size, batch.h / 4, batch.w / 4, batch.joints};
  const Heatmaps wanted{targets.data(), batch.size, batch.h / 4, batch.w / 4, batch.joints};
  s.accuracy = heatmap_accuracy(predicted, wanted);
  if (last) {
    observer_.samples(s, sample_picture(batch, wanted, predicted, *options_.skeleton, options_.decode, options_.bgr));
  }
  return s.accuracy;
}

void EpochLoop::run(RunState& state, const StopRequest& stop, const std::function<void()>& save) {
  const auto steps = static_cast<int64_t>(loader_.batches());
  if (state.step == 0) state.loss_sum = 0, state.samples = 0;
  loader_.start_epoch(static_cast<uint64_t>(state.epoch), static_cast<size_t>(state.step));
  const int every = options_.accumulate;
  Running running;
  bool save_due = false;
  observer_.epoch_begins(status(state, running));
  Batch batch;
  while (loader_.next(batch)) {
    running.lr = options_.rates.at(state.epoch, state.step / every, (steps + every - 1) / every);
    if (stop.reason() != 0) step_.request_stop();
    const bool last = state.step + 1 == steps, update = last || (state.step + 1) % every == 0;
    using Gradients = TrainStep::Gradients;
    step_.submit(train_batch(batch), running.lr, update ? Gradients::update : Gradients::keep);
    Running::Step& submitted = running.steps.emplace_back(Running::Step{state.step, batch.size, {}});
    for (const SampleMeta& meta : batch.meta) submitted.annotations.push_back(meta.annotation_id);
    running.samples += int64_t{batch.size} * world_.size();
    ++state.step;
    while (!running.steps.empty() && step_.ready()) take_loss(state, running);
    const bool must_stop = step_.must_stop() && update;
    save_due = save_due || (options_.checkpoint_every > 0 && state.step % options_.checkpoint_every == 0);
    const bool save_now = save_due && update && !last;
    if (save_now) save_due = false;
    const bool printed = options_.print_freq > 0 && state.step % options_.print_freq == 0;
    const bool look = options_.skeleton != nullptr && (printed || last);
    while ((must_stop || last || save_now || look) && !running.steps.empty()) take_loss(state, running);
    if (state.samples == 0) continue;  // There is no loss to show yet.
    running.accuracy = std::numeric_limits<double>::quiet_NaN();
    if (look) running.accuracy = look_at(batch, last, status(state, running));
    observer_.stepped(status(state, running));
    if (must_stop && !last) return;
    if (save_now) save();
  }
  observer_.epoch_trained(status(state, running));
  state.trained = true;
}

}  // namespace hr
