#include "hrnet/train/trainer.h"

#include <algorithm>
#include <cstdlib>

#include "core/counted.h"
#include "core/error.h"
#include "core/io/json.h"
#include "core/io/json_write.h"
#include "core/parallel.h"
#include "hrnet/infer/device_loader.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/model/load.h"
#include "hrnet/model/make_context.h"
#include "hrnet/train/checkpoint.h"
#include "hrnet/train/decide.h"
#include "hrnet/train/epoch_loop.h"
#include "hrnet/train/resume.h"

namespace hr {
namespace {

TrainRecipe resolved(const TrainRecipe& asked, const World& world) {
  TrainRecipe recipe = resolve_resume(asked, world);
  recipe.validate();
  return recipe;
}

}  // namespace

TrainEnd Trainer::run(const StopRequest& stop) {
  EpochLoop loop(*step_, *loader_, world_, observer_,
                 {.rates = recipe_.rates(),
                  .epochs = recipe_.epochs,
                  .checkpoint_every = recipe_.checkpoint_every,
                  .accumulate = recipe_.accumulate,
                  .last_checkpoint = folder_->last(),
                  .skeleton = world_.first() ? &skeleton_ : nullptr,
                  .print_freq = recipe_.print_freq,
                  .decode = recipe_.decoding().decode,
                  .bgr = model_->bgr_input()});
  TrainEnd end;
  while (state_.epoch < recipe_.epochs && !end.stopped()) {
    end.early = agreed_to_end_early();
    if (end.early) {
      observer_.remark(fmt::format("ended after epoch {}: the score has not risen for {} (`patience`)", state_.epoch,
                                   counted(recipe_.patience, "validation")));
      break;
    }
    if (!state_.trained) loop.run(state_, stop, [&] { save("last.safetensors", true); });
    const bool cut = !state_.trained;
    if (!cut) finish_epoch();
    end.stop_reason = agreed_reason(stop);
    // The request also travels with the losses, and may have been withdrawn on the rank that made it.
    if (cut && !end.stopped()) end.stop_reason = 1;
    if (cut) save("last.safetensors", true);
  }
  end.epoch = state_.epoch;
  end.step = state_.step;
  end.best_score = state_.best_score;
  end.pckh = data_->truth() != nullptr;
  return end;
}

void Trainer::finish_epoch() {
  const int64_t updates = updates_per_epoch();
  EpochRecord record{.epoch = state_.epoch,
                     .loss = state_.mean_loss(),
                     .lr = recipe_.rates().at(state_.epoch, updates - 1, updates),
                     .pckh = data_->truth() != nullptr};
  bool best = false;
  if (parallel_ && !recipe_.sync_bn) parallel_->broadcast_buffers(cx_, &*optimizer_);
  const Control::Busy busy(world_.first() ? world_.control.get() : nullptr);  // The others wait while rank 0 writes.
  if (validation_is_due()) {
    // A picture that cannot be read or a full disk may end the validation with an error. The training of the epoch has
    // then been saved, and a resumed run only repeats the validation.
    save("last.safetensors", true);
    best = validate(record);
  }
  data_->report(world_, *folder_, observer_);
  folder_->append(record);
  if (best) state_.best_score = record.score();
  state_.close_epoch(record);
  if (best) {
    const UseAverage average(*optimizer_);
    save("best.safetensors", false);
  }
  if (recipe_.keep_all) save(fmt::format("epoch_{}.safetensors", record.epoch), true);
  observer_.epoch_finished(folder_->path(), state_.history);
  save("last.safetensors", true);  // Saved last, since a checkpoint must not claim what is not done.
}

int64_t Trainer::updates_per_epoch() const {
  return (static_cast<int64_t>(loader_->batches()) + recipe_.accumulate - 1) / recipe_.accumulate;
}

bool Trainer::validation_is_due() const {
  return state_.epoch + 1 == recipe_.epochs || (state_.epoch + 1) % recipe_.eval_every == 0;
}

bool Trainer::validate(EpochRecord& record) {
  const ValidationRun run = test();
  if (!world_.first()) return false;
  if (run.pckh) {
    record.stats.assign(run.pckh->table.begin(), run.pckh->table.end());
  } else {
    record.stats.assign(run.coco.stats.begin(), run.coco.stats.end());
  }
  const bool best = record.score() >= state_.best_score;
  // The same remark after every epoch would hide new ones.
  const std::string remarks = coco_remarks(run.coco);
  const bool news = remarks != told_;
  told_ = remarks;
  observer_.validated({.record = record,
                       .run = run,
                       .model = model_->name(),
                       .remarks = news ? coco_remark_list(run.coco) : std::vector<std::string>{},
                       .best = best,
                       .last = record.epoch + 1 == recipe_.epochs || out_of_patience(&record),
                       .data = &data_->val()});
  return best;
}

bool Trainer::out_of_patience(const EpochRecord* newest) const {
  if (recipe_.patience == 0) return false;
  double best = -1;
  int without = 0;  // Validations since the score rose.
  const auto look = [&](const EpochRecord& record) {
    if (record.stats.empty()) return;
    without = record.score() > best ? 0 : without + 1;
    best = std::max(best, record.score());
  };
  for (const EpochRecord& record : state_.history) look(record);
  if (newest != nullptr) look(*newest);
  return without >= recipe_.patience;
}

bool Trainer::agreed_to_end_early() const {
  if (recipe_.patience == 0) return false;
  const bool mine = out_of_patience();
  return parallel_ ? world_.comm->all_gather(mine ? "1" : "0")[0] == "1" : mine;
}

ValidationRun Trainer::test() {
  const UseAverage average(*optimizer_);
  ValidationRun run = run_validation(*runner_, data_->val(), prediction(), data_->truth());
  if (world_.first()) write_seed_results(folder_->path() / "key_results.json", run.results);
  return run;
}

PredictPeopleOptions Trainer::prediction() const {
  return {.batch_size = batch_size_,
          .workers = recipe_.workers,
          .decoding = recipe_.decoding().decode,
          .ranks = parallel_ ? world_.comm.get() : nullptr,
          .progress = [this](const PeopleProgress& progress) { observer_.validating(progress); }};
}

Trainer::Trainer(TrainRecipe asked, World& world, TrainObserver& observer, Context::Listener listener)
    : world_(world),
      log_(observer, asked.print_freq),
      observer_(world.first() ? static_cast<TrainObserver&>(log_) : silent_),
      file_(world.first() ? open_weights(resolved(asked, world)) : std::nullopt),
      recipe_(decide_recipe(resolved(asked, world), file_, world)),
      cx_(make_context({.device = recipe_.device,
                        .amp = recipe_.amp,
                        .threads = recipe_.threads,
                        .pin_threads = true,
                        .tf32 = recipe_.tf32,
                        .exact = recipe_.exact,
                        .listener = std::move(listener)})),
      skeleton_(recipe_.skeleton.empty() ? data_skeleton(recipe_, recipe_.keypoints_path, "train",
                                                         [&](const std::string& text) { observer_.fact("note", text); })
                                         : skeleton_from_text(recipe_.skeleton, "the checkpoint's skeleton")),
      batch_size_(recipe_.batch_size) {
  const int joints = *recipe_.joints;
  check_field(skeleton_.joints() == joints, "joints",
              "{}: the skeleton {} has {} joints; `joints` and `keypoints_path` must agree", joints, skeleton_.name,
              skeleton_.joints());
  if (file_ && !recipe_.keypoints_path.empty() && (!recipe_.resume.empty() || recipe_.test_only)) {
    const std::string note = skeleton_note(*file_, skeleton_, "`keypoints_path` " + recipe_.keypoints_path);
    if (!note.empty()) observer_.fact("note", note);
  }
  model_ = make_model(cx_, recipe_.model, joints, recipe_.seed, recipe_.initial_weights());
  set_color(*model_, recipe_.color, {});
  if (world_.size() > 1) {
    make_engine(world_, cx_.device);
    parallel_.emplace(*world_.comm, model_->parameters());
    if (recipe_.sync_bn) cx_.sync_bn = world_.comm.get();
  }
  start();
  folder_.emplace(recipe_.output_dir, world_.first());
  data_.emplace(recipe_, skeleton_, model_->bgr_input(), world_, *folder_, observer_);
  make_loader();
  if (recipe_.test_only) return;
  if (world_.first()) log_.open(folder_->path(), recipe_.resume.empty() ? std::nullopt : std::optional(state_));
  folder_->write_config(recipe_, {.train_annotations = data_->train().annotations().path,
                                  .val_annotations = data_->val().annotations().path,
                                  .skeleton = skeleton_.name,
                                  .start_epoch = state_.epoch,
                                  .batch_size = batch_size_,
                                  .ranks = world_.size(),
                                  .threads = compute_threads(),
                                  .updates_per_epoch = updates_per_epoch(),
                                  .device = cx_.device});
}

Trainer::~Trainer() = default;

void Trainer::start() {
  const TrainRecipe& r = recipe_;
  const int frozen = model_->parameters().freeze(r.freeze);
  optimizer_.emplace(cx_, model_->parameters(), AdamStep{.weight_decay = r.decay(), .decoupled = true}, r.extras());
  state_.begin(r.start_epoch);
  if (file_ && r.resume.empty()) {
    observer_.fact("weights", load_pretrained(*file_, *model_, r.drop_final_layer));
    optimizer_->restart_average();
  } else if (file_) {
    Resumed resumed = resume_run(*file_, r, world_.size(), *model_, *optimizer_);
    state_ = std::move(resumed.state);
    batch_size_ = resumed.batch_size;
    if (!resumed.what.empty()) observer_.fact("resume", resumed.what);
    for (const std::string& note : resumed.notes) observer_.fact("note", note);
    if (r.start_epoch > 0) state_.begin(r.start_epoch);
    const bool restarted = !world_.ranks.resume.empty();  // The crash may have come after the end of the run.
    check_field(state_.epoch < r.epochs || r.test_only || restarted, "resume",
                "{}: has finished {}, and `epochs` asks for {} in all; raise `epochs` to continue", r.resume,
                counted(state_.epoch, "epoch"), r.epochs);
    observer_.fact("resume",
                   state_.trained
                       ? fmt::format("{}: epoch {} is trained and still to be validated", r.resume, state_.epoch + 1)
                       : fmt::format("{}: epoch {}, step {}", r.resume, state_.epoch, state_.step));
  }
  file_.reset();  // The mapped file is not needed any more.
  if (parallel_) share_start();
  step_.emplace(cx_, *model_, *optimizer_, r.is_seed() ? JointsLoss::seed : JointsLoss::official,
                parallel_ ? &*parallel_ : nullptr);
  if (world_.first() && !r.test_only) step_->keep_heatmaps();
  runner_.emplace(cx_, *model_, skeleton_.mirror(),
                  HeatmapRunner::Options{.flip = r.flip, .shift = r.decoding().shift});
  observer_.fact("model", fmt::format("{}: {:.1f} M parameters, {}, {}, input {} x {}, recipe {}", model_->name(),
                                      static_cast<double>(model_->parameters().parameter_count()) / 1e6,
                                      r.amp ? "bf16" : "f32", counted(compute_threads(), "thread"), r.input_h(),
                                      r.input_w(), r.preset.empty() ? r.recipe : r.preset));
  if (frozen > 0) {
    observer_.fact("frozen", fmt::format("{} of {} parameters, by `freeze` {}", frozen,
                                         model_->parameters().parameters().size(), fmt::join(r.freeze, " ")));
  }
  if (!parallel_) return;
  observer_.fact("ranks",
                 fmt::format("{} over {}, {} per rank and step, batch norm {}", world_.size(), world_.comm->engine(),
                             counted_people(batch_size_), r.sync_bn ? "over all ranks" : "per rank"));
}

void Trainer::share_start() {
  parallel_->broadcast(cx_, &*optimizer_);
  std::string mine;
  JsonWriter json(mine, kJsonCompact);
  json.begin_list().value(state_.epoch).value(state_.step).value(state_.samples).value(state_.loss_sum);
  json.value(state_.best_score).value(batch_size_).value(state_.trained).end();
  const rapidjson::Document first = parse_json(world_.comm->all_gather(mine)[0], "rank 0's position");
  state_.epoch = first[0].GetInt();
  state_.step = first[1].GetInt64();
  state_.samples = first[2].GetInt64();
  state_.loss_sum = first[3].GetDouble();
  state_.best_score = first[4].GetDouble();
  batch_size_ = first[5].GetInt();
  state_.trained = first[6].GetBool();
}

void Trainer::make_loader() {
  const Shard shard{world_.rank(), world_.size()};
  // The seed drops an incomplete last batch only when it trains on several GPUs.
  const bool drop_last =
      recipe_.is_seed() && shard.ranks > 1 && shard.size(data_->train().size()) >= static_cast<size_t>(batch_size_);
  loader_.emplace(data_->train(), loader_for(cx_.device, {.batch_size = batch_size_,
                                                          .workers = recipe_.workers,
                                                          .shuffle = recipe_.shuffle,
                                                          .drop_last = drop_last,
                                                          .seed = recipe_.seed,
                                                          .shard = shard}));
}

void Trainer::save(const std::string& name, bool with_optimizer) const {
  if (!world_.first()) return;
  const Control::Busy busy(world_.control.get());
  save_state_dict(folder_->path() / name, model_->parameters(),
                  checkpoint_metadata(recipe_, *model_, skeleton_, batch_size_, world_.size(), state_),
                  with_optimizer ? &*optimizer_ : nullptr);
}

int Trainer::agreed_reason(const StopRequest& stop) const {
  if (world_.control == nullptr) return stop.reason();
  int reason = 0;
  for (const std::string& one : world_.control->all_gather(std::to_string(stop.reason())))
    reason = std::max(reason, std::atoi(one.c_str()));
  return reason;
}

TrainEnd train(const TrainRecipe& recipe, TrainObserver& observer, const StopRequest& stop) {
  World alone = lone_world();
  return Trainer(recipe, alone, observer).run(stop);
}

}  // namespace hr
