#include "hrnet/train/run_folder.h"

#include <ctime>

#include "core/error.h"
#include "core/io/json.h"

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
  std::string json = "{\n";
  const auto add = [&](std::string_view key, const std::string& value) {
    json += fmt::format("{}  {}: {}", json.size() > 2 ? ",\n" : "", json_quote(key), value);
  };
  const auto quoted = [](std::string_view text) { return json_quote(text); };
  add("model", quoted(r.model));
  add("recipe", quoted(r.recipe));
  add("data_path", quoted(r.data_path));
  add("train_annotations", quoted(f.train_annotations));
  add("val_annotations", quoted(f.val_annotations));
  add("keypoints_path", quoted(r.keypoints_path));
  add("person_det", quoted(r.person_det));
  add("weights", quoted(r.weights));
  add("init", quoted(r.init));
  add("resume", quoted(r.resume));
  add("fixed_size", fmt::format("[{}, {}]", r.input_h(), r.input_w()));
  add("num_joints", std::to_string(r.joints.value_or(0)));
  add("sigma", fmt::format("{}", heatmap_sigma(r.sigma, r.input_h())));
  add("augment", r.no_augment ? "false" : "true");
  add("scale_factor", fmt::format("{}", r.scale_factor));
  add("rot_factor", fmt::format("{}", r.rot_factor));
  add("prob_half_body", fmt::format("{}", r.prob_half_body));
  add("photometric", fmt::format("{}", r.photometric));
  add("coarse_dropout", fmt::format("{}", r.coarse_dropout));
  add("codec", quoted(r.codec));
  add("skeleton", quoted(f.skeleton));
  add("categories", quoted(fmt::format("{}", fmt::join(r.categories, " "))));
  add("on_bad_sample", quoted(r.on_bad_sample.empty() ? "fail in the check, then skip" : r.on_bad_sample));
  add("start_epoch", std::to_string(f.start_epoch));
  add("epochs", std::to_string(r.epochs));
  add("batch_size", std::to_string(f.batch_size));
  add("ranks", std::to_string(f.ranks));
  add("sync_bn", r.sync_bn ? "true" : "false");
  add("lr", fmt::format("{}", r.lr));
  add("lr_steps", fmt::format("[{}]", fmt::join(r.lr_steps, ", ")));
  add("lr_gamma", fmt::format("{}", r.lr_gamma));
  add("optimizer", quoted(r.is_seed() ? "AdamW" : "Adam"));
  add("weight_decay", fmt::format("{}", r.decay()));
  add("amp", r.amp ? "true" : "false");
  add("device", quoted(to_string(f.device)));
  add("threads", std::to_string(f.threads));
  add("workers", std::to_string(r.workers));
  add("seed", std::to_string(r.seed));
  add("eval_every", std::to_string(r.eval_every));
  write_file(folder_ / "config.json", json + "\n}\n");
}

}  // namespace hr
