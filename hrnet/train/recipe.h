// The settings with which a pose network is trained.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/comm/world.h"
#include "data/find_dataset.h"
#include "hrnet/infer/decoding.h"
#include "hrnet/model/model.h"
#include "hrnet/model/model_options.h"
#include "nn/optimizer.h"

namespace hr {

// Errors name a setting by its field. Settings that are left open (model, joints, fixed_size, color) are taken from the
// weights or the checkpoint; without these they are hrnet_w32, the skeleton's joints and 256 x 192. decide_recipe
// (hrnet/train/decide.h) fills them in. A run that is resumed or only tested also takes the skeleton from the
// checkpoint, unless keypoints_path names one.
struct TrainRecipe : ModelOptions, DataOptions {
  std::string person_det;                     // Detected boxes for validation; empty: annotated boxes.
  std::string mpii_truth;                     // gt_valid.mat; empty: the one beside MPII's annotations.
  std::string output_dir = "./save_weights";  // Folder for everything that is written.
  std::string resume;         // Checkpoint to continue from; "auto": last.safetensors in output_dir, if it exists.
  std::string init = "auto";  // Initial weights: official, torch, or auto (as the recipe has them).
  int start_epoch = 0, epochs = 210;    // The first epoch, and the number of epochs of the run.
  int batch_size = 32;                  // People per step on each rank.
  int workers = 2;                      // Loader threads on each rank.
  int eval_every = 1;                   // Epochs from one validation to the next; the last epoch is always validated.
  int checkpoint_every = 0;             // Steps between checkpoints within an epoch; 0: none.
  int print_freq = 0;                   // Steps between lines of metrics.jsonl within an epoch; 0: one per epoch.
  std::vector<int> lr_steps{170, 200};  // Epochs from which the learning rate is multiplied by lr_gamma.
  double lr = 1e-3, lr_gamma = 0.1;
  // How the learning rate falls: at lr_steps (multi-step), over the whole run (cosine) or over its second half
  // (flat-cosine).
  std::string schedule = "multi-step";
  double lr_final = 0.05;           // For the cosine schedules: the share of lr that is left at the end of the run.
  std::optional<int> warmup_steps;  // Updates of the run until the full rate is reached; nullopt: as the recipe has it.
  int accumulate = 1;               // Steps whose gradients are averaged for one update; batch norm sees single steps.
  double clip_norm = 0;             // Limit of the gradient's global norm; 0: none.
  double ema = 0;                   // Decay of the moving average of the weights (nn/optimizer.h); 0: no average.
  std::vector<std::string> freeze;  // Patterns (`*`, `?`) for the names of parameters that are not trained.
  std::string decay_on = "all";     // What weight_decay applies to: all, or filters (neither norms nor biases).
  int patience = 0;     // Validations without a better score after which the run ends early; 0: it never does.
  bool shuffle = true;  // Draw a new order of the people for every epoch.
  std::string preset;   // "modern" after use_modern_recipe: shown in reports; warmup_steps then has another default.
  double sigma = 0;     // Of the target heatmaps, in heatmap pixels; 0: 2, or 3 from an input height of 384 on.
  std::optional<double> weight_decay;  // Decoupled; nullopt: 1e-4 with the seed's recipe, else 0.
  bool flip = true;                    // Validate with the flip test.
  bool drop_final_layer = false;       // Leave out the final layer of `weights`, for another number of joints.
  bool no_pretrained = false;          // Insists on a start without `weights`.
  bool keep_all = false;               // Keep a checkpoint of every epoch.
  bool sync_bn = false;                // Batch norm over the batches of all ranks.
  bool new_global_batch = false;       // Allow resuming with another number of people per step.
  bool test_only = false;              // Do not train, only validate `weights` or `resume`.
  // The skeleton that the checkpoint carries (skeleton_to_text), if the run continues with it. decide_recipe fills it
  // in.
  std::string skeleton;

  // Throws Error with the field and the reason if a setting is impossible or two settings contradict each other. Reads
  // no file.
  void validate() const;

  // Settings that follow from others. The seed's recipe is AdamW with a decay of 1e-4 on all parameters. The official
  // recipe is Adam without decay, since its WD setting never reaches Adam.
  bool is_seed() const { return recipe == "seed"; }
  double decay() const { return weight_decay.value_or(is_seed() ? 1e-4 : 0.0); }
  Schedule rates() const;
  OptimizerExtras extras() const { return {.decay_vectors = decay_on == "all", .clip_norm = clip_norm, .ema = ema}; }
  Init initial_weights() const;
  int input_h() const { return fixed_size.value_or(std::array{256, 192})[0]; }
  int input_w() const { return fixed_size.value_or(std::array{256, 192})[1]; }
  Decoding decoding() const { return choose_decoding({.flip = flip}, codec, "`codec`", input_h()); }
  DatasetOptions dataset_options(bool augment, bool bgr) const;
};

// Sets the choices that have become common since HRNet's recipe was published: AdamW without decay on norms and biases,
// a warm-up, a learning rate that falls along a cosine in the second half, clipping, a moving average of the weights,
// UDP's crops, photometric changes and dropped rectangles. docs/guide/training.md gives the source of each value.
// `recipe`, which selects how the data is prepared, becomes official.
void use_modern_recipe(TrainRecipe& recipe);

// Returns everything that influences the weights, for require_agreement(). Files are represented by hashes, because
// their paths may differ between hosts but their contents may not.
Facts facts_of(const TrainRecipe& recipe, const World& world);

}  // namespace hr
