#include "tools/cli/cli.h"
#include "tools/cli/data_options.h"
#include "tools/cli/model_options.h"
#include "tools/programs/train.h"

namespace hr {
namespace {

// What may be added to the recipe.
void add_recipe_extras(CLI::App& app, TrainOptions& o) {
  app.add_option("--schedule", o.schedule,
                 "how the learning rate falls: multi-step (at --lr-steps), cosine (over the whole run) or flat-cosine "
                 "(over its second half)")
      ->check(CLI::IsMember({"multi-step", "cosine", "flat-cosine"}));
  app.add_option("--lr-final", o.lr_final, "cosine schedules: share of --lr that is left at the end")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--warmup-steps", o.warmup_steps,
                 "updates over which the learning rate rises linearly from a thousandth [default: 0; seed: the first "
                 "epoch, at most 1000; modern: 1000, at most a twentieth of the run]")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--accumulate", o.accumulate,
                 "steps whose gradients are averaged for one update: as a batch of so many times the size, but for "
                 "batch norm, which sees single steps")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--clip-norm", o.clip_norm, "most that the norm of the whole gradient may be; 0: any")
      ->type_name("X")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--ema", o.ema,
                 "decay of a moving average of weights and running statistics, which is validated and saved as "
                 "best.safetensors; 0: none")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--freeze", o.freeze,
                 "parameters that are not trained: patterns for their names, such as 'layer1.*' 'stage2.*' (quoted, * "
                 "stands for anything)")
      ->type_name("PATTERN...");
  app.add_option("--decay-on", o.decay_on, "what --weight-decay concerns: all, or filters (neither norms nor biases)")
      ->check(CLI::IsMember({"all", "filters"}));
  app.add_option("--patience", o.patience, "end after so many validations without a better score; 0: never")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--shuffle,!--no-shuffle", o.shuffle,
               "show the people in a new order in every epoch (on by default; --no-shuffle turns it off)");
}

// What a configuration file says about where a run begins gives way to flags that say otherwise.
void prefer_flags(const CLI::App& app, TrainOptions& o) {
  if (o.config.file.empty()) return;
  const auto given = [&app](const char* flag) { return app.get_option(flag)->count() > 0; };
  if (!given("--weights") && (given("--no-pretrained") || (given("--resume") && o.resume != "auto"))) o.weights.clear();
  if (!given("--resume") && (o.test_only || given("--start-epoch"))) o.resume.clear();
}

}  // namespace

void add_train_options(CLI::App& app, TrainOptions& o) {
  describe(app,
           "Trains a pose network on a COCO-layout dataset and validates it after every epoch. Writes last and best "
           "weights, a results line "
           "per epoch, the resolved configuration and plots to --output-dir.",
           "train --data-path demo/data --model hrnet_w8 --fixed-size 128 96 --epochs 10 --lr-steps 7 9 --output-dir "
           "demo/run");
  add_config_option(app, o.config, [&o](const OfficialConfig& config) { return apply_official_config(config, o); });
  app.parse_complete_callback([&app, &o] { prefer_flags(app, o); });
  add_data_options(app, o, DataFlags::training, [&o] { use_modern_recipe(o); });
  app.add_option("--mpii-truth", o.mpii_truth,
                 "MPII: gt_valid.mat, which PCKh is measured with [default: beside the validation annotations]")
      ->type_name("FILE");
  app.add_option("--person-det", o.person_det, "detected boxes for validation instead of ground-truth boxes")
      ->type_name("FILE");
  app.add_option("--output-dir", o.output_dir, "folder for everything that is written")->type_name("DIR");
  app.add_option("--resume", o.resume,
                 "checkpoint to continue: last.safetensors, exactly where it stopped (auto: the one in --output-dir, "
                 "if there is one); or a PyTorch checkpoint of the seed, the "
                 "official project or simple-HRNet, after its last epoch")
      ->type_name("FILE");
  app.add_option("--start-epoch", o.start_epoch, "number of the first epoch, for the schedule and the random streams")
      ->type_name("N");
  app.add_option("--epochs", o.epochs, "epochs in all")->type_name("N")->check(CLI::PositiveNumber);
  app.add_option("--lr-steps", o.lr_steps, "epochs from which the learning rate is multiplied by --lr-gamma")
      ->type_name("N...");
  app.add_option("--lr-gamma", o.lr_gamma, "factor at each of --lr-steps")->type_name("X");
  app.add_option("--lr", o.lr, "learning rate")->type_name("X")->check(CLI::PositiveNumber);
  app.add_option("--wd,--weight-decay", o.weight_decay,
                 "decoupled weight decay [default: 1e-4 with --recipe seed, 0.05 with modern, else 0]")
      ->type_name("X");
  add_recipe_extras(app, o);
  app.add_option("-b,--batch-size", o.batch_size, "people per step, of each rank")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  add_model_options(app, o);
  app.add_option(
         "--weights", o.weights,
         "pretrained start: safetensors or .pth of the same network, an ImageNet backbone or, for pose_resnet, a "
         "torchvision ResNet")
      ->type_name("FILE");
  app.add_flag("--drop-final-layer", o.drop_final_layer,
               "leave out the final layer of --weights, for another number of joints");
  app.add_flag("--no-pretrained", o.no_pretrained, "start from random weights (what happens without --weights)");
  app.add_option("-j,--workers", o.workers, "loader threads of each rank; any number gives the same batches")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--init", o.init,
                 "initial weights: official (N(0, 0.001), meant to be loaded over), torch (the layers' default, better "
                 "from scratch) or auto "
                 "(the recipe's)")
      ->check(CLI::IsMember({"auto", "official", "torch"}));
  app.add_option("--eval-every", o.eval_every, "validate after every N-th epoch, and after the last")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--checkpoint-every", o.checkpoint_every,
                 "write last.safetensors after every N-th step too; 0: after every epoch")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--print-freq", o.print_freq,
                 "print a line after every N-th step, and write one to metrics.jsonl; 0: after every epoch")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--test-only", o.test_only, "validate --weights or --resume, and nothing else");
  add_rank_options(app, o.ranks);
  app.add_flag("--sync-bn", o.sync_bn, "batch norm over the batches of all ranks: trains as one process would");
  app.add_flag("--new-global-batch", o.new_global_batch,
               "resume with another number of people per step than the run had, all ranks together");
  app.add_flag("--keep-all", o.keep_all, "keep a checkpoint of every epoch");
  app.add_flag("--flip,!--no-flip", o.flip, "validate with the flip test (on by default; --no-flip turns it off)");
  app.add_option("--sigma", o.sigma, "heatmap sigma in heatmap pixels [0: 2, or 3 from an input height of 384 on]")
      ->type_name("X");
}

}  // namespace hr
