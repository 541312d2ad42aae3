#include "hrnet/train/run_folder.h"

#include <array>
#include <ctime>

#include "core/error.h"
#include "core/io/json_write.h"

namespace hr {
namespace {

std::string timestamp() {
  const std::time_t t = std::time(nullptr);
  std::tm local{};
  localtime_r(&t, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &local);
  return text;
}

}  // namespace

RunFolder::RunFolder(const std::string& folder, bool writes)
    : folder_(folder), results_(folder_ / fmt::format("results{}.txt", timestamp())), writes_(writes) {
  if (writes_) prepare_output_folder(folder_, "output_dir");
}

void RunFolder::append(const EpochRecord& record) const {
  if (writes_) append_line(results_, results_line(record));
}

void RunFolder::write_config(const TrainRecipe& r, const Started& f) const {
  if (!writes_) return;
  std::string text;
  JsonWriter json(text, {.lines = 1});
  json.begin_object();
  json.member("model", r.model);
  json.member("recipe", r.preset.empty() ? r.recipe : r.preset);
  json.member("data_path", r.data_path);
  json.member("train_annotations", f.train_annotations);
  json.member("val_annotations", f.val_annotations);
  json.member("keypoints_path", r.keypoints_path);
  json.member("person_det", r.person_det);
  json.member("weights", r.weights);
  json.member("init", r.init);
  json.member("resume", r.resume);
  json.member("fixed_size", std::array{r.input_h(), r.input_w()});
  json.member("num_joints", r.joints.value_or(0));
  json.member("sigma", heatmap_sigma(r.sigma, r.input_h()));
  json.member("augment", !r.no_augment);
  json.member("scale_factor", r.scale_factor);
  json.member("rot_factor", r.rot_factor);
  json.member("prob_half_body", r.prob_half_body);
  json.member("photometric", r.photometric);
  json.member("coarse_dropout", r.coarse_dropout);
  json.member("mirror", r.mirror);
  json.member("half_body_joints", r.half_body_joints);
  json.member("shuffle", r.shuffle);
  json.member("codec", r.codec);
  json.member("skeleton", f.skeleton);
  json.member("categories", fmt::format("{}", fmt::join(r.categories, " ")));
  json.member("on_bad_sample", r.on_bad_sample.empty() ? "fail in the check, then skip" : r.on_bad_sample);
  json.member("start_epoch", f.start_epoch);
  json.member("epochs", r.epochs);
  json.member("batch_size", f.batch_size);
  json.member("ranks", f.ranks);
  json.member("sync_bn", r.sync_bn);
  json.member("lr", r.lr);
  json.member("lr_steps", r.lr_steps);
  json.member("lr_gamma", r.lr_gamma);
  json.member("schedule", r.schedule);
  json.member("lr_final", r.lr_final);
  // A short run has a shorter warm-up than the recipe asks for, and the seed's asks for none by this name.
  json.member("warmup_steps", r.rates().warmup_steps);
  json.member("warmup_steps_used", r.rates().warmup_length(f.updates_per_epoch));
  json.member("optimizer", r.decay() != 0 ? "AdamW" : "Adam");
  json.member("weight_decay", r.decay());
  json.member("decay_on", r.decay_on);
  json.member("accumulate", r.accumulate);
  json.member("clip_norm", r.clip_norm);
  json.member("ema", r.ema);
  json.member("freeze", fmt::format("{}", fmt::join(r.freeze, " ")));
  json.member("patience", r.patience);
  json.member("amp", r.amp);
  json.member("device", to_string(f.device));
  json.member("threads", f.threads);
  json.member("workers", r.workers);
  json.member("seed", r.seed);
  json.member("eval_every", r.eval_every);
  json.end();
  write_file(folder_ / "config.json", text + "\n");
}

}  // namespace hr
