// The settings of a training run, and what a checkpoint tells about one.
#include "hrnet/train/recipe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"
#include "core/io/safetensors.h"
#include "hrnet/train/checkpoint.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

TrainRecipe two_epochs() {
  TrainRecipe r;
  r.epochs = 2;
  return r;
}

TEST(TrainRecipe, ASettingThatCannotBeIsNamedByItsField) {
  const std::vector<std::pair<const char*, std::function<void(TrainRecipe&)>>> cases = {
      {"epochs", [](auto& r) { r.epochs = 0; }},
      {"start_epoch", [](auto& r) { r.start_epoch = 2; }},
      {"start_epoch", [](auto& r) { r.start_epoch = -1; }},
      {"batch_size", [](auto& r) { r.batch_size = 0; }},
      {"workers", [](auto& r) { r.workers = -1; }},
      {"eval_every", [](auto& r) { r.eval_every = 0; }},
      {"checkpoint_every", [](auto& r) { r.checkpoint_every = -1; }},
      {"lr", [](auto& r) { r.lr = 0; }},
      {"lr", [](auto& r) { r.lr = NAN; }},
      {"lr_gamma", [](auto& r) { r.lr_gamma = INFINITY; }},
      {"weight_decay", [](auto& r) { r.weight_decay = NAN; }},
      {"schedule", [](auto& r) { r.schedule = "linear"; }},
      {"lr_final", [](auto& r) { r.lr_final = 1.5; }},
      {"warmup_steps", [](auto& r) { r.warmup_steps = -1; }},
      {"accumulate", [](auto& r) { r.accumulate = 0; }},
      {"clip_norm", [](auto& r) { r.clip_norm = NAN; }},
      {"ema", [](auto& r) { r.ema = 1; }},
      {"decay_on", [](auto& r) { r.decay_on = "biases"; }},
      {"patience", [](auto& r) { r.patience = -1; }},
      {"joints", [](auto& r) { r.joints = 0; }},
      {"fixed_size",
       [](auto& r) {
         r.fixed_size = {100, 64};
       }},
      {"fixed_size",
       [](auto& r) {
         r.fixed_size = {64, 8192};
       }},
      {"recipe", [](auto& r) { r.recipe = "mine"; }},
      {"init", [](auto& r) { r.init = "zeros"; }},
      {"codec", [](auto& r) { r.codec = "simcc"; }},
      {"color", [](auto& r) { r.color = "grey"; }},
      {"on_bad_sample", [](auto& r) { r.on_bad_sample = "ignore"; }},
      {"rot_factor", [](auto& r) { r.rot_factor = 91; }},
      {"scale_factor", [](auto& r) { r.scale_factor = NAN; }},
      {"weights", [](auto& r) { r.weights = "a.pth", r.resume = "b.safetensors"; }},
      {"weights", [](auto& r) { r.weights = "a.pth", r.no_pretrained = true; }},
      {"drop_final_layer", [](auto& r) { r.drop_final_layer = true; }},
      {"test_only", [](auto& r) { r.test_only = true; }},
  };
  TrainRecipe good = two_epochs();
  good.validate();
  for (const auto& [field, spoil] : cases) {
    TrainRecipe r = two_epochs();
    spoil(r);
    try {
      r.validate();
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.field(), field) << e.what();
      EXPECT_TRUE(test::contains(e.what(), fmt::format("`{}` ", field))) << e.what();
    }
  }
}

// Settings that differ between ranks would give each rank other crops, targets or updates.
TEST(TrainRecipe, RanksCompareEverySettingThatChangesTheWeights) {
  const World alone = lone_world();
  const std::vector<std::pair<const char*, std::function<void(TrainRecipe&)>>> changes = {
      {"codec", [](auto& r) { r.codec = "udp"; }},
      {"photometric", [](auto& r) { r.photometric = 0.5; }},
      {"coarse_dropout", [](auto& r) { r.coarse_dropout = 0.5; }},
      {"mirror", [](auto& r) { r.mirror = false; }},
      {"half_body_joints", [](auto& r) { r.half_body_joints = 6; }},
      {"shuffle", [](auto& r) { r.shuffle = false; }},
      {"schedule", [](auto& r) { r.schedule = "cosine"; }},
      {"schedule", [](auto& r) { r.lr_final = 0; }},
      {"warmup_steps", [](auto& r) { r.warmup_steps = 0; }},
      {"warmup_steps", [](auto& r) { r.preset = "modern"; }},
      {"accumulate", [](auto& r) { r.accumulate = 2; }},
      {"clip_norm", [](auto& r) { r.clip_norm = 1; }},
      {"ema", [](auto& r) { r.ema = 0.9; }},
      {"freeze", [](auto& r) { r.freeze = {"conv1.*"}; }},
      {"decay_on", [](auto& r) { r.decay_on = "filters"; }},
      {"patience", [](auto& r) { r.patience = 3; }},
      {"exact", [](auto& r) { r.exact = true; }},
  };
  const Facts before = facts_of(two_epochs(), alone);
  for (const auto& [field, change] : changes) {
    TrainRecipe r = two_epochs();
    change(r);
    const Facts after = facts_of(r, alone);
    ASSERT_EQ(after.size(), before.size());
    std::string changed;
    for (size_t i = 0; i < after.size(); ++i) {
      if (after[i] != before[i]) changed += after[i].first;
    }
    EXPECT_EQ(changed, fmt::format("`{}`", field));
  }
}

TEST(Checkpoint, NumbersThatCannotBeAreRefusedByName) {
  const fs::path file = test::temporary_folder() / "c.safetensors";
  const float zero = 0;
  const auto refused = [&](const std::string& position) {
    const std::vector<NamedArray> arrays = {{"x", DType::f32, {1}, std::as_bytes(std::span(&zero, 1))}};
    write_safetensors(file, arrays, {{"position", position}, {"history", "[]"}});
    try {
      read_run_state(WeightFile(file));
    } catch (const Error& e) {
      EXPECT_EQ(e.field(), "resume");
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused(R"({"epoch":3,"step":1,"samples":6,"loss_sum":1,"best_ap":0.5})"), "");
  EXPECT_TRUE(test::contains(refused(R"({"epoch":1e300,"step":0,"samples":0,"loss_sum":0,"best_ap":0})"), "1e+300"));
  EXPECT_TRUE(test::contains(refused(R"({"epoch":0,"step":1,"samples":0,"loss_sum":0,"best_ap":0})"), "samples"));
  EXPECT_TRUE(test::contains(refused(R"({"epoch":0.5,"step":0,"samples":0,"loss_sum":0,"best_ap":0})"), "whole"));
  EXPECT_TRUE(test::contains(refused("[]"), "position"));
}

TEST(Checkpoint, AHistoryWithoutANumberForSomeJointCanBeReadAgain) {
  EpochRecord record{.epoch = 1, .loss = 0.5, .lr = 1e-3, .pckh = true, .stats = std::vector<double>(9, 50.0)};
  record.stats[2] = std::numeric_limits<double>::quiet_NaN();
  const std::vector<EpochRecord> back = history_from_json(history_to_json({record}), "test");
  ASSERT_EQ(back.size(), 1u);
  EXPECT_TRUE(std::isnan(back[0].stats[2]));
  EXPECT_EQ(back[0].stats[3], 50.0);
}

}  // namespace
}  // namespace hr
