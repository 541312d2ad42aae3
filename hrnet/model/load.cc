#include "hrnet/model/load.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "hrnet/model/yolox.h"

namespace hr {
namespace {

const std::vector<std::string> kHead{"final_layer.weight", "final_layer.bias"};

Shape shape_of(const WeightFile& file, std::string_view name) {
  const ArrayView* array = file.find(name);
  return array == nullptr ? Shape{} : array->shape;
}

// Number of residual blocks in layer1 to layer4.
std::array<int, 4> count_blocks(const WeightFile& file) {
  std::array<int, 4> blocks{};
  for (int layer = 0; layer < 4; ++layer) {
    while (file.contains(fmt::format("layer{}.{}.conv1.weight", layer + 1, blocks[layer]))) ++blocks[layer];
  }
  return blocks;
}

int resnet_depth(const WeightFile& file) {
  const bool bottleneck = file.contains("layer1.0.conv3.weight");
  const struct {
    std::array<int, 4> blocks;
    bool bottleneck;
    int depth;
  } known[] = {{{2, 2, 2, 2}, false, 18},
               {{3, 4, 6, 3}, false, 34},
               {{3, 4, 6, 3}, true, 50},
               {{3, 4, 23, 3}, true, 101},
               {{3, 8, 36, 3}, true, 152}};
  const std::array<int, 4> blocks = count_blocks(file);
  for (const auto& k : known) {
    if (k.blocks == blocks && k.bottleneck == bottleneck) return k.depth;
  }
  return 0;
}

// Returns true if only the classification network has this entry: HRNet's classification head in both namings (the
// published hrnet_w32-36af842e.pth and the later hrnetv2_*), the three fusions of the last module that a pose network
// does not compute, and torchvision's fc.
bool is_classification_part(std::string_view name) {
  constexpr std::string_view prefixes[] = {
      "head.",          "fc.",         "incre_modules.",          "downsamp_modules.",       "final_layer.0.",
      "final_layer.1.", "classifier.", "stage4.2.fuse_layers.1.", "stage4.2.fuse_layers.2.", "stage4.2.fuse_layers.3."};
  return std::any_of(std::begin(prefixes), std::end(prefixes), [&](auto p) { return name.starts_with(p); });
}

// Tells whether a pose network has this entry in addition to those of its backbone.
bool is_pose_part(std::string_view name) {
  return name.starts_with("final_layer.") || name.starts_with("deconv_layers.");
}

// Recognises networks with another head on HRNet's body by names that only they have. Returns "" for any other file.
std::string sister_network(const WeightFile& file) {
  const auto any = [&](std::initializer_list<std::string_view> prefixes) {
    return std::any_of(file.names().begin(), file.names().end(), [&](const std::string& name) {
      return std::any_of(prefixes.begin(), prefixes.end(), [&](auto prefix) { return name.starts_with(prefix); });
    });
  };
  if (any({"final_layers."})) return "HigherHRNet, a bottom-up network";
  if (any({"offset_final_layer.", "head_heatmap.", "transition_heatmap."})) return "DEKR, a bottom-up network";
  if (any({"ocr_", "aux_head.", "last_layer."})) return "HRNet for segmentation";
  // A facial landmark head is convolution, normalisation, activation, convolution. A classification head has other
  // names, such as head.0.0.
  if (!shape_of(file, "head.0.weight").empty() && file.contains("head.3.weight")) return "facial landmark HRNet";
  return "";
}

// Counts names by their first part, in order: "incre_modules (4), classifier (2)".
std::string by_part(const std::vector<std::string>& names) {
  std::vector<std::pair<std::string, int>> parts;
  for (const std::string& name : names) {
    const bool unused_fusion = name.starts_with("stage4.2.fuse_layers.");
    const std::string part = unused_fusion ? "stage4.2.fuse_layers" : name.substr(0, name.find('.'));
    const auto found = std::find_if(parts.begin(), parts.end(), [&](const auto& p) { return p.first == part; });
    if (found == parts.end()) {
      parts.emplace_back(part, 1);
    } else {
      ++found->second;
    }
  }
  std::string text;
  for (const auto& [part, count] : parts) text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", part, count);
  return text;
}

[[noreturn]] void refuse(const WeightFile& file, const PoseModel& model, const Fit& fit, bool as_a_start) {
  const ModelGuess guess = guess_model(file);
  // A backbone is allowed as a start, so the fact that the file is a backbone does not explain the failure.
  const bool explained = as_a_start && guess.model == model.name() && guess.joints == 0 && guess.sister.empty();
  const std::string reason = explained ? "" : likely_reason(file, model);
  const size_t all = fit.missing.size() + fit.unexpected.size() + fit.misshaped.size() + fit.mistyped.size();
  fail(
      "{}: {}; {}{}", file.path().string(),
      reason.empty() ? fmt::format("these weights do not fit {} with {} joints", model.name(), model.joints()) : reason,
      fit.summary(), all <= 8 ? "" : fmt::format(" (`compare` with `model` {} lists all {})", model.name(), all));
}

void refuse_int8(const WeightFile& file) {
  if (!is_int8(file)) return;
  const auto source = file.metadata().find("source");
  fail("{}: holds weights of 8 bits, which are for inference only; use the float32 weights that they were made from{}",
       file.path().string(), source == file.metadata().end() ? "" : fmt::format(" ({})", source->second));
}

}  // namespace

ModelGuess guess_model(const WeightFile& file) {
  ModelGuess guess;
  if (const std::optional<YoloxInfo> detector = yolox_info(file)) {
    guess.what = fmt::format("{}: it finds people, not joints (use it as `detector`)", detector->describe());
    return guess;
  }
  const Shape head = shape_of(file, "final_layer.weight");
  const Shape branch = shape_of(file, "stage2.0.branches.0.0.conv1.weight");
  const Shape stem = shape_of(file, "conv1.weight");
  std::string backbone;  // As text.
  if (branch.size() == 4) {
    guess.model = fmt::format("hrnet_w{}", branch[0]);
    backbone = fmt::format("an ImageNet backbone for {}", guess.model);
    if (head.size() == 4) guess.joints = static_cast<int>(head[0]);
    if (guess.joints == 0) guess.sister = sister_network(file);
    if (!guess.sister.empty()) guess.what = fmt::format("a {} on the body of {}", guess.sister, guess.model);
  } else if (const int depth = resnet_depth(file); depth > 0 && stem.size() == 4 && stem[2] == 7) {
    const std::string name = fmt::format("pose_resnet{}", depth);
    if (depth >= 50) guess.model = name;
    backbone = fmt::format("a torchvision ResNet-{}{}", depth, depth >= 50 ? ", a backbone for " + name : "");
    if (head.size() == 4 && file.contains("deconv_layers.0.weight")) guess.joints = static_cast<int>(head[0]);
    if (guess.joints > 0 && depth < 50) guess.what = fmt::format("{} with {} joints", name, guess.joints);
  } else {
    guess.what = "neither an HRNet nor a PoseResNet";
    return guess;
  }
  if (guess.what.empty())
    guess.what = guess.joints > 0 ? fmt::format("{} with {} joints", guess.model, guess.joints) : backbone;
  return guess;
}

std::string likely_reason(const WeightFile& file, const PoseModel& model) {
  const ModelGuess guess = guess_model(file);
  if (guess.model.empty()) return fmt::format("this is {}; expected {}", guess.what, model.name());
  if (!guess.sister.empty()) {
    return fmt::format("this is {}; only top-down pose networks, whose head is one final_layer, can be loaded",
                       guess.what);
  }
  const bool same = guess.model == model.name();
  if (guess.joints == 0) {
    return fmt::format(
        "this is {}, a classification checkpoint without a heatmap head: start training from it (`train.weights`{})",
        guess.what, same ? "" : fmt::format(", `model` {}", guess.model));
  }
  if (!same) return fmt::format("this is {}; you asked for {}: `model` {}", guess.what, model.name(), guess.model);
  if (guess.joints != model.joints()) {
    return fmt::format(
        "the file has {} joints, you asked for {}: give `joints` {}, or start training from it with `drop_final_layer`",
        guess.joints, model.joints(), guess.joints);
  }
  return "";
}

bool is_int8(const WeightFile& file) {
  const auto found = file.metadata().find("precision");
  return found != file.metadata().end() && found->second == "int8";
}

void check_weights(const WeightFile& file, const PoseModel& model) {
  refuse_int8(file);
  const Fit fit = compare(file, model.parameters());
  if (!fit.exact()) refuse(file, model, fit, false);
}

void load_weights(const WeightFile& file, PoseModel& model) {
  check_weights(file, model);
  load_matching(file, model.parameters());
}

std::string load_pretrained(const WeightFile& file, PoseModel& model, bool drop_final_layer) {
  refuse_int8(file);
  const Fit fit = compare(file, model.parameters());
  const bool backbone = guess_model(file).joints == 0;
  const auto is_head = [](const std::string& name) {
    return std::find(kHead.begin(), kHead.end(), name) != kHead.end();
  };
  Fit rest = fit;  // The differences that are not allowed in initial weights.
  std::erase_if(rest.missing, [&](const std::string& name) {
    return (backbone && is_pose_part(name)) || (drop_final_layer && is_head(name));
  });
  std::erase_if(rest.unexpected, [&](const std::string& name) { return backbone && is_classification_part(name); });
  std::erase_if(rest.misshaped, [&](const Fit::Mismatch& m) { return drop_final_layer && is_head(m.name); });
  if (!rest.exact()) refuse(file, model, rest, true);
  load_matching(file, model.parameters(), drop_final_layer ? kHead : std::vector<std::string>{});

  std::vector<std::string> initial = fit.missing;
  if (drop_final_layer) initial = kHead;
  std::string text = fmt::format("{}: {}", file.path().string(), guess_model(file).what);
  if (!initial.empty()) text += fmt::format("; initial values kept for {}", by_part(initial));
  if (!fit.unexpected.empty()) text += fmt::format("; left out {}", by_part(fit.unexpected));
  return text;
}

}  // namespace hr
