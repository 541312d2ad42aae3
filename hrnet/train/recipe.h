// How a pose network is trained: plain settings.
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

// Errors name the settings by these fields. What is left open (model, joints, fixed_size, color) is what the weights or
// the checkpoint say, else hrnet_w32, the skeleton's joints and 256 x 192: decide_recipe (hrnet/train/decide.h).
// A run that is resumed or only tested also takes the skeleton from the checkpoint, unless keypoints_path names one.
struct TrainRecipe : ModelOptions, DataOptions {
  std::string person_det;                     // detected boxes for validation; empty: the annotated ones
  std::string mpii_truth;                     // gt_valid.mat; empty: the one beside MPII's annotations
  std::string output_dir = "./save_weights";  // for everything that is written
  std::string resume;  // a checkpoint to go on from; "auto": last.safetensors of output_dir, or, without it, a new run
  std::string init = "auto";            // initial weights: official, torch, or auto, the recipe's
  int start_epoch = 0, epochs = 210;    // the first one, and how many in all
  int batch_size = 32;                  // people per step of each rank
  int workers = 2;                      // loader threads of each rank
  int eval_every = 1;                   // epochs from one validation to the next; the last epoch has one too
  int checkpoint_every = 0;             // steps from one checkpoint within an epoch to the next; 0: none
  int print_freq = 0;                   // steps from one line in metrics.jsonl to the next; 0: one per epoch
  std::vector<int> lr_steps{170, 200};  // epochs from which the learning rate is multiplied by lr_gamma
  double lr = 1e-3, lr_gamma = 0.1;
  // How the learning rate falls: multi-step, at lr_steps; cosine, over the whole run; flat-cosine, over its second
  // half.
  std::string schedule = "multi-step";
  double lr_final = 0.05;           // of the cosine schedules: the share of lr that is left at the end
  std::optional<int> warmup_steps;  // updates until the full rate, of the run; nullopt: as the recipe has it
  int accumulate = 1;               // steps whose gradients are averaged for one update; batch norm sees single steps
  double clip_norm = 0;             // most that the gradient's global norm may be; 0: any
  double ema = 0;                   // decay of the moving average of the weights; 0: none (nn/optimizer.h)
  std::vector<std::string> freeze;  // parameters that are not trained, by patterns for their names (`*`, `?`)
  std::string decay_on = "all";     // what weight_decay concerns: all, or filters, thus neither norms nor biases
  int patience = 0;                 // validations without a better score until the run ends early; 0: it never does
  bool shuffle = true;              // the order of the people, anew in every epoch
  std::string preset;               // the name of a set of settings that was applied, for what is told and written
  double sigma = 0;                 // of the heatmaps, in heatmap pixels; 0: 2, or 3 from an input height of 384 on
  std::optional<double> weight_decay;  // decoupled; nullopt: 1e-4 with the seed's recipe, else 0
  bool flip = true;                    // validate with the flip test
  bool drop_final_layer = false;       // of `weights`, for another number of joints
  bool no_pretrained = false;          // contradicts `weights`
  bool keep_all = false;               // a checkpoint of every epoch
  bool sync_bn = false;                // batch norm over the batches of all ranks
  bool new_global_batch = false;       // resume with another number of people per step than the run had
  bool test_only = false;              // no training: validate `weights` or `resume`
  // The skeleton that the checkpoint carries (skeleton_to_text), when a run goes on with it; decide_recipe fills it in.
  std::string skeleton;

  // Throws Error with the field and the reason if a setting has a value that cannot be, or two contradict each other.
  // Looks at no file.
  void validate() const;

  // What follows from the settings. The seed's recipe is AdamW with a decay of 1e-4 on everything; the official one is
  // Adam without decay (its WD setting never reaches Adam).
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

// Puts together what has become usual since HRNet's recipe: AdamW without decay of norms and biases, a warm-up, a
// learning rate that falls along a cosine in the second half, clipping, a moving average of the weights, UDP's crops,
// photometric changes and dropped rectangles. docs/guide/training.md says where each value comes from. `recipe`, which
// decides about the data, becomes official.
void use_modern_recipe(TrainRecipe& recipe);

// Everything that decides about the weights, for require_agreement. Paths may differ from host to host; what the files
// hold may not.
Facts facts_of(const TrainRecipe& recipe, const World& world);

}  // namespace hr
