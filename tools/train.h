// Training: epochs over a COCO-layout dataset, validation, checkpoints, plots.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace hr {

struct TrainOptions {
  std::string data_path = "/data/coco2017", keypoints_path, person_det, output_dir = "./save_weights", resume, weights;
  std::string train_annotations, train_images, val_annotations, val_images;
  std::string model = "hrnet_w32", recipe = "official", init = "auto", device = "cpu";
  std::array<int, 2> fixed_size{256, 192};
  int joints = 17, start_epoch = 0, epochs = 210, batch_size = 32, workers = 2, threads = 0, eval_every = 1,
      cache_mib = 2048;
  std::vector<int> lr_steps{170, 200};
  double lr = 1e-3, lr_gamma = 0.1, sigma = 0, scale_factor = 0.35, rot_factor = 45, prob_half_body = 0.3;
  std::optional<double> weight_decay;
  uint64_t seed = 0;
  bool amp = false, keep_all = false, no_pretrained = false, no_augment = false, flip = true;
};
void add_train_options(CLI::App& app, TrainOptions& options);

// Exit status 0; 130 after Ctrl-C, when a checkpoint has been written and the message says how to go on.
int train(const TrainOptions& options);

}  // namespace hr
