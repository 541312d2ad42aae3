#include "tools/cli/cli.h"
#include "tools/cli/data_options.h"
#include "tools/cli/model_options.h"
#include "tools/programs/train.h"

namespace hr {
namespace {

// Adds the flags of the settings that a recipe may have in addition.
void add_recipe_extras(CLI::App& app, TrainOptions& o) {
  app.add_option("--schedule", o.schedule,
                 "how the learning rate falls: multi-step (at --lr-steps), cosine (over the whole run) or flat-cosine "
                 "(over its second half)")
      ->check(CLI::IsMember({"multi-step", "cosine", "flat-cosine"}));
  app.add_option("--lr-final", o.lr_final, "cosine schedules: share of --lr that is left at the end")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--warmup-steps", o.warmup_steps,
                 "number of updates over which the learning rate rises linearly from a thousandth [default: 0; seed: "
                 "the first epoch, at most 1000; modern: 1000, at most a twentieth of the run]")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--accumulate", o.accumulate,
                 "number of steps whose gradients are averaged for one update; this acts as a larger batch, except "
                 "that batch norm sees single steps")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--clip-norm", o.clip_norm,
                 "limit of the norm of the whole gradient; larger ones are scaled down to it; 0: no limit")
      ->type_name("X")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--ema", o.ema,
                 "decay of a moving average of weights and running statistics, which is validated and saved as "
                 "best.safetensors; 0: none")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--freeze", o.freeze,
                 "patterns for the names of parameters that are not trained, such as 'layer1.*' 'stage2.*' (in quotes; "
                 "* stands for any characters, ? for one)")
      ->type_name("PATTERN...");
  app.add_option("--decay-on", o.decay_on, "what --weight-decay applies to: all, or filters (neither norms nor biases)")
      ->check(CLI::IsMember({"all", "filters"}));
  app.add_option("--patience", o.patience,
                 "number of validations without a better score after which the run ends early; 0: it never does")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--shuffle,!--no-shuffle", o.shuffle,
               "show the people in a new order in every epoch (on by default; --no-shuffle turns it off)");
}

// Drops the settings of a configuration file about the start of the run that contradict the flags.
void prefer_flags(const CLI::App& app, TrainOptions& o) {
  if (o.config.file.empty()) return;
  const auto given = [&app](const char* flag) { return app.get_option(flag)->count() > 0; };
  if (!given("--weights") && (given("--no-pretrained") || (given("--resume") && o.resume != "auto"))) o.weights.clear();
  if (!given("--resume") && (o.test_only || given("--start-epoch"))) o.resume.clear();
}

}  // namespace

void add_train_options(CLI::App& app, TrainOptions& o) {
  describe(app,
           "Trains a pose network on a dataset in COCO's layout and validates it after every epoch. Writes the last "
           "and the best weights, a line of results per epoch, the resolved configuration and plots to --output-dir.",
           "train --data-path demo/data --model hrnet_w8 --fixed-size 128 96 --epochs 10 --lr-steps 7 9 --output-dir "
           "demo/run");
  add_config_option(app, o.config, [&o](const OfficialConfig& config) { return apply_official_config(config, o); });
  app.parse_complete_callback([&app, &o] { prefer_flags(app, o); });
  add_data_options(app, o, DataFlags::training, [&o] { use_modern_recipe(o); });
  app.add_option("--mpii-truth", o.mpii_truth,
                 "MPII: gt_valid.mat, the ground truth of PCKh [default: beside the validation annotations]")
      ->type_name("FILE");
  app.add_option("--person-det", o.person_det,
                 "COCO result file of detected boxes, used for validation instead of ground-truth boxes")
      ->type_name("FILE");
  app.add_option("--output-dir", o.output_dir, "folder for all output files")->type_name("DIR");
  app.add_option("--resume", o.resume,
                 "checkpoint to continue from: last.safetensors continues exactly where it stopped (auto: the one in "
                 "--output-dir, if there is one); a PyTorch checkpoint of the seed, the official project or "
                 "simple-HRNet continues after its last epoch")
      ->type_name("FILE");
  app.add_option("--start-epoch", o.start_epoch,
                 "number of the first epoch, which selects its place in the schedule and its random numbers")
      ->type_name("N");
  app.add_option("--epochs", o.epochs, "number of epochs in total")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--lr-steps", o.lr_steps, "epochs after which the learning rate is multiplied by --lr-gamma")
      ->type_name("N...");
  app.add_option("--lr-gamma", o.lr_gamma, "factor of the learning rate at each of --lr-steps")->type_name("X");
  app.add_option("--lr", o.lr, "learning rate of the first epoch")->type_name("X")->check(CLI::PositiveNumber);
  app.add_option("--wd,--weight-decay", o.weight_decay,
                 "decoupled weight decay [default: 1e-4 with --recipe seed, 0.05 with modern, else 0]")
      ->type_name("X");
  add_recipe_extras(app, o);
  app.add_option("-b,--batch-size", o.batch_size, "people per step in each rank")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  add_model_options(app, o);
  app.add_option("--weights", o.weights,
                 "weights to start from: safetensors or .pth of the same network, an ImageNet backbone or, for "
                 "pose_resnet, a torchvision ResNet")
      ->type_name("FILE");
  app.add_flag("--drop-final-layer", o.drop_final_layer,
               "leave out the final layer of --weights, for another number of joints");
  app.add_flag("--no-pretrained", o.no_pretrained, "start from random weights, as without --weights");
  app.add_option("-j,--workers", o.workers, "loader threads in each rank; the batches do not depend on it")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--init", o.init,
                 "random initial weights: official (N(0, 0.001), for use with pretrained weights), torch (the default "
                 "of PyTorch's layers, better from scratch) or auto (the recipe's)")
      ->check(CLI::IsMember({"auto", "official", "torch"}));
  app.add_option("--eval-every", o.eval_every, "validate after every N-th epoch, and after the last")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--checkpoint-every", o.checkpoint_every,
                 "write last.safetensors also after every N-th step; 0: only after every epoch")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--print-freq", o.print_freq,
                 "print a line after every N-th step, and write one to metrics.jsonl; 0: after every epoch")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--test-only", o.test_only, "only validate the model of --weights or --resume");
  add_rank_options(app, o.ranks);
  app.add_flag("--sync-bn", o.sync_bn,
               "compute batch norm over the batches of all ranks, as one process with the whole batch would");
  app.add_flag("--new-global-batch", o.new_global_batch,
               "allow --resume with another number of people per step (summed over the ranks) than before");
  app.add_flag("--keep-all", o.keep_all, "keep a checkpoint of every epoch");
  app.add_flag("--flip,!--no-flip", o.flip, "validate with the flip test (on by default; --no-flip turns it off)");
  app.add_option("--sigma", o.sigma,
                 "sigma of the target heatmaps in heatmap pixels; 0: 2, or 3 from an input height of 384 on")
      ->type_name("X");
}

}  // namespace hr
