#include "tools/cli/flag_names.h"

#include <algorithm>
#include <array>
#include <utility>

namespace hr {
namespace {

// The settings whose flags have other names, and the names in messages that stand for a command of a program.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kRenamed = {{
    {"compare", "`convert --info`"},
    {"input_size", "--fixed-size"},
    {"joints", "--num-joints"},
    {"skeleton", "--keypoints-path"},
    {"train.weights", "`train --weights`"},
    {"train.drop_final_layer", "`train --drop-final-layer`"},
}};

// The flags of these settings are their names with dashes in place of underscores.
constexpr std::string_view kSame[] = {
    "amp",
    "precision",
    "analysis",
    "soft_nms",
    "no_nms",
    "batch_size",
    "blur",
    "calibrate",
    "categories",
    "codec",
    "data_path",
    "dataset",
    "detector",
    "device",
    "devices",
    "dist_timeout",
    "dist_url",
    "drop_final_layer",
    "epochs",
    "eval_every",
    "exact",
    "fill_in",
    "image_thre",
    "in_vis_thre",
    "val_every",
    "init",
    "no_pretrained",
    "test_only",
    "flip",
    "decode",
    "half",
    "keep_bn",
    "color",
    "cache_mib",
    "fixed_size",
    "keep_all",
    "lr",
    "lr_gamma",
    "lr_steps",
    "max_megapixels",
    "model",
    "mpii_truth",
    "new_global_batch",
    "no_augment",
    "nproc",
    "oks_thre",
    "on_bad_sample",
    "output",
    "output_dir",
    "person_det",
    "prob_half_body",
    "recipe",
    "resume",
    "rot_factor",
    "rules",
    "scale_factor",
    "seed",
    "shift_heatmap",
    "sigma",
    "start_epoch",
    "sync_bn",
    "tf32",
    "threads",
    "train_annotations",
    "train_images",
    "val_annotations",
    "val_images",
    "weight_decay",
    "weights",
    "workers",
    "world_size",
    "checkpoint_every",
    "print_freq",
    "photometric",
    "coarse_dropout",
    "keypoints_path",
    "cfg",
    "schedule",
    "lr_final",
    "warmup_steps",
    "accumulate",
    "clip_norm",
    "ema",
    "freeze",
    "decay_on",
    "patience",
    "shuffle",
    "mirror",
    "half_body_joints",
};

}  // namespace

std::string flag_of(std::string_view field) {
  for (const auto& [name, flag] : kRenamed) {
    if (name == field) return std::string(flag);
  }
  if (std::find(std::begin(kSame), std::end(kSame), field) == std::end(kSame)) return "";
  std::string flag = "--";
  flag += field;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string with_flags(std::string_view message) {
  std::string out;
  for (size_t open = 0; (open = message.find('`')) != std::string_view::npos;) {
    out += message.substr(0, open);
    message.remove_prefix(open);
    const size_t close = message.find('`', 1);
    const std::string flag = close == std::string_view::npos ? "" : flag_of(message.substr(1, close - 1));
    // If the word is no setting, only its first backtick is passed over, because the second one may begin a setting.
    out += flag.empty() ? "`" : flag;
    message.remove_prefix(flag.empty() ? 1 : close + 1);
  }
  return out + std::string(message);
}

std::vector<std::string> with_flags(std::vector<std::string> messages) {
  for (std::string& message : messages) message = with_flags(message);
  return messages;
}

}  // namespace hr
