#include "hrnet/train/official_config.h"

#include <algorithm>

#include "core/error.h"
#include "hrnet/train/official_keys.h"

namespace hr {
namespace {

using S = OfficialSettings;

// Throws Error about a setting that is not supported here.
template <class... Args>
void need(bool fulfilled, const OfficialConfig& config, fmt::format_string<Args...> format, Args&&... args) {
  check_field(fulfilled, "cfg", "{}: {}", config.name, fmt::format(format, std::forward<Args>(args)...));
}

S read(const OfficialConfig& config) {
  std::vector<OfficialEntry> entries = read_official_yaml(config.text, config.name);
  check_field(config.overrides.size() % 2 == 0, "cfg",
              "{}: the settings after the file must be pairs KEY VALUE; {} has no value", config.name,
              config.overrides.empty() ? "" : config.overrides.back());
  for (size_t i = 0; i < config.overrides.size(); i += 2) {
    entries.push_back(
        {.key = config.overrides[i], .items = {config.overrides[i + 1]}, .place = "the settings after " + config.name});
  }
  return read_official_settings(entries);
}

std::string hrnet_name(const S& s, const OfficialConfig& config) {
  need(!s.stage2.channels.empty(), config, "MODEL.EXTRA.STAGE2.NUM_CHANNELS is missing, which gives the width of {}",
       s.name);
  const int width = s.stage2.channels[0];
  const S::Stage* stages[] = {&s.stage2, &s.stage3, &s.stage4};
  const int modules[] = {1, 4, 3};
  for (int i = 0; i < 3; ++i) {
    const S::Stage& stage = *stages[i];
    std::vector<int> channels;
    for (int branch = 0; branch < i + 2; ++branch) channels.push_back(width << branch);
    const bool ours = stage.modules == modules[i] && stage.branches == i + 2 && stage.channels == channels &&
                      stage.block == "BASIC" && stage.fuse == "SUM" &&
                      stage.blocks == std::vector<int>(static_cast<size_t>(i) + 2, 4);
    need(ours, config,
         "MODEL.EXTRA.STAGE{} differs from the published networks; expected {} of {} branches, BLOCK BASIC, NUM_BLOCKS "
         "4 in each branch, NUM_CHANNELS {} and FUSE_METHOD SUM",
         i + 2, modules[i] == 1 ? "1 module" : fmt::format("{} modules", modules[i]), i + 2, fmt::join(channels, ", "));
  }
  return fmt::format("hrnet_w{}", width);
}

std::string resnet_name(const S& s, const OfficialConfig& config) {
  need(s.deconv_layers == 3 && s.deconv_filters == std::vector{256, 256, 256} &&
           s.deconv_kernels == std::vector{4, 4, 4} && !s.deconv_with_bias,
       config,
       "MODEL.EXTRA: for pose_resnet expected NUM_DECONV_LAYERS 3, NUM_DECONV_FILTERS 256 and NUM_DECONV_KERNELS 4 in "
       "each layer, and DECONV_WITH_BIAS false");
  need(s.num_layers == 50 || s.num_layers == 101 || s.num_layers == 152, config,
       "MODEL.EXTRA.NUM_LAYERS is {}; expected 50, 101 or 152", s.num_layers);
  return fmt::format("pose_resnet{}", s.num_layers);
}

void apply_model(const S& s, const OfficialConfig& config, ModelOptions& o) {
  need(s.name == "pose_hrnet" || s.name == "pose_resnet", config,
       "MODEL.NAME is {}; expected pose_hrnet or pose_resnet", s.name);
  need(s.final_conv_kernel == 1, config, "MODEL.EXTRA.FINAL_CONV_KERNEL is {}; only 1 is supported",
       s.final_conv_kernel);
  o.model = s.name == "pose_hrnet" ? hrnet_name(s, config) : resnet_name(s, config);
  need(s.image_size.size() == 2 && s.heatmap_size.size() == 2, config,
       "MODEL.IMAGE_SIZE and HEATMAP_SIZE: expected two numbers each, width and height");
  need(int64_t{s.heatmap_size[0]} * 4 == s.image_size[0] && int64_t{s.heatmap_size[1]} * 4 == s.image_size[1], config,
       "MODEL.HEATMAP_SIZE is {}; expected a quarter of IMAGE_SIZE, which is {}", fmt::join(s.heatmap_size, " "),
       fmt::join(s.image_size, " "));
  need(s.target_type == "gaussian", config, "MODEL.TARGET_TYPE is {}; only gaussian is supported", s.target_type);
  o.fixed_size = {s.image_size[1], s.image_size[0]};
  o.joints = s.num_joints;
  o.color = s.color_rgb ? "rgb" : "bgr";
}

// Names the files of a set that find_split would not find.
void name_files(const S& s, const fs::path& root, const std::string& set, std::string& annotations,
                std::string& images) {
  const bool zip = s.data_format == "zip";
  if (s.dataset == "mpii") {
    annotations = (root / "annot" / (set + ".json")).string();
    images = (root / (zip ? "images.zip" : "images")).string();
    return;
  }
  const bool test = set.find("test") != std::string::npos;
  annotations =
      (root / "annotations" / fmt::format("{}_{}.json", test ? "image_info" : "person_keypoints", set)).string();
  images = (root / "images" / ((test ? "test2017" : set) + (zip ? ".zip" : ""))).string();
}

void apply_data(const S& s, const OfficialConfig& config, DataOptions& o) {
  need(s.dataset == "coco" || s.dataset == "mpii", config, "DATASET.DATASET is {}; expected coco or mpii", s.dataset);
  need(!s.select_data, config, "DATASET.SELECT_DATA is true; only false is supported");
  const fs::path root = fs::path(s.data_dir) / s.root;
  if (!root.empty()) o.data_path = root.string();
  o.dataset = s.dataset;
  const bool mpii = s.dataset == "mpii";
  if (s.train_set != (mpii ? "train" : "train2017"))
    name_files(s, root, s.train_set, o.train_annotations, o.train_images);
  if (s.test_set != (mpii ? "valid" : "val2017")) name_files(s, root, s.test_set, o.val_annotations, o.val_images);
  o.recipe = "official";
  o.mirror = s.flip;
  o.scale_factor = s.scale_factor;
  o.rot_factor = s.rot_factor;
  o.prob_half_body = std::max(0.0, s.prob_half_body);  // The files write -1 for never.
  o.half_body_joints = s.half_body_joints;
}

std::string output_folder(const S& s, const OfficialConfig& config, const std::string& otherwise) {
  if (s.output_dir.empty()) return otherwise;
  return (fs::path(s.output_dir) / s.dataset / s.name / fs::path(config.name).stem()).string();
}

std::string below_data_dir(const S& s, const std::string& file) {
  return file.empty() ? "" : (fs::path(s.data_dir) / file).string();
}

std::string boxes(const S& s) { return s.use_gt_bbox ? "" : below_data_dir(s, s.boxes); }

std::vector<std::string> common_remarks(const S& s) {
  std::vector<std::string> remarks;
  if (!s.dead.empty()) remarks.push_back(fmt::format("these keys have no effect here: {}", fmt::join(s.dead, ", ")));
  if (!s.strange.empty())
    remarks.push_back(
        fmt::format("these keys have no effect, here or in the original: {}", fmt::join(s.strange, ", ")));
  if (s.use_gt_bbox && !s.boxes.empty() && s.dataset == "coco") {
    remarks.emplace_back(
        "TEST.USE_GT_BBOX is true, so validation uses the annotated boxes; the published results are with the detected "
        "boxes of TEST.COCO_BBOX_FILE");
  }
  return remarks;
}

int gpus_of(const std::string& text) {
  int count = 0;
  bool digit = false;
  for (const char c : text) {
    const bool now = c >= '0' && c <= '9';
    if (now && !digit) ++count;
    digit = now;
  }
  return count;
}

std::vector<std::string> train_remarks(const S& s) {
  std::vector<std::string> remarks = common_remarks(s);
  if (s.has("TRAIN.WD") && s.wd != 0) {
    remarks.push_back(fmt::format(
        "TRAIN.WD {} has no effect: in the original only SGD uses it, and with Adam there is no weight decay here "
        "either (`weight_decay` turns it on)",
        s.wd));
  }
  if (s.ohkm) remarks.emplace_back("LOSS.USE_OHKM true has no effect: the original's training never uses that loss");
  if (const int gpus = gpus_of(s.gpus); gpus > 1) {
    remarks.push_back(
        fmt::format("GPUS {}: the original has {} people per step on {} GPUs, but a single process has {}; start it "
                    "with `devices` or `nproc`, or give `accumulate` {}",
                    s.gpus, s.batch_size * gpus, gpus, s.batch_size, gpus));
  }
  if (!s.init_weights && !s.pretrained.empty())
    remarks.emplace_back("MODEL.INIT_WEIGHTS is false, so MODEL.PRETRAINED is not read");
  const bool all = std::ranges::count(s.pretrained_layers, "*") > 0 || s.pretrained_layers.size() >= 11;
  if (!s.pretrained_layers.empty() && !all) {
    remarks.emplace_back(
        "MODEL.EXTRA.PRETRAINED_LAYERS has no effect: everything that MODEL.PRETRAINED shares with the network is "
        "loaded");
  }
  if (s.image_thre != 0 || s.oks_thre != 0.9 || s.in_vis_thre != 0.2 || s.soft_nms || !s.post_process) {
    remarks.emplace_back(
        "the validation within a training run always uses TEST.IMAGE_THRE 0, OKS_THRE 0.9, IN_VIS_THRE 0.2, SOFT_NMS "
        "false and POST_PROCESS true; `validate` follows the file");
  }
  return remarks;
}

}  // namespace

OfficialConfig open_official_config(const fs::path& file, std::vector<std::string> overrides) {
  std::error_code error;
  const auto bytes = fs::file_size(file, error);
  check_field(!error, "cfg", "{}: {}", file.string(), error.message());
  check_field(bytes <= (256 << 10), "cfg", "{}: has {} bytes; a configuration file has at most {}", file.string(),
              bytes, 256 << 10);
  return {.text = read_file(file), .name = file.string(), .overrides = std::move(overrides)};
}

std::vector<std::string> apply_official_config(const OfficialConfig& config, TrainRecipe& r) {
  const S s = read(config);
  apply_model(s, config, r);
  apply_data(s, config, r);
  need(s.optimizer == "adam", config, "TRAIN.OPTIMIZER is {}; only adam is supported", s.optimizer);
  need(s.use_target_weight, config, "LOSS.USE_TARGET_WEIGHT is false; only true is supported");
  need(!s.different_joints_weight, config, "LOSS.USE_DIFFERENT_JOINTS_WEIGHT is true; only false is supported");
  r.sigma = s.sigma;
  r.weights = s.init_weights ? below_data_dir(s, s.pretrained) : "";
  r.init = s.init_weights ? "official" : "torch";
  r.output_dir = output_folder(s, config, r.output_dir);
  r.resume = s.auto_resume ? "auto" : "";
  r.person_det = boxes(s);
  r.start_epoch = s.begin_epoch;
  r.epochs = s.end_epoch;
  r.batch_size = s.batch_size;
  r.workers = s.workers;
  r.print_freq = s.print_freq;
  r.lr = s.lr;
  r.lr_gamma = s.lr_factor;
  r.lr_steps = s.lr_step;
  r.weight_decay = 0;
  r.shuffle = s.shuffle;
  r.flip = s.flip_test;
  return train_remarks(s);
}

std::vector<std::string> apply_official_config(const OfficialConfig& config, ValidationOptions& o) {
  const S s = read(config);
  apply_model(s, config, o);
  apply_data(s, config, o);
  o.weights = below_data_dir(s, s.model_file);
  o.output_dir = output_folder(s, config, o.output_dir);
  o.person_det = boxes(s);
  o.batch_size = s.test_batch_size;
  o.workers = s.workers;
  o.decoding.flip = s.flip_test;
  if (s.flip_test) o.decoding.shift = s.shift_heatmap;
  o.decoding.codec = s.post_process ? "quarter" : "argmax";
  o.image_thre = s.image_thre;
  o.in_vis_thre = s.in_vis_thre;
  o.oks_thre = s.oks_thre;
  o.soft_nms = s.soft_nms;
  return common_remarks(s);
}

}  // namespace hr
