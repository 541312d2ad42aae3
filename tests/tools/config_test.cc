// train --cfg and validate --cfg, as a user starts them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/file.h"
#include "core/io/json.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"
#include "tools/synth/synth.h"

namespace hr {
namespace {

using test::Ended;

size_t count(const std::string& text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

// A data set, and a configuration for it of the official shape.
const fs::path& files() {
  static const fs::path folder = [] {
    const fs::path root = test::temporary_folder();
    synth({.output = (root / "data").string(),
           .train_images = 3,
           .val_images = 2,
           .seed = 5,
           .sizes = {{160, 120}},
           .threads = 1});
    std::string stages;
    for (int stage = 2; stage <= 4; ++stage) {
      std::string blocks = "4", channels = "2";
      for (int i = 1; i < stage; ++i) blocks += ", 4", channels += fmt::format(", {}", 2 << i);
      stages += fmt::format(
          "    STAGE{}: {{NUM_MODULES: {}, NUM_BRANCHES: {}, BLOCK: BASIC, NUM_BLOCKS: [{}], NUM_CHANNELS: [{}], "
          "FUSE_METHOD: SUM}}\n",
          stage,
          stage == 2   ? 1
          : stage == 3 ? 4
                       : 3,
          stage, blocks, channels);
    }
    write_file(root / "tiny.yaml",
               fmt::format("AUTO_RESUME: true\nDATA_DIR: {0}\nOUTPUT_DIR: {0}/out\nWORKERS: 1\nGPUS: (0,1)\n"
                           "DATASET: {{COLOR_RGB: true, DATASET: coco, ROOT: data, TEST_SET: val2017, TRAIN_SET: "
                           "train2017, ROT_FACTOR: 40}}\n"
                           "MODEL:\n  IMAGE_SIZE: [64, 64]\n  HEATMAP_SIZE: [16, 16]\n  EXTRA:\n{1}"
                           "TRAIN: {{BATCH_SIZE_PER_GPU: 4, END_EPOCH: 1, LR: 0.001, WD: 0.0001}}\n"
                           "TEST: {{POST_PROCESS: true, IN_VIS_THRE: 0.2, OKS_THRE: 0.9, IMAGE_THRE: 0.0}}\n",
                           root.string(), stages));
    return root;
  }();
  return folder;
}

Ended start(const std::string& name, const std::string& flags) {
  return test::run(test::program(name) + " --threads 1 " + flags);
}

TEST(ConfigFile, TrainsAndFlagsHaveTheLastWord) {
  const std::string cfg = "--cfg " + (files() / "tiny.yaml").string();
  // Settings follow the file; flags may come before it.
  const Ended p =
      start("train", "--rot-factor 12 " + cfg + " TRAIN.LR 0.002 DATASET.PROB_HALF_BODY -1.0 --batch-size 3");
  ASSERT_EQ(p.status, 0) << p.output;
  EXPECT_EQ(count(p.output, "TRAIN.WD 0.0001 has no effect"), 1u) << p.output;
  EXPECT_EQ(count(p.output, "give --accumulate 2"), 1u) << p.output;
  const fs::path run = files() / "out/coco/pose_hrnet/tiny";
  const auto config = parse_json_file((run / "config.json").string());
  EXPECT_EQ(config["lr"].GetDouble(), 0.002);
  EXPECT_EQ(config["rot_factor"].GetDouble(), 12);
  EXPECT_EQ(config["scale_factor"].GetDouble(), 0.25) << "the original's default";
  EXPECT_EQ(config["prob_half_body"].GetDouble(), 0);
  EXPECT_EQ(config["batch_size"].GetInt(), 3);
  EXPECT_STREQ(config["model"].GetString(), "hrnet_w2");
  // AUTO_RESUME: the same command line with more epochs goes on.
  const Ended more = start("train", cfg + " TRAIN.END_EPOCH 2 --batch-size 3");
  EXPECT_EQ(more.status, 0) << more.output;
  EXPECT_EQ(count(more.output, "epoch 2/2"), 1u) << more.output;
  EXPECT_EQ(count(more.output, "epoch 1/2"), 0u) << more.output;

  const Ended v = start("validate", cfg + " TEST.MODEL_FILE " + (run / "best.safetensors").string() + " --output-dir " +
                                        (files() / "v").string());
  EXPECT_EQ(v.status, 0) << v.output;
  EXPECT_TRUE(fs::exists(files() / "v" / "validation.json"));
  const Ended none = start("validate", cfg);
  EXPECT_EQ(none.status, 2);
  EXPECT_EQ(count(none.output, "--weights is required"), 1u) << none.output;
}

TEST(ConfigFile, MistakesAreOneLine) {
  const std::string cfg = "--cfg " + (files() / "tiny.yaml").string();
  write_file(files() / "bad.yaml", "TRAIN: [1, 2\n");
  for (const auto& [flags, part] : std::vector<std::pair<std::string, std::string>>{
           {cfg + " TRAIN.LRX 1", "is TRAIN.LR meant?"},
           {cfg + " TRAIN.LR", "TRAIN.LR has no value"},
           {"TRAIN.LR 1", "must follow --cfg FILE"},
           {"--cfg " + (files() / "nobody.yaml").string(), "No such file"},
           {"--cfg " + (files() / "bad.yaml").string(), "is not valid YAML"},
           {cfg + " TRAIN.OPTIMIZER sgd", "only adam is supported"}}) {
    const Ended p = start("train", flags);
    EXPECT_EQ(p.status, 2) << flags;
    EXPECT_EQ(count(p.output, "\n"), 1u) << p.output;
    EXPECT_EQ(count(p.output, part), 1u) << p.output;
  }
}

}  // namespace
}  // namespace hr
