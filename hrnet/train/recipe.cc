#include "hrnet/train/recipe.h"

#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

constexpr const char* kModern = "modern";

void one_of(const char* field, const std::string& value, std::initializer_list<std::string_view> known) {
  for (const std::string_view name : known) {
    if (name == value) return;
  }
  fail_field(field, "{}: expected one of {}", value.empty() ? "(empty)" : value, fmt::join(known, ", "));
}

void at_least(const char* field, int value, int least) {
  check_field(value >= least, field, "{}: expected at least {}", value, least);
}

void in_range(const char* field, double value, double low, double high) {
  check_field(value >= low && value <= high, field, "{}: expected {} to {}", value, low, high);  // NaN is refused too
}

}  // namespace

void TrainRecipe::validate() const {
  check_field(weights.empty() || !no_pretrained, "weights",
              "{} and `no_pretrained` contradict each other; give one of them", weights);
  check_field(weights.empty() || resume.empty(), "weights",
              "starts a new run and `resume` continues one; give one of them");
  check_field(!drop_final_layer || !weights.empty(), "drop_final_layer",
              "leaves out the final layer of `weights`, but there are none; give `weights` too");
  check_field(!test_only || !weights.empty() || !resume.empty(), "test_only",
              "needs a model to test: give `weights` or `resume`");
  one_of("recipe", recipe, {"official", "seed"});
  one_of("init", init, {"auto", "official", "torch"});
  one_of("codec", codec, {"quarter", "dark", "udp"});
  one_of("dataset", dataset, {"auto", "coco", "mpii", "crowdpose"});
  if (!color.empty()) one_of("color", color, {"rgb", "bgr"});
  if (!on_bad_sample.empty()) one_of("on_bad_sample", on_bad_sample, {"fail", "skip"});
  if (joints) at_least("joints", *joints, 1);
  for (const int side : fixed_size.value_or(std::array{32, 32})) {
    check_field(side >= 32 && side <= 4096 && side % 32 == 0, "fixed_size",
                "{} {}: expected multiples of 32 from 32 to 4096 (the network halves its input five times)", input_h(),
                input_w());
  }
  at_least("epochs", epochs, 1);
  check_field(start_epoch >= 0 && start_epoch < epochs, "start_epoch", "{}: expected 0 to {}, `epochs` is {}",
              start_epoch, epochs - 1, epochs);
  at_least("batch_size", batch_size, 1);
  at_least("workers", workers, 0);
  at_least("threads", threads, 0);
  at_least("eval_every", eval_every, 1);
  at_least("checkpoint_every", checkpoint_every, 0);
  at_least("cache_mib", cache_mib, 0);
  check_field(lr > 0 && std::isfinite(lr), "lr", "{}: expected a number above 0", lr);
  one_of("schedule", schedule, {"multi-step", "cosine", "flat-cosine"});
  one_of("decay_on", decay_on, {"all", "filters"});
  in_range("lr_final", lr_final, 0, 1);
  if (warmup_steps) at_least("warmup_steps", *warmup_steps, 0);
  at_least("accumulate", accumulate, 1);
  check_field(clip_norm >= 0 && std::isfinite(clip_norm), "clip_norm", "{}: expected a number of 0 or more", clip_norm);
  check_field(ema >= 0 && ema < 1, "ema", "{}: expected a decay from 0 to below 1, such as 0.9998", ema);
  at_least("patience", patience, 0);
  check_field(std::isfinite(lr_gamma), "lr_gamma", "{}: expected a finite number", lr_gamma);
  check_field(std::isfinite(decay()), "weight_decay", "{}: expected a finite number", decay());
  check_field(std::isfinite(sigma), "sigma", "{}: expected a finite number", sigma);
  in_range("scale_factor", scale_factor, 0, 0.9);
  in_range("rot_factor", rot_factor, 0, 90);
  in_range("prob_half_body", prob_half_body, 0, 1);
  in_range("photometric", photometric, 0, 1);
  in_range("coarse_dropout", coarse_dropout, 0, 1);
  in_range("max_megapixels", max_megapixels, 0.001, 16384);
}

Schedule TrainRecipe::rates() const {
  const auto shape = schedule == "cosine"        ? Schedule::Shape::cosine
                     : schedule == "flat-cosine" ? Schedule::Shape::flat_cosine
                                                 : Schedule::Shape::multi_step;
  const bool modern = preset == kModern;
  return {.lr = lr,
          .gamma = lr_gamma,
          .milestones = lr_steps,
          .warmup = is_seed() && !warmup_steps,
          .shape = shape,
          .epochs = epochs,
          .final_share = lr_final,
          .warmup_steps = warmup_steps.value_or(modern ? 1000 : 0),
          .short_warmup = modern && !warmup_steps};
}

void use_modern_recipe(TrainRecipe& r) {
  r.preset = kModern;
  r.recipe = "official";
  r.init = "torch";
  r.codec = "udp";
  r.schedule = "flat-cosine";
  r.lr_final = 0.05;
  r.weight_decay = 0.05;
  r.decay_on = "filters";
  r.clip_norm = 1;
  r.ema = 0.9998;
  r.photometric = 0.5;
  r.coarse_dropout = 0.5;
}

Init TrainRecipe::initial_weights() const {
  if (!resume.empty()) return Init::none;
  return init == "torch" || (init == "auto" && is_seed()) ? Init::torch : Init::official;
}

DatasetOptions TrainRecipe::dataset_options(bool augment, bool bgr) const {
  return hr::dataset_options(*this, input_h(), input_w(), heatmap_sigma(sigma, input_h()), augment, bgr);
}

Facts facts_of(const TrainRecipe& r, const World& world) {
  const auto text = [](const auto& v) { return fmt::format("{}", v); };
  const auto switched = [](bool on) { return std::string(on ? "on" : "off"); };
  const double timeout = world.control == nullptr ? 0 : std::chrono::duration<double>(world.control->timeout()).count();
  return {{"`model`", r.model},
          {"`recipe`", r.recipe},
          {"`init`", r.init},
          {"`joints`", r.joints ? text(*r.joints) : ""},
          {"`fixed_size`", r.fixed_size ? fmt::format("{}", fmt::join(*r.fixed_size, " ")) : ""},
          {"`color`", r.color},
          {"`start_epoch`", text(r.start_epoch)},
          {"`epochs`", text(r.epochs)},
          {"`batch_size`", text(r.batch_size)},
          {"`lr`", text(r.lr)},
          {"`lr_steps`", fmt::format("{}", fmt::join(r.lr_steps, " "))},
          {"`lr_gamma`", text(r.lr_gamma)},
          {"`weight_decay`", r.weight_decay ? text(*r.weight_decay) : ""},
          {"`schedule`", fmt::format("{} to {}", r.schedule, r.lr_final)},
          {"`warmup_steps`", r.warmup_steps ? text(*r.warmup_steps) : r.preset},
          {"`accumulate`", text(r.accumulate)},
          {"`clip_norm`", text(r.clip_norm)},
          {"`ema`", text(r.ema)},
          {"`freeze`", fmt::format("{}", fmt::join(r.freeze, " "))},
          {"`decay_on`", r.decay_on},
          {"`patience`", text(r.patience)},
          {"`shuffle`", switched(r.shuffle)},
          {"`seed`", text(r.seed)},
          {"`amp`", switched(r.amp)},
          {"`tf32`", switched(r.tf32)},
          {"`exact`", switched(r.exact)},
          {"`sync_bn`", switched(r.sync_bn)},
          {"`no_augment`", switched(r.no_augment)},
          {"`scale_factor`", text(r.scale_factor)},
          {"`rot_factor`", text(r.rot_factor)},
          {"`prob_half_body`", text(r.prob_half_body)},
          {"`mirror`", switched(r.mirror)},
          {"`half_body_joints`", text(r.half_body_joints)},
          {"`photometric`", text(r.photometric)},
          {"`coarse_dropout`", text(r.coarse_dropout)},
          {"`codec`", r.codec},
          {"`sigma`", text(r.sigma)},
          {"`flip`", switched(r.flip)},
          {"`eval_every`", text(r.eval_every)},
          {"`test_only`", switched(r.test_only)},
          {"`device`", r.device.substr(0, r.device.find(':'))},
          {"`dist_timeout`", text(timeout)},
          {"`drop_final_layer`", switched(r.drop_final_layer)},
          {"`new_global_batch`", switched(r.new_global_batch)},
          {"the contents of `weights`", hash_of_file(r.weights)},
          {"the contents of `resume`", hash_of_file(r.resume)},
          {"the contents of `keypoints_path`", hash_of_file(r.keypoints_path)}};
}

}  // namespace hr
