#include "hrnet/train/pose_step.h"

#include "core/crop_slot.h"
#include "core/error.h"
#include "core/gpu_switches.h"
#include "ops/crop.h"
#include "ops/elementwise.h"
#include "ops/heatmaps.h"

namespace hr {
namespace {

DType crop_type(DType precision) { return bf16_crops() ? precision : DType::f32; }

// The pictures and targets that the device makes of `sources`, `normal` and `profiles`, if the batch has these.
std::optional<Preparation> early_crops_of(DType precision, const StepBatch& batch) {
  if (batch.arrays.empty() || batch.arrays[0].name != "sources") return {};
  const int64_t n = batch.samples(), h = batch.constants[0], w = batch.constants[1];
  const int64_t joints = batch.arrays[2].shape[2];
  return Preparation{
      .reads = {"sources", "normal", "profiles"},
      .makes = {{"images", {n, h, w, 3}, crop_type(precision)}, {"targets", {n, h / 4, w / 4, joints}, DType::f32}},
      .compute = [](Context& side, const Inputs& in, std::span<const Tensor> made) {
        crop(side, in["sources"], in["normal"], made[0]);
        gaussian_targets(side, in["profiles"], made[1]);
      }};
}

template <class Keep>
Tensor pose_loss(Context& cx, const PoseModel& model, const Inputs& in, JointsLoss kind, const Keep& keep) {
  Tensor images, targets;
  if (in.contains("sources")) {
    const auto h = static_cast<int>(in.constant(0)), w = static_cast<int>(in.constant(1));
    images = cx.empty({in["sources"].dim(0), h, w, 3}, crop_type(cx.precision));
    crop(cx, in["sources"], in["normal"], images);
    targets = gaussian_targets(cx, in["profiles"], h / 4, w / 4);
  } else {
    images = in["images"];
    targets = in["targets"];
  }
  const Tensor heatmaps = model.forward(cx, images);
  keep(cx, heatmaps);
  return joints_loss(cx, heatmaps, targets, in["weights"], kind);
}

}  // namespace

PoseTrainStep::PoseTrainStep(const Context& cx, PoseModel& model, Optimizer& optimizer, JointsLoss loss,
                             DataParallel* parallel)
    : PoseTrainStep(std::make_shared<Kept>(), cx, model, optimizer, loss, parallel) {}

PoseTrainStep::PoseTrainStep(std::shared_ptr<Kept> kept, const Context& cx, PoseModel& model, Optimizer& optimizer,
                             JointsLoss loss, DataParallel* parallel)
    : TrainStep(
          cx, optimizer,
          [&model, loss, kept, home = cx](Context& step, const Inputs& in) {
            return pose_loss(step, model, in, loss, [&](Context& at, const Tensor& maps) {
              if (!kept->on) return;
              // The memory does not come from the step's arena, where the backward pass reuses that of the heatmaps. It
              // is allocated in the first step of a shape, which is never captured.
              Tensor& copy = kept->by_shape[{maps.dim(0), maps.dim(1), maps.dim(2)}];
              if (!copy.defined()) copy = home.empty(maps.shape(), DType::f32);
              copy_or_add(at, maps, copy, false);
            });
          },
          parallel),
      kept_(std::move(kept)),
      joints_(model.joints()) {
  check(&optimizer.store() == &model.parameters(), "training step: the optimiser belongs to another model than {}",
        model.name());
  if (early_crops())
    prepare_batches([precision = cx.precision](const StepBatch& batch) { return early_crops_of(precision, batch); });
}

std::vector<float> PoseTrainStep::heatmaps() {
  check(pending() == 0, "training step: {} losses are pending; take them with wait() before the heatmaps", pending());
  const auto found = kept_->by_shape.find(newest_);
  check(found != kept_->by_shape.end(), "training step: no heatmaps are kept; call keep_heatmaps() before the step");
  return to_host(context(), found->second);
}

StepBatch PoseTrainStep::step_batch(const TrainBatch& b) const {
  const bool sources = !b.sources.empty();
  check(!sources || (b.images.empty() && b.targets.empty()),
        "training step: a batch has either images and targets or sources, but this one has both");
  const int64_t n = b.n, h = b.h / 4, w = b.w / 4;
  StepBatch batch;
  if (sources) {
    batch.arrays = {{b.sources, {n, static_cast<int64_t>(CropSource::slot_bytes(b.w, b.h))}, "sources"},
                    {b.normal, {3, 256}, "normal"},
                    {b.profiles, {n, w + h, joints_}, "profiles"}};
    batch.arrays[1].per_sample = false;
  } else {
    batch.arrays = {{b.images, {n, b.h, b.w, 3}, "images"}, {b.targets, {n, h, w, joints_}, "targets"}};
  }
  batch.arrays.emplace_back(b.weights, Shape{n, joints_}, "weights");
  batch.constants = {b.h, b.w};
  return batch;
}

}  // namespace hr
