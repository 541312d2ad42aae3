// The keys of the official project's configuration files with their types and defaults (lib/config/default.py).
#pragma once
#include <set>
#include <string>
#include <vector>

#include "hrnet/train/official_yaml.h"

namespace hr {

struct OfficialSettings {
  std::string output_dir, data_dir, gpus = "(0,)";
  int workers = 4, print_freq = 20;
  bool auto_resume = false;

  std::string name = "pose_hrnet", pretrained, target_type = "gaussian";
  bool init_weights = true;
  int num_joints = 17;
  std::vector<int> image_size{256, 256}, heatmap_size{64, 64};  // Width, height.
  double sigma = 2;
  int final_conv_kernel = 1;
  struct Stage {
    int modules = 0, branches = 0;
    std::string block, fuse = "SUM";
    std::vector<int> blocks, channels;
  };
  Stage stage2, stage3, stage4;
  std::vector<std::string> pretrained_layers;
  int num_layers = 50, deconv_layers = 3;
  bool deconv_with_bias = false;
  std::vector<int> deconv_filters{256, 256, 256}, deconv_kernels{4, 4, 4};

  bool use_target_weight = true, different_joints_weight = false, ohkm = false;

  std::string root, dataset = "mpii", train_set = "train", test_set = "valid", data_format = "jpg";
  bool select_data = false, flip = true, color_rgb = false;
  double scale_factor = 0.25, rot_factor = 30, prob_half_body = 0;
  int half_body_joints = 8;

  double lr = 0.001, lr_factor = 0.1, wd = 0.0001;
  std::vector<int> lr_step{90, 110};
  std::string optimizer = "adam";
  int begin_epoch = 0, end_epoch = 140, batch_size = 32;
  bool shuffle = true;

  int test_batch_size = 32;
  bool flip_test = false, post_process = false, shift_heatmap = false, use_gt_bbox = false, soft_nms = false;
  double image_thre = 0.1, oks_thre = 0.5, in_vis_thre = 0;
  std::string boxes, model_file;

  std::set<std::string> given;       // Keys that the file or an override contains.
  std::vector<std::string> dead;     // Those of them that are known but have no effect here.
  std::vector<std::string> strange;  // Unknown keys below MODEL.EXTRA, where the original accepts any.
  bool has(const std::string& key) const { return given.contains(key); }
};

// Throws Error with the field cfg if a key is unknown (with the nearest one that is known) or a value has another type.
OfficialSettings read_official_settings(const std::vector<OfficialEntry>& entries);

}  // namespace hr
