#include "hrnet/infer/weight_info.h"

#include <algorithm>
#include <cmath>

#include "core/counted.h"
#include "core/error.h"
#include "hrnet/int8/file.h"

namespace hr {

WeightInfo weight_info(const WeightFile& file, bool sizes) {
  WeightInfo info;
  const auto text = [&](const char* key) -> std::optional<std::string> {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? std::nullopt : std::optional(it->second);
  };
  // The limits are those for a size that is asked for. They matter, since memory is allocated by these numbers.
  const auto side = [&](const char* key) -> std::optional<int> { return file.metadata_number(key, 32, 4096, 32); };
  info.codec = text("codec");
  if (sizes) {
    info.input_h = side("input_h");
    info.input_w = side("input_w");
  }
  info.color = text("color");
  // mmpose converts pictures to RGB for every network.
  if (!info.color && file.wrapper().writer == Wrapper::Writer::mmpose) info.color = "rgb";
  // The shapes of the tensors are more reliable than the text of the metadata.
  const ModelGuess guess = guess_model(file);
  info.model = guess.model.empty() ? text("model") : guess.model;
  constexpr int kMaxJoints = 10'000;
  const std::optional<int> said = file.metadata_number("joints", 1, kMaxJoints);
  info.joints = guess.joints > 0 ? guess.joints : said;
  return info;
}

void set_color(PoseModel& model, const std::string& asked, const std::optional<std::string>& of_the_weights) {
  const std::string color = asked.empty() ? of_the_weights.value_or("") : asked;
  if (color.empty()) return;  // Keep the architecture's order.
  check(color == "rgb" || color == "bgr", "the weights' colour order is '{}'; expected rgb or bgr", color);
  model.set_bgr_input(color == "bgr");
}

namespace {
// Weights that are not finite must be found here: a ReLU turns NaN into 0 on some processors, and the poses would then
// look like any others.
void check_finite(const WeightFile& file, const PoseModel& model) {
  for (const auto& entry : model.parameters().entries()) {
    const ArrayView* array = entry.counter != nullptr ? nullptr : file.find(entry.name());
    if (array == nullptr) continue;
    const std::vector<float> values = array->to_f32();
    const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
    check(bad == values.end(),
          "{}: {}: element {} is {}, which is not finite; the file is damaged or its training has diverged, so use "
          "another checkpoint",
          file.path().string(), entry.name(), bad - values.begin(),
          bad == values.end() ? ""
          : std::isnan(*bad)  ? "NaN"
                              : "infinity");
    file.release(*array);
  }
}
}  // namespace

std::unique_ptr<PoseModel> load_model(Context& cx, const WeightFile& file, std::string name, std::optional<int> joints,
                                      const std::string& color, Purpose purpose) {
  const WeightInfo info = weight_info(file, false);
  const ModelGuess guess = guess_model(file);
  if (name.empty()) {
    check(info.model.has_value(), "{}: holds {}; if it is a pose network nevertheless, name it with `model`",
          file.path().string(), guess.what);
    name = *info.model;
  }
  if (!joints) {
    check(info.joints.has_value(),
          "{}: this is {}, which has no heatmap head; pose weights are needed here, which can be trained from it with "
          "`train.weights`",
          file.path().string(), guess.what);
    joints = info.joints;
  }
  if (is_int8(file)) {
    auto quantised = load_int8_model(cx, file, name, *joints);
    set_color(*quantised, color, info.color);
    return quantised;
  }
  // The size of the network follows from the file alone, so the file must have all tensors before memory is allocated.
  check_weights(file, *declare_model(name, *joints));
  auto model = make_model(cx, name, *joints, 0, Init::none, purpose);
  load_weights(file, *model);
  check_finite(file, *model);
  set_color(*model, color, info.color);
  return model;
}

std::unique_ptr<PoseModel> load_model(Context& cx, const fs::path& weights, std::string name, std::optional<int> joints,
                                      const std::string& color) {
  return load_model(cx, WeightFile(weights), std::move(name), joints, color);
}

namespace {
int joints_of_the_tensors(const WeightFile& file, const Skeleton& skeleton) {
  const int joints = guess_model(file).joints;
  return joints > 0 ? joints : skeleton.joints();
}
}  // namespace

std::optional<Skeleton> carried_skeleton(const WeightFile& file) {
  const auto found = file.metadata().find("skeleton");
  if (found == file.metadata().end()) return std::nullopt;
  Skeleton skeleton = skeleton_from_text(found->second, file.path().string() + ": the skeleton in its metadata");
  const int joints = joints_of_the_tensors(file, skeleton);
  check(skeleton.joints() == joints,
        "{}: the skeleton in its metadata ({}) has {}, but its network has {}; name the right skeleton with "
        "`keypoints_path`",
        file.path().string(), skeleton.name, counted(skeleton.joints(), "joint"), joints);
  return skeleton;
}

std::string skeleton_note(const WeightFile& file, const Skeleton& asked, const std::string& named) {
  std::optional<Skeleton> carried;
  try {
    carried = carried_skeleton(file);
  } catch (const Error&) {
    return "";  // The skeleton that the user names replaces the damaged one.
  }
  if (!carried) return "";
  check(asked.joints() == carried->joints(),
        "{}: has {}, but {} was trained with {} ({}); leave `keypoints_path` out to use its own skeleton", named,
        counted(asked.joints(), "joint"), file.path().string(), carried->joints(), carried->name);
  const std::string difference = skeleton_difference(asked, *carried);
  if (difference.empty()) return "";
  return fmt::format("{} is used, although {} was trained with another skeleton ({}): {}", named, file.path().string(),
                     carried->name, difference);
}

}  // namespace hr
