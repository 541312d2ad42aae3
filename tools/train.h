// Training: epochs over a COCO-layout dataset, validation, checkpoints, plots.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tools/datasets.h"
#include "tools/infer.h"

namespace hr {

// model, joints and fixed_size: what the weights or the checkpoint say, else hrnet_w32, the skeleton's joints, 256 x
// 192.
struct TrainOptions : ModelOptions, DataOptions {
  std::string person_det, output_dir = "./save_weights", resume, init = "auto";
  int start_epoch = 0, epochs = 210, batch_size = 32, workers = 2, eval_every = 1;
  std::vector<int> lr_steps{170, 200};
  double lr = 1e-3, lr_gamma = 0.1, sigma = 0;
  std::optional<double> weight_decay;
  bool drop_final_layer = false, keep_all = false, no_pretrained = false, flip = true;
};
void add_train_options(CLI::App& app, TrainOptions& options);

// Exit status 0; 130 after Ctrl-C, when a checkpoint has been written and the message says how to go on.
int train(const TrainOptions& options);

}  // namespace hr
