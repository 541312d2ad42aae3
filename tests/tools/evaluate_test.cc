// Tests coco_eval, started as a user starts it: numbers, files, and one message for bad input.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "eval/results.h"
#include "tests/support/oracle.h"
#include "tests/support/program_apart.h"
#include "tools/bench/eval.h"

namespace hr {
namespace {

using test::apart::contains;
using test::apart::Ended;
using test::apart::expect_refused;
using test::apart::program;
using test::apart::run;

std::string entry(int64_t image, const std::string& third = "1", int numbers = 51, const std::string& more = "") {
  std::string text =
      fmt::format("{{\"image_id\": {}, \"category_id\": 1, \"score\": 0.5{}, \"keypoints\": [", image, more);
  for (int i = 0; i < numbers; ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ",
                        i % 3 == 2 ? std::string("1")
                        : i == 6   ? third
                                   : std::to_string(10 + i));
  }
  return text + "]}";
}

struct CocoFiles {
  fs::path folder = test::temporary_folder(), gt = folder / "gt.json", dt = folder / "dt.json";
  CocoFiles() {
    std::string people;
    for (const int id : {1, 2}) {
      const std::string person = entry(id == 1 ? 139 : 785);
      people +=
          (id == 1 ? "" : ", ") + person.substr(0, person.size() - 1) +
          fmt::format(
              ", \"id\": {}, \"bbox\": [0, 0, 100, 100], \"area\": 5000, \"iscrowd\": 0, \"num_keypoints\": 17}}", id);
    }
    write_file(gt, R"({"images": [{"id": 139, "file_name": "a"}, {"id": 785, "file_name": "b"}], "annotations": [)" +
                       people + R"(], "categories": [{"id": 1, "name": "person"}]})");
    write_file(dt, "[" + entry(139) + ", " + entry(785) + "]");
  }
  std::string command() const { return program("coco_eval") + " --gt " + gt.string() + " --dt " + dt.string(); }
};

TEST(CocoEvalProgram, PrintsTenLinesAndWritesFullPrecision) {
  const CocoFiles f;
  const fs::path out = f.folder / "out.json";
  const Ended e = run(f.command() + " --json " + out.string());
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_EQ(std::count(e.output.begin(), e.output.end(), '\n'), 10);
  EXPECT_TRUE(
      e.output.starts_with(" Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ] = 1.000\n"));
  EXPECT_EQ(e.errors, "") << "nothing dropped, nothing said";
  const auto json = parse_json_file(out);
  ASSERT_EQ(json["stats"].Size(), 10u);
  EXPECT_NEAR(json["stats"][0].GetDouble(), 1, 1e-12);
  EXPECT_EQ(json["stats"][4].GetDouble(), -1);
  for (const char* key : {"load", "match", "accumulate"}) EXPECT_GT(json["seconds"][key].GetDouble(), 0) << key;
  EXPECT_EQ(json["sigmas"].Size(), 17u);
  EXPECT_GT(json["peak_bytes"].GetInt64(), 1 << 20);
}

TEST(CocoEvalProgram, SaysWhatItDroppedAndIgnored) {
  const CocoFiles f;
  std::string list = "[" + entry(139);
  for (int i = 0; i < 22; ++i) list += ", " + entry(785);
  std::string other = entry(139);
  other.replace(other.find("\"category_id\": 1"), 16, "\"category_id\": 7");
  write_file(f.dt, list + ", " + other + "]");
  std::string gt = read_file(f.gt);
  gt.replace(gt.find("\"num_keypoints\": 17"), 19, "\"num_keypoints\": 0 ");
  write_file(f.gt, gt);
  const Ended e = run(f.command());
  EXPECT_EQ(e.status, 0);
  EXPECT_EQ(e.errors,
            "1 detection dropped: of a category that is not evaluated (the first is entry [23])\n"
            "2 detections dropped: beyond the best 20 of a picture\n"
            "1 person ignored: no labelled joint\n");
  expect_refused(f.command() + " --refuse-other-categories", {"dt.json: entry [23]", "category_id 7", "evaluated: 1"});
}

TEST(CocoEvalProgram, AnyJointCountSigmasAndCategory) {
  const CocoFiles f;
  EXPECT_EQ(run(f.command() + " --sigmas " + fmt::format("{}", fmt::join(std::vector<double>(17, 0.1), ","))).status,
            0);
  EXPECT_EQ(run(f.command() + " --keypoints-path coco --categories 1").status, 0);
  expect_refused(f.command() + " --sigmas 0.1,0.2", {"51 keypoint numbers", "3 x 2"});
  expect_refused(f.command() + " --keypoints-path crowdpose", {"51 keypoint numbers", "3 x 14"});
  expect_refused(f.command() + " --categories 4", {"gt.json", "no category 4", "it has 1"});
  expect_refused(f.command() + " --keypoints-path nobody", {"nobody"});
}

// Every kind of bad input is reported with the file, the entry and what was expected.
TEST(CocoEvalProgram, BadInputEndsWithOneMessageAndStatus2) {
  const CocoFiles f;
  const auto dt = [&](const std::string& text, std::initializer_list<std::string> words) {
    write_file(f.dt, text);
    expect_refused(f.command(), words);
  };
  dt("[" + entry(139) + ", " + entry(140) + "]", {"dt.json: entry [1]", "image_id 140", "2 images", "gt.json"});
  dt("[" + entry(139, "1", 50) + "]", {"dt.json: entry [0]", "keypoints", "50"});
  dt("[" + entry(139) + ", " + entry(139, "1", 48) + "]", {"dt.json: entry [1]", "48 keypoint numbers", "3 x 17"});
  dt("[" + entry(139) + ", " + entry(139, "NaN") + "]", {"dt.json: entry [1]", "keypoints[6]", "finite"});
  dt("[" + entry(139) + ", " + entry(139, "Infinity") + "]", {"dt.json: entry [1]", "keypoints[6]", "finite"});
  dt("[" + entry(139) + ", " + entry(139, "1e999") + "]", {"dt.json: entry [1]", "keypoints[6]", "finite"});
  dt("[" + entry(139) + ", " + entry(139, "\"1\"") + "]", {"dt.json: entry [1]: keypoints", "a string"});
  std::string nan = entry(785);
  nan.replace(nan.find("0.5"), 3, "NaN");
  dt("[" + nan + "]", {"dt.json: entry [0]", "score", "finite"});
  dt("{\"annotations\": [" + entry(139) + "]}", {"dt.json", "expected a list of results", "an object"});
  dt("[" + entry(139) + ", " + entry(785).substr(0, 100), {"dt.json:1:", "not valid JSON", "ends too early"});
  dt("[]", {"dt.json", "empty", "gt.json"});
  dt("[{}]", {"dt.json: entry [0]", "no \"image_id\""});
  dt("", {"dt.json:1:1", "not valid JSON"});
  write_file(f.dt, "[" + entry(139) + "]");

  const std::string good = read_file(f.gt);
  const auto gt = [&](const std::string& from, const std::string& to, std::initializer_list<std::string> words) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos) << from;
    write_file(f.gt, text.replace(text.find(from), from.size(), to));
    expect_refused(f.command(), words);
  };
  gt("\"id\": 2", "\"id\": 1", {"gt.json: annotations[1] (id 1)", "already used by annotations[0]"});
  gt("{\"id\": 785,", "{\"id\": 139,", {"gt.json: images[1] (id 139)", "already used by images[0]"});
  gt("\"area\": 5000", "\"area\": NaN", {"gt.json: annotations[0]", "area", "got nan", "--on-bad-sample skip"});
  gt("\"area\": 5000", "\"area\": null", {"gt.json: annotations[0]", "\"area\"", "--fill-in"});
  gt("[0, 0, 100, 100]", "[0, 0, 100]", {"gt.json: annotations[0]", "bbox", "x, y, width, height"});
  gt("\"iscrowd\": 0, ", "", {"gt.json: annotations[0] (id 1)", "\"iscrowd\" (0 or 1)", "--fill-in"});
  gt("\"annotations\"", "\"people\"", {"gt.json", "no \"annotations\""});
  gt(good, good.substr(0, good.size() / 2), {"gt.json:1:", "not valid JSON"});
  gt(good, "[]", {"gt.json", "an object with images and annotations", "a list"});
  write_file(f.gt, good);
  expect_refused(program("coco_eval") + " --gt /nowhere.json --dt " + f.dt.string(), {"/nowhere.json"});
  EXPECT_EQ(run(f.command()).status, 0);
}

// pycocotools computes numbers in these cases, and so does coco_eval, with a remark beside the numbers and in --json.
TEST(CocoEvalProgram, RemarksStandBesideTheNumbersAndInTheJson) {
  const CocoFiles f;
  const std::string good = read_file(f.gt), json = (f.folder / "out.json").string();
  std::string category = entry(139);
  category.replace(category.find("\"category_id\": 1"), 16, "\"category_id\": 3");
  write_file(f.dt, "[" + category + "]");
  const Ended never = run(f.command() + " --json " + json);
  EXPECT_EQ(never.status, 0) << never.errors;
  EXPECT_TRUE(contains(never.output, "maxDets= 20 ] = 0.000"));
  EXPECT_TRUE(contains(never.errors, "have category_id 1, the detections have 3: they never match")) << never.errors;
  const auto written = parse_json_file(json);
  ASSERT_EQ(written["remarks"].Size(), 2u);
  EXPECT_TRUE(contains(never.errors, written["remarks"][0].GetString()));

  write_file(f.dt, "[" + entry(139) + "]");
  std::string text = good;
  write_file(f.gt, text.replace(text.find("\"image_id\": 785"), 15, "\"image_id\": 5"));
  const Ended unknown = run(f.command());
  EXPECT_EQ(unknown.status, 0) << unknown.errors;
  EXPECT_EQ(unknown.errors, "1 person dropped: of an image that is not in the truth's list of images\n");

  text = good;
  write_file(f.gt, text.replace(text.find("\"iscrowd\": 0, "), 14, ""));
  const Ended filled = run(f.command() + " --fill-in");
  EXPECT_EQ(filled.status, 0) << filled.errors;
  EXPECT_TRUE(contains(filled.errors, "\"iscrowd\" of 1 person is taken as 0")) << filled.errors;
}

TEST(CocoEvalProgram, GoldenCasesThroughTheProgram) {
  HR_NEEDS_ORACLE("eval/golden.json");
  const auto golden = parse_json_file(test::oracle("eval/golden.json"));
  const fs::path folder = test::temporary_folder(), out = folder / "out.json", arrays = folder / "arrays.safetensors";
  for (const auto& c : golden["cases"].GetObject()) {
    const std::string name = c.name.GetString();
    const std::string command = program("coco_eval") + " --gt " + test::oracle("eval").string() + "/" +
                                c.value["gt"].GetString() + " --dt " + test::oracle("eval").string() + "/" +
                                c.value["dt"].GetString() + " --json " + out.string() + " --arrays " + arrays.string();
    if (name.starts_with("nan_")) {
      expect_refused(command, {"finite"});
      continue;
    }
    ASSERT_EQ(run(command).status, 0) << name;
    const auto json = parse_json_file(out);
    for (rapidjson::SizeType i = 0; i < 10; ++i) {
      EXPECT_NEAR(json["stats"][i].GetDouble(), c.value["stats"][i].GetDouble(), 1e-12) << name << " " << i;
    }
    const SafetensorsFile ours(arrays), stored(test::oracle(std::string("eval/") + c.value["curves"].GetString()));
    for (const char* array : {"precision", "recall", "scores"}) {
      EXPECT_EQ(ours.at(array).shape, stored.at(array).shape) << name;
      EXPECT_EQ(ours.at(array).to_f64(), stored.at(array).to_f64()) << name << " " << array;
    }
  }
  for (const auto& c : golden["reject"].GetObject()) {
    expect_refused(program("coco_eval") + " --gt " + test::oracle("eval").string() + "/" + c.value["gt"].GetString() +
                       " --dt " + test::oracle("eval").string() + "/" + c.value["dt"].GetString(),
                   {c.value["dt"].GetString()});
  }
}

TEST(CocoEvalProgram, CrowdPoseIsSeenInTheFile) {
  const fs::path data = test::source_folder() / "tests/eval/data", out = test::temporary_folder() / "out.json";
  const std::string command = program("coco_eval") + " --gt " + (data / "crowdpose.gt.json").string() + " --dt " +
                              (data / "crowdpose.dt.json").string() + " --json " + out.string();
  const Ended e = run(command);
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_EQ(std::count(e.output.begin(), e.output.end(), '\n'), 9);
  EXPECT_TRUE(contains(e.output, "type=  hard | maxDets= 20 ] = 0.239")) << e.output;
  EXPECT_TRUE(contains(e.errors, "rules of xtcocotools_crowd"));
  EXPECT_EQ(parse_json_file(out)["stats"].Size(), 9u);
  EXPECT_EQ(parse_json_file(out)["stats"][6].GetDouble(), 0.0776);
  EXPECT_EQ(run(command + " --rules pycocotools --keypoints-path crowdpose").status, 0);
  EXPECT_EQ(parse_json_file(out)["stats"].Size(), 10u);
}

TEST(CocoEvalProgram, AnalysisIsATableAndAPicture) {
  const CocoFiles f;
  const fs::path picture = f.folder / "a.png";
  const Ended e = run(f.command() + " --analysis " + picture.string());
  ASSERT_EQ(e.status, 0) << e.errors;
  for (const char* word : {"nose", "right_ankle", "jitter", "inversion", "swap", "miss", "if corrected"}) {
    EXPECT_TRUE(contains(e.output, word)) << word;
  }
  const Image image = read_image(picture);
  EXPECT_GT(image.width, 600);
  int coloured = 0;  // pixels of the bars that show correct joints
  for (size_t i = 0; i + 2 < image.rgb.size(); i += 3) {
    coloured += image.rgb[i] == 120 && image.rgb[i + 1] == 170 && image.rgb[i + 2] == 110 ? 1 : 0;
  }
  EXPECT_GT(coloured, 10000);
}

TEST(Bench, EvalComparesThreadsAndReadsEveryStyle) {
  testing::internal::CaptureStdout();
  bench_eval({.images = 40, .people = 80, .detections = 500, .repeats = 1, .warmup = 0, .json = true});
  const auto json = parse_json(testing::internal::GetCapturedStdout(), "bench");
  EXPECT_EQ(json["read"].Size(), 4u);
  for (const auto& file : json["read"].GetArray()) EXPECT_GT(file["mb_per_s"].GetDouble(), 0);
  EXPECT_TRUE(json["same_bytes_at_1_2_8_threads"].GetBool());
  EXPECT_GT(json["ap"].GetDouble(), 0.05);
  EXPECT_LT(json["ap"].GetDouble(), 0.95);
}

}  // namespace
}  // namespace hr
