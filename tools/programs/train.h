// Training: epochs over a COCO-layout dataset, validation, checkpoints, plots.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "hrnet/train/pose_step.h"
#include "tools/launch/rank_options.h"
#include "tools/programs/datasets.h"
#include "tools/programs/infer.h"

namespace hr {

// model, joints and fixed_size: what the weights or the checkpoint say, else hrnet_w32, the skeleton's joints, 256 x
// 192. --resume and --test-only also take the skeleton from the checkpoint, unless --keypoints-path names one.
struct TrainOptions : ModelOptions, DataOptions {
  std::string person_det, mpii_truth, output_dir = "./save_weights", resume, init = "auto";
  int start_epoch = 0, epochs = 210, batch_size = 32, workers = 2, eval_every = 1;
  std::vector<int> lr_steps{170, 200};
  double lr = 1e-3, lr_gamma = 0.1, sigma = 0;
  std::optional<double> weight_decay;
  bool drop_final_layer = false, keep_all = false, no_pretrained = false, flip = true;
  // Of several ranks.
  RankOptions ranks;
  int checkpoint_every = 0, print_freq = 0;
  bool sync_bn = false, new_global_batch = false, test_only = false;
  // No flag: the skeleton that the checkpoint carries (skeleton_to_text), when a run goes on with it. Rank 0 fills it
  // in.
  std::string skeleton;
};
void add_train_options(CLI::App& app, TrainOptions& options);

// What the loader made, as the training step takes it.
TrainBatch train_batch(const Batch& batch);

// What --nproc's restarts resume.
inline fs::path last_checkpoint(const TrainOptions& o) { return fs::path(o.output_dir) / "last.safetensors"; }

// Exit status 0; 130 after Ctrl-C (143 after SIGTERM), when a checkpoint has been written and the message says how to
// go on. Of several ranks the first one prints and writes; all return the same.
int train(const TrainOptions& options, World& world);
int train(const TrainOptions& options);  // by itself

}  // namespace hr
