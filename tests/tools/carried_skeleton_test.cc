// A checkpoint carries its skeleton, so a network with a skeleton of its own needs no flag after training.
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "data/formats/image.h"
#include "data/formats/skeleton.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

// Three pictures of two animals with eight joints, which no built-in skeleton has.
struct Animals {
  fs::path root = test::temporary_folder(), truth = root / "animals.json", img = root / "img";
  Animals() {
    fs::create_directories(img);
    std::string images, people;
    for (int i = 1; i <= 3; ++i) {
      Image image(160, 120);
      for (size_t b = 0; b < image.rgb.size(); ++b) image.rgb[b] = static_cast<uint8_t>(b * 7 + i);
      write_image(img / fmt::format("p{}.jpg", i), image);
      images += fmt::format("{}{{\"id\": {}, \"file_name\": \"p{}.jpg\", \"width\": 160, \"height\": 120}}",
                            i > 1 ? ", " : "", i, i);
      for (int n = 0; n < 2; ++n) {
        std::string joints;
        for (int k = 0; k < 8; ++k) {
          joints += fmt::format("{}{:.1f}, {:.1f}, 2", k > 0 ? ", " : "", 40.0 + 60 * n + 20 * std::cos(k * 0.785),
                                60 + 30 * std::sin(k * 0.785));
        }
        people += fmt::format(
            "{}{{\"id\": {}, \"image_id\": {}, \"category_id\": 1, \"iscrowd\": 0, \"area\": 5400, "
            "\"num_keypoints\": 8, \"bbox\": [{}, 20, 50, 80], \"keypoints\": [{}]}}",
            people.empty() ? "" : ", ", 2 * i + n, i, 15 + 60 * n, joints);
      }
    }
    write_file(truth, fmt::format("{{\"images\": [{}], \"annotations\": [{}], \"categories\": [{{\"id\": 1, "
                                  "\"name\": \"animal\", \"keypoints\": [{}], \"skeleton\": [[1, 2], [2, 3]]}}]}}",
                                  images, people, names("tail")));
  }
  static std::string names(const std::string& sixth) {
    return R"("head", "left_paw", "right_paw", "left_hip", "right_hip", ")" + sixth + R"(", "left_ear", "right_ear")";
  }
  std::string train(const std::string& more) const {
    return fmt::format(
        "{} --train-annotations {} --train-images {} --val-annotations {} --val-images {} --model hrnet_w2 "
        "--fixed-size 64 64 --batch-size 3 --no-flip --workers 1 --threads 1 --output-dir {} {}",
        program("train"), truth.string(), img.string(), truth.string(), img.string(), (root / "run").string(), more);
  }
  std::string validate(const std::string& more) const {
    return fmt::format("{} --val-annotations {} --val-images {} --weights {} --threads 1 --output-dir {} {}",
                       program("validate"), truth.string(), img.string(), weights().string(), (root / "val").string(),
                       more);
  }
  fs::path weights() const { return root / "run/last.safetensors"; }
};

TEST(CarriedSkeleton, WhatWasTrainedWithItNeedsNoFlagAfterwards) {
  const Animals a;
  Ended e = run(a.train("--epochs 1 --keypoints-path categories"));
  ASSERT_EQ(e.status, 0) << e.output;
  const std::string carried = SafetensorsFile(a.weights()).metadata().at("skeleton");
  const Skeleton own = skeleton_from_text(carried, "x");
  EXPECT_EQ(own.names[5], "tail");
  EXPECT_EQ(own.flip_pairs.size(), 3u);

  e = run(a.validate(""));
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(e.output.find("note"), std::string::npos) << e.output;
  e = run(a.validate("--keypoints-path categories"));
  EXPECT_EQ(e.status, 0) << e.output;

  e = run(fmt::format("{} {} --weights {} --threads 1 --output-dir {}", program("predict"), (a.img / "p1.jpg").string(),
                      a.weights().string(), (a.root / "out").string()));
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(parse_json_file(a.root / "out/poses.json")[0]["keypoints"].Size(), 24u);

  e = run(a.train("--epochs 2 --resume " + a.weights().string()));
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(SafetensorsFile(a.weights()).metadata().at("skeleton"), carried);
  e = run(a.train("--test-only --weights " + a.weights().string()));
  EXPECT_EQ(e.status, 0) << e.output;

  const fs::path converted = a.root / "converted.safetensors";
  e = run(program("convert") + " " + a.weights().string() + " " + converted.string());
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_EQ(SafetensorsFile(converted).metadata().at("skeleton"), carried);
}

TEST(CarriedSkeleton, AContradictionIsSaidInOneSentence) {
  const Animals a;
  Ended e = run(a.train("--epochs 1 --keypoints-path categories"));
  ASSERT_EQ(e.status, 0) << e.output;
  write_file(a.root / "other.json", "{\"keypoints\": [" + Animals::names("nose") + "], \"flip_pairs\": [[1, 2]]}");
  const std::string other = " --keypoints-path " + (a.root / "other.json").string();
  const std::string predict = fmt::format("{} {} --weights {} --threads 1 --output-dir {}", program("predict"),
                                          (a.img / "p1.jpg").string(), a.weights().string(), (a.root / "out").string());
  const std::string resume = a.train("--epochs 2 --resume " + a.weights().string());
  for (const std::string& command : {a.validate(""), predict, resume}) {
    e = run(command + other);
    EXPECT_EQ(e.status, 0) << e.output;
    EXPECT_NE(e.output.find("other.json is used, although "), std::string::npos) << e.output;
    EXPECT_NE(e.output.find("last.safetensors was trained with another skeleton (animals.json"), std::string::npos)
        << e.output;
    EXPECT_NE(e.output.find("joint 5 is \"nose\" instead of \"tail\"\n"), std::string::npos) << e.output;
    if (command == resume) break;  // it has trained on with the other skeleton
    e = run(command + " --keypoints-path coco");
    EXPECT_EQ(e.status, 2) << e.output;
    EXPECT_NE(e.output.find("--keypoints-path coco: has 17 joints, but "), std::string::npos) << e.output;
    EXPECT_NE(e.output.find(
                  "trained with 8 (animals.json: category 1); leave --keypoints-path out to use its own skeleton\n"),
              std::string::npos)
        << e.output;
  }
}

TEST(CarriedSkeleton, AStrangersTextIsRefusedUnlessTheFlagReplacesIt) {
  const Animals a;
  Ended e = run(a.train("--epochs 1 --keypoints-path categories"));
  ASSERT_EQ(e.status, 0) << e.output;
  const auto rewrite = [&](const std::string& text) {
    const SafetensorsFile file(a.weights());
    std::vector<NamedArray> arrays;
    for (const std::string& name : file.names()) {
      const ArrayView& view = file.at(name);
      arrays.push_back({name, view.dtype, view.shape, view.bytes});
    }
    auto metadata = file.metadata();
    metadata["skeleton"] = text;
    write_safetensors(a.root / "new.safetensors", arrays, metadata);
    fs::rename(a.root / "new.safetensors", a.weights());
  };
  for (const auto& [text, reason] : {std::pair{"coco", "the skeleton in its metadata (coco) has 17 joints"},
                                     {"{\"keypoints\": 3}", "the skeleton in its metadata: keypoints: expected a list"},
                                     {"[[[[", "neither an object nor the name of a built-in skeleton"}}) {
    rewrite(text);
    e = run(a.validate(""));
    EXPECT_EQ(e.status, 2) << e.output;
    EXPECT_NE(e.output.find(reason), std::string::npos) << e.output;
    e = run(a.validate("--keypoints-path categories"));
    EXPECT_EQ(e.status, 0) << e.output;
  }
}

}  // namespace
}  // namespace hr
