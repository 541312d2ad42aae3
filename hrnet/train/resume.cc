#include "hrnet/train/resume.h"

#include <cmath>
#include <optional>

#include "core/counted.h"
#include "core/error.h"
#include "hrnet/model/load.h"

namespace hr {
namespace {

// A resumed run keeps the number of people per step over all ranks, whatever the number of ranks is now. Returns the
// batch size of this rank.
int batch_size_for(const TrainRecipe& r, int ranks, int saved_batch_size, int saved_ranks, Resumed& run) {
  RunState& at = run.state;
  const int64_t had = int64_t{saved_batch_size} * saved_ranks, asked = int64_t{r.batch_size} * ranks;
  if (asked == had) return r.batch_size;
  if (r.new_global_batch) {
    // The position within the epoch is converted from steps of the old size to steps of the new size. A step that was
    // only started is done again.
    if (at.step > 0 && !at.trained) {
      at.step = at.samples / asked / r.accumulate * r.accumulate;
      const double mean = at.mean_loss();
      at.samples = at.step * asked;
      at.loss_sum = mean * static_cast<double>(at.samples);
    }
    return r.batch_size;
  }
  if (saved_ranks != ranks && r.batch_size == saved_batch_size) {
    check_field(had % ranks == 0, "resume",
                "{}: trained with {} people per step ({} ranks, `batch_size` {}), which {} ranks cannot share equally; "
                "choose a `batch_size` and add `new_global_batch`",
                r.resume, had, saved_ranks, saved_batch_size, ranks);
    const int batch_size = static_cast<int>(had / ranks);
    run.notes.push_back(fmt::format(
        "each rank takes {} per step instead of {}: the run has {} now and had {} before, and keeps {} per step",
        counted_people(batch_size), r.batch_size, counted(ranks, "rank"), saved_ranks, counted_people(had)));
    return batch_size;
  }
  const bool between_epochs = at.step == 0 || at.trained;
  check_field(saved_ranks == ranks && between_epochs, "resume",
              "{}: {} {} people per step ({} ranks, `batch_size` {}), but these settings mean {} ({} ranks, "
              "`batch_size` {}); choose `batch_size` so that they agree, or add `new_global_batch`",
              r.resume, between_epochs ? "trained with" : "stopped within an epoch of", had, saved_ranks,
              saved_batch_size, asked, ranks, r.batch_size);
  return r.batch_size;
}

// Notes the settings that differ from those of the checkpoint, since the results of the run then differ too.
std::vector<std::string> other_settings(const WeightFile& file, const TrainRecipe& r,
                                        const std::map<std::string, std::string>& ours) {
  std::vector<std::string> notes;
  // A file of an older version may lack some of these settings.
  const auto value = [&](const char* key) {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? ours.at(key) : it->second;
  };
  const auto compare_with = [&](const std::string& field, const std::string& theirs, const std::string& now) {
    const auto shown = [](const std::string& text) { return text.empty() ? std::string("empty") : text; };
    if (theirs != now)
      notes.push_back(fmt::format("the checkpoint's `{}` is {}, this run's is {}", field, shown(theirs), shown(now)));
  };
  for (const char* key : {"lr", "lr_steps", "lr_gamma", "weight_decay", "recipe"}) {
    compare_with(key, value(key), ours.at(key));
  }
  const std::map<std::string, std::string> defaults = recipe_extras({});
  for (const auto& [key, now] : recipe_extras(r)) {
    const auto it = file.metadata().find(key);
    compare_with(key, it == file.metadata().end() ? defaults.at(key) : it->second, now);
  }
  compare_with("fixed_size", value("input_h") + " " + value("input_w"), ours.at("input_h") + " " + ours.at("input_w"));
  return notes;
}

Resumed resume_ours(const WeightFile& file, const TrainRecipe& r, int ranks, const PoseModel& model) {
  Resumed run{.state = read_run_state(file)};
  const std::string saved_seed = checkpoint_text(file, "seed");
  check_field(saved_seed == std::to_string(r.seed), "resume",
              "{}: the run used `seed` {}, but these settings have {}; give the same `seed` to continue it exactly",
              r.resume, saved_seed, r.seed);
  if (const auto codec = file.metadata().find("codec"); codec != file.metadata().end()) {
    check_field(codec->second == r.codec, "resume",
                "{}: the run was trained for codec {}, but these settings have {}; give `codec` {}", r.resume,
                codec->second, r.codec, codec->second);
  }
  run.notes = other_settings(file, r, checkpoint_metadata(r, model, coco_skeleton(), r.batch_size, ranks, {}));
  // The limits keep the product of both numbers within an int.
  const int batch_size = checkpoint_count(file, "batch_size", 1'000'000);
  const int saved_ranks = file.metadata().contains("ranks") ? checkpoint_count(file, "ranks", 2'000) : 1;
  run.batch_size = batch_size_for(r, ranks, batch_size, saved_ranks, run);
  return run;
}

// Continues weights, moments and epoch of a PyTorch training checkpoint. The order of the samples is ours.
Resumed resume_torch(const WeightFile& file, const TrainRecipe& r, const Optimizer& optimizer) {
  const int64_t epoch = file.next_epoch().value_or(0);
  check_field(epoch >= 0 && epoch <= kMaxEpochs, "resume", "{}: its epoch is {}, expected 0 to {}", r.resume, epoch,
              kMaxEpochs);
  Resumed run{.batch_size = r.batch_size};
  run.state.epoch = static_cast<int>(epoch);
  run.what = fmt::format("{}, Adam's step {}", file.wrapper().describe(), optimizer.steps());
  // Learning rate and decay are settings here, so a note tells if the checkpoint had others.
  const Value* groups = file.optimizer()->find("param_groups");
  const auto* list = groups != nullptr ? groups->as<Value::List>() : nullptr;
  if (list == nullptr || list->items.empty()) return run;
  const auto number = [&](const char* key) -> std::optional<double> {
    const Value* value = list->items[0]->find(key);
    if (value == nullptr) return {};
    if (const auto* d = value->as<double>()) return *d;
    if (const auto* i = value->as<int64_t>()) return static_cast<double>(*i);
    return {};
  };
  const auto compare_with = [&](const char* key, double ours, const char* settings) {
    const std::optional<double> theirs = number(key);
    if (theirs && std::abs(*theirs - ours) > 1e-6 * std::abs(ours))
      run.notes.push_back(
          fmt::format("the checkpoint's {} is {}, this run's is {} ({})", key, *theirs, ours, settings));
  };
  compare_with("lr", r.rates().at(run.state.epoch, 0, 1), "`lr`, `lr_steps`, `lr_gamma`");
  compare_with("weight_decay", r.decay(), "`recipe`, `weight_decay`");
  return run;
}

}  // namespace

Resumed resume_run(const WeightFile& file, const TrainRecipe& r, int ranks, PoseModel& model, Optimizer& optimizer) {
  check_field(file.optimizer() != nullptr || file.contains("optimizer.exp_avg"), "resume",
              "{}: is not a training checkpoint (no optimiser state); use `weights` to start from its weights",
              r.resume);
  load_weights(file, model);
  load_optimizer(file, optimizer);
  return file.optimizer() != nullptr ? resume_torch(file, r, optimizer) : resume_ours(file, r, ranks, model);
}

}  // namespace hr
