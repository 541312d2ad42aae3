// Tests the programs detect, coco_eval --type bbox and forward with a detector, started as a user starts them.
#include <gtest/gtest.h>

#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "tests/support/program.h"
#include "tests/support/yolox.h"

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

Image made_picture(int w, int h, size_t seed) {
  Image picture(w, h);
  for (size_t i = 0; i < picture.rgb.size(); ++i)
    picture.rgb[i] = static_cast<uint8_t>(((i + seed) * 2654435761U) >> 9);
  return picture;
}

// Two pictures in COCO's layout with one person each, and a network with computed weights that finds people anywhere.
struct Setting {
  fs::path root = test::temporary_folder(), weights;
  Setting() {
    auto entries = test::yolox_by_formula({8, 1, true, 80});
    for (auto& [name, e] : entries) {
      // Class 0, the person, always has the highest score.
      if (name.starts_with("head.cls_preds.") && name.ends_with(".bias")) e.numbers[0] = 8;
    }
    weights = test::write_entries(entries);
    CocoAnnotations truth;
    fs::create_directories(root / "val2017");
    fs::create_directories(root / "annotations");
    for (const int64_t id : {7, 9}) {
      const std::string name = fmt::format("{:012}.png", id);
      write_image(root / "val2017" / name, made_picture(90, 60, static_cast<size_t>(id)));
      truth.images.push_back({.id = id, .file_name = name, .width = 90, .height = 60});
      truth.annotations.push_back(
          {.id = id, .image_id = id, .box = {10, 10, 40, 40}, .area = 1600, .keypoints = std::vector<double>(51)});
    }
    truth.categories = {{.id = 1, .name = "person"}};
    write_coco(root / "annotations" / "person_keypoints_val2017.json", truth);
  }
  std::string command(const std::string& rest) const {
    return program("detect") + " --detector " + weights.string() + " --input-size 64 96 --threads 1 " + rest;
  }
};
const Setting& setting() {
  static const Setting s;
  return s;
}

TEST(Detect, ADataSetsImageIdsAreWritten) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const std::string where = "--data-path " + s.root.string() + " --output " + (out / "d.json").string();
  ASSERT_EQ(run(s.command(where)).status, 0);
  const std::vector<CocoDetection> found = read_coco_detections(out / "d.json");
  ASSERT_FALSE(found.empty());
  for (const CocoDetection& d : found) {
    EXPECT_TRUE(d.image_id == 7 || d.image_id == 9) << d.image_id;
    EXPECT_EQ(d.category_id, 1);
    EXPECT_TRUE(d.has_box);
  }
  // Other classes than people are compared with instances_*.
  const Ended other = run(s.command(where + " --classes all"));
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.output.find("instances_val2017.json"), std::string::npos) << other.output;
  const Ended nothing = run(s.command(where + " --confidence 1"));
  EXPECT_EQ(nothing.status, 0) << nothing.output;
  EXPECT_NE(nothing.output.find("nothing was found, so nothing is measured"), std::string::npos);
  EXPECT_TRUE(read_coco_detections(out / "d.json").empty());
}

TEST(Detect, TheNumbersAreThoseOfCocoEvalOnTheWrittenFile) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const Ended e = run(s.command("--data-path " + s.root.string() + " --output " + (out / "d.json").string()));
  ASSERT_EQ(e.status, 0) << e.output;
  const Ended again =
      run(program("coco_eval") + " --type bbox --gt " +
          (s.root / "annotations/person_keypoints_val2017.json").string() + " --dt " + (out / "d.json").string());
  ASSERT_EQ(again.status, 0) << again.output;
  const size_t at = again.output.find(" Average Precision");
  ASSERT_NE(at, std::string::npos) << again.output;
  const std::string last = "maxDets=100 ] = ";
  const size_t end = again.output.rfind(last) + last.size() + 5;
  EXPECT_NE(e.output.find(again.output.substr(at, end - at)), std::string::npos) << e.output << again.output;
}

TEST(Detect, PicturesCountFromOneAndOnesThatCannotBeReadArePassed) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  fs::copy(s.root / "val2017", out / "pictures");
  write_file(out / "pictures" / "broken.jpg", "no picture");
  const std::string json = (out / "d.json").string();
  const Ended e = run(s.command((out / "pictures").string() + " --classes all --draw " + (out / "drawn").string() +
                                " --output " + json));
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find("1 picture could not be read"), std::string::npos) << e.output;
  const auto document = parse_json_file(json);
  ASSERT_GT(document.Size(), 0u);
  EXPECT_STREQ(document[0]["file_name"].GetString(), "000000000007.png");
  EXPECT_EQ(document[0]["image_id"].GetInt64(), 1);
  EXPECT_TRUE(fs::exists(out / "drawn" / "000000000007_boxes.jpg"));
}

TEST(Detect, OfAFolderThePicturesOfEveryKindAreReadAndFilesOfFileManagersAreNot) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder(), in = out / "pictures";
  fs::create_directories(in);
  write_file(in / "a.pnm", "P6 2 1 255\n" + std::string(6, 'x'));
  for (const char* stray : {"._b.jpg", ".DS_Store", "Thumbs.db"}) write_file(in / stray, "no picture");
  write_file(in / "c.heic", "of another kind");
  const std::string twice = in.string() + " " + (in / "a.pnm").string();
  const Ended e = run(s.command(twice + " --classes all --output " + (out / "d.json").string()));
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find(" in 1 picture:"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("1 file left out"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("c.heic"), std::string::npos) << e.output;
  EXPECT_EQ(e.output.find("could not be read"), std::string::npos) << e.output;
}

TEST(Detect, WhatIsWrongIsSaidInOneLine) {
  const Setting& s = setting();
  const auto refused = [](const std::string& command, const std::string& words) {
    const Ended e = run(command);
    EXPECT_EQ(e.status, 2) << command << "\n" << e.output;
    EXPECT_NE(e.output.find(words), std::string::npos) << words << " in: " << e.output;
  };
  const std::string picture = (s.root / "val2017" / "000000000007.png").string();
  refused(s.command(""), "expected either pictures or folders, or a dataset with --data-path");
  refused(s.command("/nowhere/a.jpg"), "no such file or folder");
  refused(s.command(picture + " --classes unicorn"), "has no class 'unicorn'");
  refused(s.command("--data-path /nowhere"), "no annotations");
  refused(program("detect") + " --detector " + picture + " " + picture, "expected weights");
  refused(program("predict") + " --weights " + s.weights.string() + " " + picture, "a detector of 80 classes");
}

TEST(Detect, ForwardGivesADetectorsRawOutput) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const std::vector<float> numbers(2 * 3 * 64 * 96, 0.5f);
  const NamedArray input{"input", DType::f32, {2, 3, 64, 96}, std::as_bytes(std::span(numbers))};
  write_safetensors(out / "in.safetensors", std::span(&input, 1));
  const std::string files =
      " --input " + (out / "in.safetensors").string() + " --output " + (out / "out.safetensors").string();
  const Ended e = run(program("forward") + " --weights " + s.weights.string() + files);
  ASSERT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(SafetensorsFile(out / "out.safetensors").at("output").shape, (Shape{2, 126, 85}));
  const Ended other = run(program("forward") + " --model yolox_s --weights " + s.weights.string() + files);
  EXPECT_EQ(other.status, 2);
  EXPECT_NE(other.output.find("you asked for yolox_s"), std::string::npos) << other.output;
}

}  // namespace
}  // namespace hr
