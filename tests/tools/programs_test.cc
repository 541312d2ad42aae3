// Tests the programs, started as a user starts them: exit status, one message, no incomplete file.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"
#include "tests/support/tensors.h"
#include "tools/programs/train.h"
#include "tools/synth/synth.h"

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

// A small dataset and weights that were trained on it for one epoch, made once.
struct Setting {
  fs::path root = test::temporary_folder();
  fs::path data = root / "data", run = root / "run", weights = run / "best.safetensors";
  Setting() {
    synth(
        {.output = data.string(), .train_images = 4, .val_images = 3, .seed = 3, .sizes = {{160, 120}}, .threads = 1});
    TrainOptions o;
    o.data_path = data.string();
    o.output_dir = run.string();
    o.model = "hrnet_w2";
    o.fixed_size = {64, 64};
    o.batch_size = 4;
    o.epochs = 1;
    train(o);
  }
};
const Setting& setting() {
  static const Setting s;
  return s;
}

void expect_refused(const std::string& command, std::initializer_list<const char*> words) {
  const Ended e = run(command);
  EXPECT_EQ(e.status, 2) << command << "\n" << e.output;
  EXPECT_NE(e.output.find("error: "), std::string::npos) << e.output;
  for (const char* word : words) EXPECT_NE(e.output.find(word), std::string::npos) << word << " in: " << e.output;
}

TEST(Programs, HelpIsForNewcomers) {
  for (const char* name : {"train", "validate", "predict", "detect", "synth", "forward", "bench", "coco_eval",
                           "convert", "pack", "browse", "track", "track_eval", "to_coco"}) {
    const Ended e = run(program(name) + " --help");
    EXPECT_EQ(e.status, 0) << name;
    EXPECT_NE(e.output.find("Example:"), std::string::npos) << name;
    EXPECT_NE(e.output.find("Usage: "), std::string::npos) << name;
    const Ended version = run(program(name) + " --version");
    EXPECT_EQ(version.status, 0) << name;
    EXPECT_TRUE(version.output.starts_with("hrnet.cpp ")) << version.output;
  }
}

TEST(Programs, ValidatePrintsTenLinesAndWritesTheSeedsFiles) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const Ended e = run(program("validate") + " --data-path " + s.data.string() + " --weights " + s.weights.string() +
                      " --output-dir " + out.string());
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find(" Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets= 20 ] = "),
            std::string::npos)
      << e.output;
  EXPECT_NE(e.output.find("ground truth"), std::string::npos);
  EXPECT_TRUE(parse_json_file(out / "key_results.json").IsArray());
  EXPECT_TRUE(read_file(out / "record_mAP.txt").starts_with("COCO results:\n"));
  // The evaluator alone gives validate's numbers for the file that validate wrote: rounding to two decimals changes no
  // match here.
  const Ended again =
      run(program("coco_eval") + " --gt " + (s.data / "annotations/person_keypoints_val2017.json").string() + " --dt " +
          (out / "key_results.json").string());
  EXPECT_EQ(again.status, 0) << again.output;
}

TEST(Programs, PredictDrawsAndWritesJson) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const Ended e = run(program("predict") + " " + (s.data / "val2017").string() + " --boxes " +
                      (s.data / "annotations/person_keypoints_val2017.json").string() + " --weights " +
                      s.weights.string() + " --output-dir " + out.string());
  ASSERT_EQ(e.status, 0) << e.output;
  const auto poses = parse_json_file(out / "poses.json");
  ASSERT_TRUE(poses.IsArray());
  ASSERT_GT(poses.Size(), 0u);
  EXPECT_EQ(poses[0]["keypoints"].Size(), 51u);
  int overlays = 0;
  for (const auto& entry : fs::directory_iterator(out)) overlays += entry.path().extension() == ".jpg" ? 1 : 0;
  EXPECT_EQ(overlays, 3);
}

TEST(Programs, OneIsCountedInTheSingular) {
  const fs::path out = test::temporary_folder();
  const Ended one = run(program("synth") + " --output " + (out / "data").string() +
                        " --train-images 1 --val-images 1 --size 160x120");
  ASSERT_EQ(one.status, 0) << one.output;
  EXPECT_NE(one.output.find(": 1 picture to train on, 1 to validate on"), std::string::npos) << one.output;
  const fs::path pictures = out / "data" / "val2017";
  const fs::path picture = fs::directory_iterator(pictures)->path();
  const Ended e = run(program("predict") + " " + picture.string() + " --weights " + setting().weights.string() +
                      " --output-dir " + (out / "poses").string());
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find("1 person in 1 picture: wrote "), std::string::npos) << e.output;
  const Ended two = run(program("predict") + " " + (setting().data / "val2017").string() + " --weights " +
                        setting().weights.string() + " --output-dir " + (out / "more").string());
  ASSERT_EQ(two.status, 0) << two.output;
  EXPECT_NE(two.output.find("3 people in 3 pictures: wrote "), std::string::npos) << two.output;
}

TEST(Programs, ForwardWritesHeatmaps) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  std::vector<float> numbers(2 * 3 * 64 * 96);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i % 13) / 6 - 1;
  const NamedArray input{"input", DType::f32, {2, 3, 64, 96}, std::as_bytes(std::span(numbers))};
  write_safetensors(out / "in.safetensors", std::span(&input, 1));
  const std::string command = program("forward") + " --weights " + s.weights.string() + " --input " +
                              (out / "in.safetensors").string() + " --output ";
  ASSERT_EQ(run(command + (out / "out.safetensors").string()).status, 0);
  EXPECT_EQ(SafetensorsFile(out / "out.safetensors").at("heatmaps").shape, (std::vector<int64_t>{2, 17, 16, 24}));
  expect_refused(
      program("forward") + " --weights " + s.weights.string() + " --input " + s.weights.string() + " --output /tmp/x",
      {"input"});
}

TEST(Programs, BenchPrintsOneJsonObject) {
  const Ended e =
      run(program("bench") +
          " --mode inference --model hrnet_w2 --fixed-size 64 64 --batch-size 2 --repeats 1 --warmup 1 --json");
  ASSERT_EQ(e.status, 0) << e.output;
  const auto json = parse_json(e.output, "bench");
  for (const char* key : {"img_per_s", "conv_seconds", "total_over_conv", "peak_bytes"}) {
    ASSERT_TRUE(json.HasMember(key)) << key;
    EXPECT_GT(json[key].GetDouble(), 0) << key;
  }
}

TEST(Programs, BenchLoaderPrintsOneJsonObject) {
  const Ended e = run(program("bench") + " --mode loader --data-path " + setting().data.string() +
                      " --fixed-size 64 64 --repeats 1 --json");
  ASSERT_EQ(e.status, 0) << e.output;
  const auto json = parse_json(e.output.substr(e.output.find('{')), "bench");
  EXPECT_GT(json["people"].GetInt(), 0);
  EXPECT_GT(json["pictures"].GetInt(), 0);
}

TEST(Programs, HelpOfPredictSaysWhatIsWrittenAndTheExitStatus) {
  std::string help;  // with single spaces, wherever lines are broken
  for (const char c : run(program("predict") + " --help").output) {
    if (c != '\n' && c != ' ') help += c;
    if ((c == '\n' || c == ' ') && !help.ends_with(' ')) help += ' ';
  }
  for (const char* word : {"NAME_pose.jpg", "poses.json", "coco_eval", "Exit status: 0; 2 when"})
    EXPECT_NE(help.find(word), std::string::npos) << word << " in " << help;
}

// Only the file says which network it contains, whatever the container and wrapper.
TEST(Programs, ForwardRunsEveryKindOfWeightFile) {
  HR_NEEDS_ORACLE("weights/w2_eval.safetensors");
  const fs::path out = test::temporary_folder() / "out.safetensors";
  const std::pair<const char*, const char*> files[] = {
      {"w8.safetensors", "w8"},       {"w2.safetensors", "w2"},
      {"w2_zip.pth", "w2"},           {"w2_legacy.pth", "w2"},
      {"w2_checkpoint.pth", "w2"},    {"w2_module_prefix.pth", "w2"},
      {"w2_noncontiguous.pth", "w2"}, {"w2_official_checkpoint.pth", "w2"}};
  for (const auto& [name, width] : files) {
    SCOPED_TRACE(name);
    const std::string golden = test::oracle(fmt::format("weights/{}_eval.safetensors", width)).string();
    const Ended e = run(fmt::format("{} --weights {} --input {} --output {}", program("forward"),
                                    test::oracle(std::string("weights/") + name).string(), golden, out.string()));
    ASSERT_EQ(e.status, 0) << e.output;
    const std::vector<double> actual = SafetensorsFile(out).at("heatmaps").to_f64(),
                              expected = SafetensorsFile(golden).at("output").to_f64();
    EXPECT_TRUE(test::close(actual, expected, 2e-5 * test::max_abs(expected)));
  }
  const std::string forward = program("forward") + " --output /tmp/x --input " +
                              test::oracle("weights/w2_eval.safetensors").string() + " --weights ";
  expect_refused(forward + test::oracle("weights/w2_imagenet_like.pth").string(),
                 {"ImageNet backbone for hrnet_w2", "train --weights"});
  expect_refused(forward + test::oracle("weights/w2_zip.pth").string() + " --model hrnet_w32",
                 {"this is hrnet_w2", "--model hrnet_w2"});
  expect_refused(forward + test::oracle("weights/zoo_zip_proto2.pth").string(), {"neither an HRNet nor a PoseResNet"});
}

TEST(Programs, PredictTakesAPthWithoutAModelName) {
  HR_NEEDS_ORACLE("weights/w2_legacy.pth");
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const Ended e = run(program("predict") + " " + (s.data / "val2017").string() + " --fixed-size 64 64 --weights " +
                      test::oracle("weights/w2_legacy.pth").string() + " --output-dir " + out.string());
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(parse_json_file(out / "poses.json").Size(), 3u);
}

// Runs a program on every hostile file: it must end as expected, at once, with one line and without any file.
TEST(Programs, HostileWeightFilesEndAsTheyShould) {
  HR_NEEDS_ORACLE("weights/hostile/expect.json");
  const auto expected = parse_json_file(test::oracle("weights/hostile/expect.json"));
  int files = 0;
  for (const auto& member : expected["files"].GetObject()) {
    const std::string name = member.name.GetString(), must = member.value["must"].GetString();
    SCOPED_TRACE(name + ": " + member.value["why"].GetString());
    const auto start = std::chrono::steady_clock::now();
    const Ended e = run(program("convert") + " --info " + test::oracle("weights/hostile/" + name).string());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const bool loaded = e.status == 0, refused = e.status == 2;
    EXPECT_TRUE(loaded || refused) << e.status << e.output;
    if (must == "load") {
      EXPECT_TRUE(loaded) << e.output;
    } else if (must == "reject") {
      EXPECT_TRUE(refused) << e.output;
    }
    if (refused) {
      EXPECT_EQ(std::count(e.output.begin(), e.output.end(), '\n'), 1) << e.output;
      EXPECT_TRUE(e.output.starts_with("convert: error: ")) << e.output;
      EXPECT_NE(e.output.find(name), std::string::npos) << e.output;
    }
    EXPECT_LT(seconds, 10.0) << "a hang; they take milliseconds";
    ++files;
  }
  EXPECT_GT(files, 100);
  for (const char* trace : {"/tmp/pwned", "/tmp/pwned_traversal", "/tmp/pwned_absolute"})
    EXPECT_FALSE(fs::exists(trace)) << trace;
}

TEST(Programs, BenchComparesLoadingWithCopying) {
  const Ended e = run(program("bench") + " --mode load --model hrnet_w2 --repeats 1 --warmup 1 --json");
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(std::count(e.output.begin(), e.output.end(), '\n'), 2) << "safetensors and .pth";
  const auto json = parse_json(e.output.substr(0, e.output.find('\n')), "bench");
  for (const char* key : {"bytes", "copy_seconds", "load_seconds", "load_over_copy"}) {
    ASSERT_TRUE(json.HasMember(key)) << key;
    EXPECT_GT(json[key].GetDouble(), 0) << key;
  }
}

TEST(Programs, BadInputEndsWithStatus2AndAMessage) {
  const Setting& s = setting();
  const std::string train =
      program("train") + " --data-path " + s.data.string() + " --model hrnet_w2 --fixed-size 64 64 --output-dir ";
  const std::string validate = program("validate") + " --data-path " + s.data.string();
  const fs::path out = test::temporary_folder();
  expect_refused(train + out.string() + " --frobnicate", {"--frobnicate", "--help"});
  expect_refused(program("train") + " --fixed-size 250 192", {"--fixed-size", "32"});
  expect_refused(train + out.string() + " --device cuda:99", {"--device cuda:99"});
  expect_refused(train + "/proc/nowhere", {"--output-dir", "/proc/nowhere"});
  expect_refused(validate + " --weights /nowhere.safetensors", {"/nowhere.safetensors"});
  expect_refused(validate + " --weights " + s.weights.string() + " --num-joints 16", {"16", "17"});
  expect_refused(validate + " --weights " + s.weights.string() + " --model hrnet_w32", {"hrnet_w2", "hrnet_w32"});
  write_file(out / "det.json", "{}");
  expect_refused(validate + " --weights " + s.weights.string() + " --person-det " + (out / "det.json").string(),
                 {"det.json"});
  write_file(out / "text.jpg", "this is no picture");
  expect_refused(program("predict") + " " + (out / "text.jpg").string() + " --weights " + s.weights.string() +
                     " --output-dir " + out.string(),
                 {"text.jpg"});
  expect_refused(program("predict") + " " + (out / "none.jpg").string() + " --weights " + s.weights.string(),
                 {"none.jpg"});
  EXPECT_FALSE(fs::exists(out / "last.safetensors"));
}

// A picture that breaks while training runs is named, and the status is 2.
TEST(Programs, ATruncatedPictureIsNamed) {
  const Setting& s = setting();
  const fs::path copy = test::temporary_folder() / "data";
  fs::copy(s.data, copy, fs::copy_options::recursive);
  const CocoAnnotations annotations = read_coco(copy / "annotations/person_keypoints_train2017.json");
  for (const CocoImage& image : annotations.images) {
    const fs::path path = copy / "train2017" / image.file_name;
    fs::resize_file(path, fs::file_size(path) / 2);
  }
  expect_refused(program("train") + " --data-path " + copy.string() +
                     " --model hrnet_w2 --fixed-size 64 64 --output-dir " + (copy / "run").string(),
                 {".jpg"});
}

// A limit on file sizes imitates a full disk. The run ends with the file's name and leaves no incomplete file.
TEST(Programs, AFullDiskLeavesNoHalfFile) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const Ended e = run("ulimit -f 100; trap '' XFSZ; " + program("train") + " --data-path " + s.data.string() +
                      " --model hrnet_w2 --fixed-size 64 64 --epochs 1 --batch-size 4 --output-dir " + out.string());
  EXPECT_EQ(e.status, 2) << e.output;
  EXPECT_NE(e.output.find(".safetensors: cannot write"), std::string::npos) << e.output;
  for (const auto& entry : fs::directory_iterator(out)) {
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
    EXPECT_NE(entry.path().filename(), "last.safetensors");
  }
}

}  // namespace
}  // namespace hr
