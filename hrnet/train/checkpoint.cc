#include "hrnet/train/checkpoint.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/json_write.h"

namespace hr {
namespace {

std::string position_json(const RunState& at) {
  std::string text;
  JsonWriter json(text, kJsonCompact);
  json.begin_object().member("epoch", at.epoch).member("step", at.step).member("samples", at.samples);
  json.member("loss_sum", at.loss_sum).member("best_ap", at.best_score).member("trained", at.trained).end();
  return text;
}

}  // namespace

std::map<std::string, std::string> checkpoint_metadata(const TrainRecipe& r, const PoseModel& model,
                                                       const Skeleton& skeleton, int batch_size, int ranks,
                                                       const RunState& at) {
  std::map<std::string, std::string> metadata = {{"format", "hrnet.cpp checkpoint 1"},
                                                 {"model", model.name()},
                                                 {"joints", std::to_string(model.joints())},
                                                 {"skeleton", skeleton_to_text(skeleton)},
                                                 {"codec", r.codec},
                                                 {"recipe", r.recipe},
                                                 {"input_h", std::to_string(r.input_h())},
                                                 {"input_w", std::to_string(r.input_w())},
                                                 {"color", model.bgr_input() ? "bgr" : "rgb"},
                                                 {"seed", std::to_string(r.seed)},
                                                 {"lr", fmt::format("{}", r.lr)},
                                                 {"lr_steps", fmt::format("{}", fmt::join(r.lr_steps, " "))},
                                                 {"lr_gamma", fmt::format("{}", r.lr_gamma)},
                                                 {"weight_decay", fmt::format("{}", r.decay())},
                                                 {"batch_size", std::to_string(batch_size)},
                                                 {"ranks", std::to_string(ranks)},
                                                 {"history", history_to_json(at.history)},
                                                 {"position", position_json(at)}};
  const std::map<std::string, std::string> defaults = recipe_extras({});
  for (const auto& [key, value] : recipe_extras(r)) {
    if (value != defaults.at(key)) metadata[key] = value;
  }
  return metadata;
}

std::map<std::string, std::string> recipe_extras(const TrainRecipe& r) {
  const bool falls = r.schedule != "multi-step";
  return {{"schedule", falls ? fmt::format("{} to {} in {} epochs", r.schedule, r.lr_final, r.epochs) : r.schedule},
          {"warmup_steps", std::to_string(r.rates().warmup_steps)},
          {"accumulate", std::to_string(r.accumulate)},
          {"clip_norm", fmt::format("{}", r.clip_norm)},
          {"ema", fmt::format("{}", r.ema)},
          {"freeze", fmt::format("{}", fmt::join(r.freeze, " "))},
          {"decay_on", r.decay_on}};
}

std::string checkpoint_text(const WeightFile& file, const char* key) {
  const auto it = file.metadata().find(key);
  check_field(it != file.metadata().end(), "resume",
              "{}: is not a training checkpoint (no '{}'); use `weights` to start from its weights",
              file.path().string(), key);
  return it->second;
}

int checkpoint_count(const WeightFile& file, const char* key, int most) {
  const std::string value = checkpoint_text(file, key);
  int n = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  check_field(error == std::errc() && end == value.data() + value.size() && n >= 1 && n <= most, "resume",
              "{}: its {} is '{}', expected a whole number from 1 to {}", file.path().string(), key, value, most);
  return n;
}

RunState read_run_state(const WeightFile& file) {
  const std::string name = file.path().string();
  const rapidjson::Document position = parse_json(checkpoint_text(file, "position"), name);
  check_field(position.IsObject(), "resume", "{}: its position is not an object", name);
  const auto number = [&](const char* key, double least, double most) {
    check_field(position.HasMember(key) && position[key].IsNumber(), "resume", "{}: its position has no number '{}'",
                name, key);
    const double value = position[key].GetDouble();
    check_field(value >= least && value <= most, "resume", "{}: {} of its position is {}, expected {} to {}", name, key,
                value, least, most);
    return value;
  };
  const auto whole_number = [&](const char* key, int64_t least, int64_t most) {
    const double value = number(key, static_cast<double>(least), static_cast<double>(most));
    check_field(value == std::floor(value), "resume", "{}: {} of its position is {}, expected a whole number", name,
                key, value);
    return static_cast<int64_t>(value);
  };
  constexpr int64_t most_samples = int64_t{1} << 40;
  RunState at;
  at.epoch = static_cast<int>(whole_number("epoch", 0, kMaxEpochs));
  at.step = whole_number("step", 0, most_samples);
  at.samples = whole_number("samples", at.step, most_samples);  // A step has at least one sample.
  at.loss_sum = number("loss_sum", 0, std::numeric_limits<double>::max());
  at.best_score = number("best_ap", -1, 1);
  if (const auto trained = position.FindMember("trained"); trained != position.MemberEnd()) {
    check_field(trained->value.IsBool(), "resume", "{}: 'trained' of its position is neither true nor false", name);
    at.trained = trained->value.GetBool();
    check_field(!at.trained || at.samples > 0, "resume",
                "{}: 'samples' of its position is 0, although 'trained' is true", name);
  }
  at.history = history_from_json(checkpoint_text(file, "history"), name);
  return at;
}

}  // namespace hr
