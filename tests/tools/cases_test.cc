// Runs the programs on small files of kinds that people have reported (../shared/cases), each with the right answer. A
// user's clone has none of these files; the tests of the rooms check the same answers on data that they make.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "core/file.h"
#include "core/io/json.h"
#include "data/formats/image.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

class Cases : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(cases_)) GTEST_SKIP() << "no such folder: " << cases_.string();
  }

  std::string of(const std::string& name) const { return (cases_ / name).string(); }

  Ended evaluated(const std::string& truth, const std::string& results, const std::string& flags = "") const {
    return run(program("coco_eval") + " --gt " + of(truth) + " --dt " + of(results) + " " + flags);
  }

  // Trains one epoch on the people of a file.
  Ended trained(const std::string& truth, const std::string& images, const std::string& flags = "") const {
    return run(program("train") + " --model hrnet_w2 --fixed-size 64 64 --batch-size 4 --epochs 1 --workers 1" +
               " --train-annotations " + of(truth) + " --train-images " + of(images) + " --val-annotations " +
               of(truth) + " --val-images " + of(images) + " --output-dir " + (folder_ / "run").string() + " " + flags);
  }

  fs::path weights(int joints = 17) const {
    const fs::path path = folder_ / "weights.safetensors";
    Context cx;
    const auto model = make_model(cx, "hrnet_w2", joints, 3, Init::torch);
    save_state_dict(path, model->parameters(), {{"input_h", "64"}, {"input_w", "64"}});
    return path;
  }

  Ended validated(const std::string& truth, const std::string& flags = "", int joints = 17) const {
    return run(program("validate") + " --val-annotations " + of(truth) + " --val-images " + of("truth/img") +
               " --weights " + weights(joints).string() + " --output-dir " + (folder_ / "val").string() + " " + flags);
  }

  const fs::path cases_ = test::source_folder() / ".." / "shared" / "cases";
  const fs::path folder_ = test::temporary_folder();
};

void expect_says(const Ended& e, int status, std::initializer_list<const char*> parts) {
  EXPECT_EQ(e.status, status) << e.output;
  for (const char* part : parts) EXPECT_NE(e.output.find(part), std::string::npos) << part << " in: " << e.output;
}

void expect_silent(const Ended& e, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_EQ(e.output.find(part), std::string::npos) << part << " in: " << e.output;
}

constexpr const char* kPerfect = "area=   all | maxDets= 20 ] = 1.000";

TEST_F(Cases, APersonsCategoryIsTheirs) {
  expect_says(evaluated("truth/cat0.json", "truth/perfect3.json"), 0, {"] = 0.000", "they never match"});
  expect_says(trained("truth/cat0.json", "truth/img"), 2, {"choose with --categories 0", "--categories all"});
  expect_says(validated("truth/cat0.json"), 2, {"choose with --categories 0"});
  for (const char* truth : {"truth/cat0.json --categories 0", "truth/roboflow.json --categories all"}) {
    const std::string file = std::string(truth).substr(0, std::string(truth).find(' '));
    const std::string flags = std::string(truth).substr(file.size());
    expect_says(trained(file, "truth/img", flags), 0, {"best.safetensors"});
    const Ended e = validated(file, flags);
    expect_says(e, 0, {"key_results.json"});
    expect_silent(e, {"never match", "of a category that is not evaluated"});
  }
  const auto people = parse_json_file(folder_ / "val/key_results.json");
  for (const auto& p : people.GetArray()) EXPECT_EQ(p["category_id"].GetInt(), 1);
}

TEST_F(Cases, AnEvaluationThatCannotMeanAnythingCarriesARemark) {
  expect_says(evaluated("truth/area0.json", "truth/perfect.json"), 0, {kPerfect, "areas of all 8 people are 0"});
  expect_says(trained("truth/area0.json", "truth/img"), 2, {"8 with an area of 0"});
  expect_says(trained("truth/flat.json", "truth/img"), 2, {"id 9001", "an empty box", "--on-bad-sample skip"});
  expect_says(evaluated("results/id0.gt.json", "results/id0.dt.json"), 0, {"] = 0.000", "has id 0"});
  const Ended boxed = evaluated("results/boxed.gt.json", "results/boxed.dt.json");
  expect_says(boxed, 0, {"area=medium | maxDets= 20 ] = 0.151", "area= large | maxDets= 20 ] = 0.618"});
}

TEST_F(Cases, BadEntriesAreSkippedWhateverIsWrongWithThem) {
  for (const char* name : {"mixed", "emptylist", "bboxnull", "infbox"}) {
    const std::string truth = std::string("truth/") + name + ".json";
    expect_says(validated(truth), 2, {"--on-bad-sample skip"});
    expect_says(validated(truth, "--on-bad-sample skip"), 0, {"left out", "key_results.json"});
    expect_says(trained(truth, "truth/img"), 2, {"--on-bad-sample skip"});
    expect_says(trained(truth, "truth/img", "--on-bad-sample skip"), 0, {"best.safetensors"});
  }
  expect_says(evaluated("truth/bboxnull.json", "truth/perfect3.json"), 2,
              {"bbox: expected a list of 4 numbers, got null", "--on-bad-sample skip"});
  expect_says(evaluated("truth/infbox.json", "truth/perfect3.json"), 2, {"--on-bad-sample skip"});
  for (const char* truth : {"truth/bboxnull.json", "truth/infbox.json"}) {
    expect_says(evaluated(truth, "truth/perfect3.json", "--on-bad-sample skip"), 0,
                {"left out: ", "id 9001", "] = 0.833"});
  }
  // All of them are lists within lists, so nothing is left if they are skipped.
  expect_says(evaluated("truth/nested.json", "truth/perfect3.json"), 2,
              {"keypoints: expected one list of numbers, got lists in a list", "--on-bad-sample skip"});
  expect_says(trained("truth/nested.json", "truth/img", "--on-bad-sample skip"), 2,
              {"got lists in a list", "all of the 6 annotations"});
}

TEST_F(Cases, WhatIsNotNeededIsNotJudged) {
  // pycocotools gives 1.000 for each.
  for (const char* name : {"cat_skeleton_null", "img_size_zero", "num_null", "nan0"}) {
    const std::string truth = std::string("truth/") + name + ".json";
    expect_says(evaluated(truth, "truth/perfect3.json"), 0, {kPerfect});
    expect_says(trained(truth, "truth/img"), 0, {"best.safetensors"});
    expect_says(validated(truth), 0, {"key_results.json"});
  }
}

TEST_F(Cases, TheMessageLeadsToTheFlagThatHelpsAndACheckpointKnowsItsSkeleton) {
  expect_says(trained("truth/eight.json", "truth/img"), 2, {"--keypoints-path categories"});
  expect_says(trained("truth/eight.json", "truth/img", "--keypoints-path categories"), 0, {"best.safetensors"});
  const std::string images = " --val-images " + of("truth/img");
  const std::string validate = program("validate") + " --val-annotations " + of("truth/eight.json") + images +
                               " --output-dir " + (folder_ / "val").string() + " --weights ";
  expect_says(run(validate + (folder_ / "run/best.safetensors").string()), 0, {"key_results.json"});
  expect_says(run(validate + weights(8).string() + " --keypoints-path categories"), 0, {"key_results.json"});
}

TEST_F(Cases, AByteOrderMarkIsPassedOver) {
  expect_says(trained("truth/bom.json", "truth/img"), 0, {"best.safetensors"});
  expect_says(validated("truth/bom.json"), 0, {"key_results.json"});
  // The file has two of the pictures in the results, and is read to its end.
  expect_says(evaluated("truth/bom.json", "truth/perfect.json"), 2, {"not among the 2 images"});
}

TEST_F(Cases, ATestListGivesServerFilesAndNoNumbers) {
  const std::string list = "truth/image_info_test-dev2017.json";
  expect_says(validated(list), 2, {"--person-det"});
  const auto images = parse_json_file(of(list));
  std::string boxes;
  for (const auto& image : images["images"].GetArray()) {
    boxes += fmt::format(R"({}{{"image_id": {}, "category_id": 1, "bbox": [20, 10, 60, 90], "score": 0.9}})",
                         boxes.empty() ? "[" : ", ", image["id"].GetInt64());
  }
  write_file(folder_ / "det.json", boxes + "]");
  const Ended e = validated(list, "--person-det " + (folder_ / "det.json").string());
  EXPECT_EQ(e.status, 0) << e.output;
  expect_silent(e, {"Average Precision", "AP .75"});
  bool written = false;
  for (const auto& file : fs::recursive_directory_iterator(folder_ / "val")) {
    const std::string name = file.path().filename().string();
    if (name.find("results") != std::string::npos && name.ends_with(".json")) {
      written = true;
      EXPECT_EQ(parse_json_file(file.path()).Size(), images["images"].Size()) << name;
    }
  }
  EXPECT_TRUE(written);
}

TEST_F(Cases, TheDetectionFileIsNamedAsTheCause) {
  const Ended five = validated("truth/good.json", "--person-det " + of("results/det_bbox5.json"));
  expect_says(five, 2, {"det_bbox5.json", "entry [", "bbox"});
  expect_silent(five, {"good.json: annotations"});
  expect_says(validated("truth/good.json", "--person-det " + of("results/det_empty.json")), 2,
              {"det_empty.json", "the list of detections is empty"});
}

TEST_F(Cases, PredictReadsPicturesAsTheyAreSeen) {
  const fs::path out = folder_ / "out";
  const std::string predict =
      program("predict") + " --weights " + weights().string() + " --output-dir " + out.string() + " ";
  const auto joints = [&](const std::string& picture) {
    expect_says(run(predict + of("pictures/" + picture)), 0, {"1 person in 1 picture"});
    const auto poses = parse_json_file(out / "poses.json");
    std::vector<double> all;
    if (poses.Size() == 1) {
      for (const auto& v : poses[0]["keypoints"].GetArray()) all.push_back(v.GetDouble());
    }
    return all;
  };
  const auto upright = joints("upright.jpg"), phone = joints("phone.jpg");
  EXPECT_EQ(upright.size(), 51U);
  ASSERT_EQ(phone.size(), 51U);
  for (size_t k = 0; k < 51; ++k) {  // the files are two encodings of one view, so scores differ in the fourth digit
    EXPECT_NEAR(phone[k], upright[k], k % 3 != 2 ? 1e-3 : 1e-4) << k;
  }
  const Image seen = read_image(out / "phone_pose.jpg"), truth = read_image(of("pictures/upright.jpg"));
  EXPECT_EQ(seen.width, truth.width);
  EXPECT_EQ(seen.height, truth.height);
  EXPECT_EQ(joints("no_eoi.jpg"), joints("clean.jpg"));
  // Every code in this file's damaged scan is valid, so libjpeg gives no warning.
  EXPECT_NE(joints("bad_huffman.jpg"), joints("clean.jpg"));
}

TEST_F(Cases, ExifIsNamedAsTheCauseOfAnotherSize) {
  expect_says(trained("pictures/turned/shown.json", "pictures/turned"), 2, {"EXIF", "--recipe seed"});
  const Ended seed = trained("pictures/turned/shown.json", "pictures/turned", "--recipe seed");
  expect_says(seed, 0, {"best.safetensors", "a joint of annotation 9002 is at 133, ", "EXIF (orientation 6)"});
  expect_says(trained("pictures/turned/stored.json", "pictures/turned"), 0, {"best.safetensors"});
}

TEST_F(Cases, FileNamesAreFoundOrTheirCauseIsNamed) {
  for (const char* name : {"backslash_sub", "case", "urlenc"}) {
    const Ended e = trained(std::string("names/") + name + ".json", std::string("names/img_") + name);
    expect_says(e, 0, {"best.safetensors"});
  }
}

TEST_F(Cases, Zip64IsRead) { expect_says(trained("zip/small64.json", "zip/small64.zip"), 0, {"best.safetensors"}); }

}  // namespace
}  // namespace hr
