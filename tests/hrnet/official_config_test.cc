// The official project's configuration files: every key, and files of people who make mistakes or mean harm.
#include "hrnet/train/official_config.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/philox.h"
#include "hrnet/train/official_keys.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using namespace std::string_view_literals;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string stages(int width, const std::string& modules3 = "4") {
  std::string text;
  for (int stage = 2; stage <= 4; ++stage) {
    text += fmt::format(
        "    STAGE{}:\n      NUM_MODULES: {}\n      NUM_BRANCHES: {}\n      BLOCK: BASIC\n      FUSE_METHOD: SUM\n",
        stage,
        stage == 2   ? "1"
        : stage == 3 ? modules3
                     : "3",
        stage);
    text += "      NUM_BLOCKS:\n";
    for (int i = 0; i < stage; ++i) text += "      - 4\n";
    text += "      NUM_CHANNELS:\n";
    for (int i = 0; i < stage; ++i) text += fmt::format("      - {}\n", width << i);
  }
  return text;
}

// Of the shape of the published files, with values that differ from all defaults.
const std::string kCoco = R"(AUTO_RESUME: true
CUDNN:
  BENCHMARK: true
  ENABLED: true
DATA_DIR: '/disk'
GPUS: (0,1,2,3)
OUTPUT_DIR: 'out'
LOG_DIR: 'log'
WORKERS: 6
PRINT_FREQ: 100

DATASET:
  COLOR_RGB: true
  DATASET: 'coco'
  DATA_FORMAT: jpg
  FLIP: false
  NUM_JOINTS_HALF_BODY: 7
  PROB_HALF_BODY: 0.3
  ROOT: 'data/coco/'
  ROT_FACTOR: 40
  SCALE_FACTOR: 0.3
  TEST_SET: 'val2017'
  TRAIN_SET: 'train2017'
MODEL:
  INIT_WEIGHTS: true
  NAME: pose_hrnet
  NUM_JOINTS: 17
  PRETRAINED: 'models/w48.pth'
  TARGET_TYPE: gaussian
  IMAGE_SIZE:
  - 288
  - 384
  HEATMAP_SIZE:
  - 72
  - 96
  SIGMA: 3
  EXTRA:
    PRETRAINED_LAYERS: ['*']
    FINAL_CONV_KERNEL: 1
)" + stages(48) + R"(LOSS:
  USE_TARGET_WEIGHT: true
TRAIN:
  BATCH_SIZE_PER_GPU: 24
  SHUFFLE: false
  BEGIN_EPOCH: 1
  END_EPOCH: 211
  OPTIMIZER: adam
  LR: 0.002
  LR_FACTOR: 0.2
  LR_STEP:
  - 171
  - 201
  WD: 0.0001
  GAMMA1: 0.99
  MOMENTUM: 0.9
TEST:
  BATCH_SIZE_PER_GPU: 16
  COCO_BBOX_FILE: 'boxes.json'
  BBOX_THRE: 1.0
  IMAGE_THRE: 0.01
  IN_VIS_THRE: 0.25
  MODEL_FILE: 'best.pth'
  NMS_THRE: 1.0
  OKS_THRE: 0.85
  SOFT_NMS: true
  USE_GT_BBOX: false
  FLIP_TEST: true
  POST_PROCESS: true
  SHIFT_HEATMAP: true
DEBUG:
  DEBUG: true
)";

OfficialConfig config(std::string text, std::vector<std::string> overrides = {}) {
  return {.text = std::move(text), .name = "cfg/mine.yaml", .overrides = std::move(overrides)};
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string error_of(const OfficialConfig& c) {
  try {
    TrainRecipe r;
    apply_official_config(c, r);
  } catch (const Error& e) {
    EXPECT_EQ(e.field(), "cfg") << e.what();
    return e.what();
  }
  return "";
}

TEST(OfficialConfig, EveryKeyOfATrainingRunArrives) {
  TrainRecipe r;
  const std::string remarks = fmt::format("{}", fmt::join(apply_official_config(config(kCoco), r), "\n"));
  r.resume.clear();
  r.validate();
  EXPECT_EQ(r.model, "hrnet_w48");
  EXPECT_EQ(r.joints, 17);
  EXPECT_EQ(r.fixed_size, (std::array{384, 288}));
  EXPECT_EQ(r.color, "rgb");
  EXPECT_EQ(r.sigma, 3);
  EXPECT_EQ(r.weights, "/disk/models/w48.pth");
  EXPECT_EQ(r.init, "official");
  EXPECT_EQ(r.data_path, "/disk/data/coco/");
  EXPECT_EQ(r.dataset, "coco");
  EXPECT_EQ(r.train_annotations + r.val_annotations + r.train_images + r.val_images, "") << "found in data_path";
  EXPECT_FALSE(r.mirror);
  EXPECT_EQ(r.half_body_joints, 7);
  EXPECT_EQ(r.prob_half_body, 0.3);
  EXPECT_EQ(r.rot_factor, 40);
  EXPECT_EQ(r.scale_factor, 0.3);
  EXPECT_EQ(r.output_dir, "out/coco/pose_hrnet/mine");
  EXPECT_EQ(r.workers, 6);
  EXPECT_EQ(r.print_freq, 100);
  EXPECT_EQ(r.batch_size, 24);
  EXPECT_FALSE(r.shuffle);
  EXPECT_EQ(r.start_epoch, 1);
  EXPECT_EQ(r.epochs, 211);
  EXPECT_EQ(r.lr, 0.002);
  EXPECT_EQ(r.lr_gamma, 0.2);
  EXPECT_EQ(r.lr_steps, (std::vector{171, 201}));
  EXPECT_EQ(r.decay(), 0);
  EXPECT_EQ(r.person_det, "/disk/boxes.json");
  EXPECT_TRUE(r.flip);
  for (const char* part :
       {"no effect here: CUDNN.BENCHMARK, CUDNN.ENABLED, LOG_DIR, TRAIN.GAMMA1, TRAIN.MOMENTUM, TEST.BBOX_THRE, "
        "TEST.NMS_THRE, DEBUG.DEBUG",
        "TRAIN.WD 0.0001 has no effect", "96 people per step on 4 GPUs", "`accumulate` 4", "TEST.IMAGE_THRE 0"})
    EXPECT_TRUE(contains(remarks, part)) << part << "\n" << remarks;
  EXPECT_FALSE(contains(remarks, "PRETRAINED_LAYERS")) << remarks;
  TrainRecipe resumed;
  apply_official_config(config(kCoco), resumed);
  EXPECT_EQ(resumed.resume, "auto");
}

TEST(OfficialConfig, EveryKeyOfAValidationArrives) {
  ValidationOptions o;
  const std::string remarks = fmt::format("{}", fmt::join(apply_official_config(config(kCoco), o), "\n"));
  EXPECT_EQ(o.weights, "/disk/best.pth");
  EXPECT_EQ(o.model, "hrnet_w48");
  EXPECT_EQ(o.batch_size, 16);
  EXPECT_EQ(o.person_det, "/disk/boxes.json");
  EXPECT_EQ(o.image_thre, 0.01);
  EXPECT_EQ(o.in_vis_thre, 0.25);
  EXPECT_EQ(o.oks_thre, 0.85);
  EXPECT_TRUE(o.soft_nms);
  EXPECT_TRUE(o.decoding.flip);
  EXPECT_EQ(o.decoding.shift, true);
  EXPECT_EQ(o.decoding.codec, "quarter");
  EXPECT_FALSE(contains(remarks, "TRAIN.WD")) << remarks;
  apply_official_config(config(kCoco, {"TEST.POST_PROCESS", "False", "TEST.USE_GT_BBOX", "True"}), o);
  EXPECT_EQ(o.decoding.codec, "argmax");
  EXPECT_EQ(o.person_det, "");
}

TEST(OfficialConfig, WhatTheFileLeavesOutIsAsInTheOriginal) {
  TrainRecipe r;
  r.lr_steps = {1};
  apply_official_config(config("MODEL:\n  EXTRA:\n" + stages(32)), r);
  EXPECT_EQ(r.model, "hrnet_w32");
  EXPECT_EQ(r.dataset, "mpii");
  EXPECT_EQ(r.epochs, 140);
  EXPECT_EQ(r.lr_steps, (std::vector{90, 110}));
  EXPECT_EQ(r.color, "bgr");
  EXPECT_EQ(r.fixed_size, (std::array{256, 256}));
  EXPECT_EQ(r.scale_factor, 0.25);
  EXPECT_EQ(r.prob_half_body, 0);
  EXPECT_FALSE(r.flip);
  EXPECT_EQ(r.weights + r.resume, "");
}

TEST(OfficialConfig, PoseResNetAndMpii) {
  const std::string text = R"(
DATASET: {COLOR_RGB: false, DATASET: mpii, PROB_HALF_BODY: -1.0, ROOT: data/mpii, TEST_SET: test, TRAIN_SET: trainval}
MODEL:
  NAME: 'pose_resnet'
  NUM_JOINTS: 16
  EXTRA: {FINAL_CONV_KERNEL: 1, DECONV_WITH_BIAS: false, NUM_DECONV_LAYERS: 3, NUM_LAYERS: 101,
          NUM_DECONV_FILTERS: [256, 256, 256], NUM_DECONV_KERNELS: [4, 4, 4]}
)";
  TrainRecipe r;
  apply_official_config(config(text), r);
  EXPECT_EQ(r.model, "pose_resnet101");
  EXPECT_EQ(r.prob_half_body, 0) << "-1 is never";
  EXPECT_EQ(r.joints, 16);
  EXPECT_EQ(r.train_annotations, "data/mpii/annot/trainval.json");
  EXPECT_EQ(r.train_images, "data/mpii/images");
  EXPECT_EQ(r.val_annotations, "data/mpii/annot/test.json");
  EXPECT_TRUE(contains(error_of(config(replaced(text, "101", "34"))), "NUM_LAYERS is 34"));
  EXPECT_TRUE(contains(error_of(config(replaced(text, "[4, 4, 4]", "[4, 4, 2]"))), "NUM_DECONV_KERNELS"));
}

TEST(OfficialConfig, OtherSetsOfCocoAreNamedOutright) {
  ValidationOptions o;
  apply_official_config(config(kCoco, {"DATASET.TEST_SET", "test-dev2017", "DATASET.DATA_FORMAT", "zip"}), o);
  EXPECT_EQ(o.val_annotations, "/disk/data/coco/annotations/image_info_test-dev2017.json");
  EXPECT_EQ(o.val_images, "/disk/data/coco/images/test2017.zip");
}

TEST(OfficialConfig, SettingsBehindTheFileHaveTheLastWord) {
  TrainRecipe r;
  apply_official_config(
      config(kCoco, {"TRAIN.LR", "1e-4", "TRAIN.LR_STEP", "(10, 20)", "GPUS", "(0,)", "MODEL.PRETRAINED", "",
                     "MODEL.EXTRA.FINAL_CONV_KERNEL", "1", "TRAIN.LR", "0.003"}),
      r);
  EXPECT_EQ(r.lr, 0.003);
  EXPECT_EQ(r.lr_steps, (std::vector{10, 20}));
  EXPECT_EQ(r.weights, "");
  EXPECT_TRUE(contains(error_of(config(kCoco, {"TRAIN.LR"})), "TRAIN.LR has no value"));
  EXPECT_TRUE(contains(error_of(config(kCoco, {"TRAIN.LRR", "1"})), "is TRAIN.LR meant?"));
  EXPECT_TRUE(contains(error_of(config(kCoco, {"TRAIN.LR", "fast"})), "TRAIN.LR is 'fast', expected a number"));
}

TEST(OfficialConfig, AnUnknownKeyIsNamedWithItsLineAndTheNearest) {
  const std::string message = error_of(config(replaced(kCoco, "  LR_STEP:", "  LR_STEPS:")));
  EXPECT_TRUE(contains(message, "cfg/mine.yaml, line")) << message;
  EXPECT_TRUE(contains(message, "TRAIN.LR_STEPS is no setting")) << message;
  EXPECT_TRUE(contains(message, "is TRAIN.LR_STEP meant?")) << message;
  EXPECT_TRUE(contains(error_of(config("TRAIM:\n  LR: 1\n")), "is TRAIN.LR meant?"));
  // Below EXTRA the original takes anything.
  TrainRecipe r;
  const auto remarks =
      apply_official_config(config(replaced(kCoco, "    FINAL_CONV", "    NEW: 1\n    FINAL_CONV")), r);
  EXPECT_TRUE(contains(fmt::format("{}", fmt::join(remarks, "\n")),
                       "these keys have no effect, here or in the original: "
                       "MODEL.EXTRA.NEW"));
}

TEST(OfficialConfig, ValuesOfAnotherTypeAreRefused) {
  const auto with = [](const char* from, const char* to) { return error_of(config(replaced(kCoco, from, to))); };
  EXPECT_TRUE(contains(with("WORKERS: 6", "WORKERS: 2.5"), "WORKERS is '2.5', expected a whole number"));
  EXPECT_TRUE(contains(with("WORKERS: 6", "WORKERS: 99999999999"), "expected a whole number"));
  EXPECT_TRUE(contains(with("WORKERS: 6", "WORKERS: [6]"), "WORKERS is [6], expected a whole number"));
  EXPECT_TRUE(contains(with("WORKERS: 6", "WORKERS: {A: 6}"), "WORKERS.A is no setting"));
  EXPECT_TRUE(contains(with("LR: 0.002", "LR: .inf"), "expected a number"));
  EXPECT_TRUE(contains(with("LR: 0.002", "LR: 1e999"), "expected a number"));
  EXPECT_TRUE(contains(with("LR: 0.002", "LR: 0x10"), "expected a number"));
  EXPECT_TRUE(contains(with("FLIP: false", "FLIP: maybe"), "DATASET.FLIP is 'maybe', expected true or false"));
  EXPECT_TRUE(contains(with("  - 171", "  - x"), "TRAIN.LR_STEP is [x, 201], expected a list of whole numbers"));
  EXPECT_TRUE(contains(with("LR_FACTOR: 0.2\n  LR_STEP:\n  - 171\n  - 201", "LR_STEP: 171"), "expected a list"));
  EXPECT_EQ(with("WORKERS: 6", "WORKERS: '6'"), "") << "as in the original, quotes do not matter";
  EXPECT_EQ(with("WORKERS: 6", "WORKERS:"), "") << "nothing leaves the default";
}

TEST(OfficialConfig, WhatNothingHereCanHonourIsAnErrorAndNotIgnored) {
  const auto with = [](const char* from, const char* to) { return error_of(config(replaced(kCoco, from, to))); };
  EXPECT_TRUE(contains(with("OPTIMIZER: adam", "OPTIMIZER: sgd"), "TRAIN.OPTIMIZER is sgd"));
  EXPECT_TRUE(contains(with("NAME: pose_hrnet", "NAME: hourglass"), "MODEL.NAME is hourglass"));
  EXPECT_TRUE(contains(with("  - 96\n", "  - 48\n"), "MODEL.HEATMAP_SIZE is 72 48"));
  EXPECT_TRUE(contains(with("TARGET_TYPE: gaussian", "TARGET_TYPE: offset"), "MODEL.TARGET_TYPE"));
  EXPECT_TRUE(contains(with("USE_TARGET_WEIGHT: true", "USE_TARGET_WEIGHT: false"), "LOSS.USE_TARGET_WEIGHT"));
  EXPECT_TRUE(contains(with("USE_TARGET_WEIGHT: true", "USE_DIFFERENT_JOINTS_WEIGHT: true"), "JOINTS_WEIGHT"));
  EXPECT_TRUE(contains(with("FINAL_CONV_KERNEL: 1", "FINAL_CONV_KERNEL: 3"), "FINAL_CONV_KERNEL is 3"));
  EXPECT_TRUE(contains(with("DATASET: 'coco'", "SELECT_DATA: true\n  DATASET: coco"), "SELECT_DATA"));
  EXPECT_TRUE(contains(with("DATASET: 'coco'", "DATASET: aic"), "DATASET.DATASET is aic"));
  EXPECT_TRUE(contains(error_of(config("MODEL:\n  EXTRA:\n" + stages(32, "5"))), "MODEL.EXTRA.STAGE3 differs"));
  EXPECT_TRUE(contains(error_of(config("WORKERS: 1")), "NUM_CHANNELS is missing"));
}

TEST(OfficialYaml, AnchorsAliasesAndMergeKeysAreUnderstood) {
  const auto entries = read_official_yaml(
      "BASE: &base {LR: 0.5, WD: 1}\nTRAIN:\n  <<: *base\n  LR: 0.1\nA: &list [1, 2]\nB: *list\nC: ~\n", "a.yaml");
  std::string all;
  for (const OfficialEntry& e : entries)
    all += fmt::format("{}={}{};", e.key, fmt::join(e.items, "+"), e.null ? "null" : "");
  EXPECT_EQ(all, "BASE.LR=0.5;BASE.WD=1;TRAIN.LR=0.1;TRAIN.WD=1;A=1+2;B=1+2;C=null;");
  EXPECT_EQ(entries[2].place, "a.yaml, line 4");
}

TEST(OfficialYaml, BadTextIsOneMessageWithItsPlace) {
  const auto message = [](const std::string& text) {
    try {
      read_official_yaml(text, "a.yaml");
    } catch (const Error& e) {
      EXPECT_EQ(e.field(), "cfg");
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_TRUE(contains(message(""), "holds no settings"));
  EXPECT_TRUE(contains(message("# only a comment\n"), "holds no settings"));
  EXPECT_TRUE(contains(message("just text"), "found plain text"));
  EXPECT_TRUE(contains(message("- a\n- b\n"), "found a list"));
  EXPECT_TRUE(contains(message("a: 1\n---\nb: 2\n"), "more than one document"));
  EXPECT_TRUE(contains(message("a: 1\nb: [1, 2\n"), "a.yaml, line")) << message("a: 1\nb: [1, 2\n");
  EXPECT_TRUE(contains(message("a: 1\nb: [1, 2\n"), "is not valid YAML"));
  EXPECT_TRUE(contains(message("a: \"open"), "is not valid YAML"));
  // The library takes the end of a line before the end of the file for the closing quote.
  for (const char* open :
       {"a: 1\nb: \"open\n", "a: 1\nb: 'open  \n\n", "a: \"open\n  ", "a: 'open\nb: 2\r\n", "a: {b: \"open # c\n"}) {
    EXPECT_TRUE(contains(message(open), "a quoted text is never closed")) << open << message(open);
  }
  EXPECT_EQ(message("a: 'it''s'\n\n# it's\n"), "");
  EXPECT_TRUE(contains(message("a: 1\n\tb: 2\n"), "is not valid YAML"));
  EXPECT_TRUE(contains(message("a: *nobody\n"), "is not valid YAML"));
  EXPECT_TRUE(contains(message("a: 1\nb: 2\na: 3\n"), "line 3: a is given twice"));
  EXPECT_TRUE(contains(message("? [a, b]\n: 1\n"), "a key is not plain text"));
  EXPECT_TRUE(contains(message("a: [1, [2]]\n"), "list of something else"));
  EXPECT_TRUE(contains(message("a: &x [*x]\n"), "within the node")) << message("a: &x [*x]\n");
  EXPECT_TRUE(contains(message("a:\n  <<: 3\n"), "<< merges a map"));
}

TEST(OfficialYaml, DepthSizeAndAliasesAreLimited) {
  const auto message = [](const std::string& text) {
    try {
      read_official_yaml(text, "a.yaml");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  for (const char* open : {"[", "{a: ", "- ", "? "}) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += open;
    EXPECT_TRUE(contains(message(text), "nested deeper than 16")) << open << message(text);
  }
  EXPECT_TRUE(contains(message(std::string(300 << 10, 'a')), "at most 262144"));
  std::string many = "a: [";
  for (int i = 0; i < 20'000; ++i) many += "1,";
  EXPECT_TRUE(contains(message(many + "1]"), "more than 10000 nodes")) << message(many + "1]");
  // Each line is nine times the one before: a billion in the end.
  std::string bomb = "a0: &a0 {k: 1}\n";
  for (int i = 1; i < 11; ++i) {
    bomb += fmt::format("a{}: &a{} {{", i, i);
    for (int k = 0; k < 9; ++k) bomb += fmt::format("k{}: *a{}, ", k, i - 1);
    bomb += "}\n";
  }
  EXPECT_TRUE(contains(message(bomb), "aliases expanded")) << message(bomb);
  std::string chain = "a0: &a0 {k: 1}\n";
  for (int i = 1; i < 40; ++i) chain += fmt::format("a{}: &a{} {{k: *a{}}}\n", i, i, i - 1);
  EXPECT_TRUE(contains(message(chain), "nested deeper than 16")) << message(chain);
}

// Whatever becomes of a file, it is read or refused with an Error.
TEST(OfficialYaml, DamagedFilesAreReadOrRefused) {
  int read = 0, refused = 0;
  for (uint64_t k = 0; k < 600; ++k) {
    Philox random(7, k, 0);
    std::string text = kCoco;
    for (uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
      const size_t at = random.below(text.size());
      constexpr std::string_view kOdd = "&*<[]{}:-?|>!%@`'\"#,\n\t \0\x7f\xff"sv;
      switch (random.below(3)) {
        case 0:
          text[at] = kOdd[random.below(kOdd.size())];
          break;
        case 1:
          text.erase(at, 1 + random.below(40));
          break;
        default:
          text.insert(at, text.substr(random.below(text.size()), random.below(60)));
      }
      if (text.empty()) text.push_back(' ');
    }
    try {
      TrainRecipe r;
      apply_official_config(config(text), r);
      ++read;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(read, 10);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace hr
