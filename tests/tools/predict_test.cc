// Tests predict on the kinds of files that people have in their folders.
#include <gtest/gtest.h>

#include <dlfcn.h>

#include <atomic>
#include <cstdio>

#include <jpeglib.h>  // needs stdio's FILE first

#include "core/error.h"
#include "core/io/json.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"
#include "tools/cli/model_options.h"
#include "tools/programs/predict.h"

namespace {
std::atomic<int> decoded{0};
}

// Counts the JPEG pictures that this program decodes.
extern "C" boolean jpeg_start_decompress(j_decompress_ptr info) {
  static const auto next = reinterpret_cast<boolean (*)(j_decompress_ptr)>(::dlsym(RTLD_NEXT, "jpeg_start_decompress"));
  ++decoded;
  return next(info);
}

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

fs::path weights(float poison = 0) {
  const fs::path path = test::temporary_folder() / "weights.safetensors";
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  if (poison != 0) model->parameters().values.data<float>()[0] = poison;
  save_state_dict(path, model->parameters(), {{"input_h", "64"}, {"input_w", "64"}});
  return path;
}

// A picture with a gradient, so that its sides can be distinguished.
Image picture(int w = 96, int h = 64) {
  Image image(w, h);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      image.at(x, y)[0] = static_cast<uint8_t>(x * 2);
      image.at(x, y)[1] = static_cast<uint8_t>(y * 3);
    }
  }
  return image;
}

// Gives the file an EXIF orientation.
void turn(const fs::path& path, char orientation) {
  const std::string_view before(
      "\xFF\xE1\0\x22"
      "Exif\0\0MM\0\x2A\0\0\0\x08"
      "\0\x01\x01\x12\0\x03\0\0\0\x01\0",
      29);
  const std::string exif = std::string(before) + orientation + std::string(6, '\0');
  std::string bytes = read_file(path);
  write_file(path, bytes.substr(0, 2) + exif + bytes.substr(2));
}

std::vector<double> keypoints(const Json& pose) {
  std::vector<double> v;
  for (const Json& x : pose["keypoints"].GetArray()) v.push_back(x.GetDouble());
  return v;
}

TEST(Predict, EveryPictureIsDecodedOnce) {
  const fs::path in = test::temporary_folder();
  for (const char* name : {"a.jpg", "b.jpg", "c.jpg"}) write_image(in / name, picture());
  PredictOptions o;
  o.inputs = {in.string()};
  o.weights = weights().string();
  o.output_dir = (in / "out").string();
  o.threads = 1;
  for (const int workers : {0, 2}) {
    o.workers = workers;
    decoded = 0;
    predict(o);
    EXPECT_EQ(decoded, 3);
  }
}

TEST(Predict, APictureIsReadAsItIsSeen) {
  const fs::path in = test::temporary_folder();
  write_image(in / "turned.jpg", picture());
  turn(in / "turned.jpg", 6);
  // The upright file has the same pixels without loss.
  write_image(in / "upright.png", read_image(in / "turned.jpg", Orientation::apply));
  const Ended e = run(program("predict") + " " + in.string() + " --weights " + weights().string() + " --output-dir " +
                      (in / "out").string());
  ASSERT_EQ(e.status, 0) << e.output;
  const auto poses = parse_json_file(in / "out/poses.json");
  ASSERT_EQ(poses.Size(), 2u);
  EXPECT_EQ(keypoints(poses[0]), keypoints(poses[1]));
  const Image overlay = read_image(in / "out/turned_pose.jpg");
  EXPECT_EQ(overlay.width, 64);
  EXPECT_EQ(overlay.height, 96);
}

TEST(Predict, StraysArePassedOverOtherFormatsNamedAndABadPictureIsTold) {
  const fs::path in = test::temporary_folder();
  write_image(in / "good.jpg", picture());
  for (const char* stray : {"._good.jpg", ".DS_Store", "Thumbs.db", ".hidden.png"}) write_file(in / stray, "x");
  write_file(in / "phone.heic", "x");
  write_file(in / "web.webp", "x");
  write_file(in / "broken.jpg", read_file(in / "good.jpg").substr(0, 400));
  const std::string command = program("predict") + " " + in.string() + " --weights " + weights().string() +
                              " --output-dir " + (in / "out").string();
  Ended e = run(command);
  EXPECT_EQ(e.status, 2) << e.output;
  EXPECT_NE(e.output.find("2 files left out"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("phone.heic, web.webp"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("1 of 2 pictures could not be read; the others are done"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("broken.jpg: "), std::string::npos) << e.output;
  for (const char* silent : {".DS_Store", "Thumbs", "._good", ".hidden"})
    EXPECT_EQ(e.output.find(silent), std::string::npos) << e.output;
  EXPECT_TRUE(fs::exists(in / "out/good_pose.jpg"));
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), 1u);
  fs::remove(in / "broken.jpg");
  EXPECT_EQ(run(command).status, 0);
}

TEST(Predict, OnBadSampleDecidesAboutUnreadableAndDamagedPictures) {
  const fs::path in = test::temporary_folder();
  write_image(in / "good.jpg", picture());
  const std::string jpeg = read_file(in / "good.jpg");
  // There are bytes behind the last code of the picture. All pixels are there, but libjpeg warns.
  write_file(in / "damaged.jpg", jpeg.substr(0, jpeg.size() - 2) + std::string(40, 'x') + jpeg.substr(jpeg.size() - 2));
  write_file(in / "broken.jpg", jpeg.substr(0, 400));
  const std::string command = program("predict") + " " + in.string() + " --weights " + weights().string() +
                              " --output-dir " + (in / "out").string();
  Ended e = run(command);
  EXPECT_EQ(e.status, 2);
  EXPECT_NE(e.output.find("1 of 3 pictures could not be read; the others are done"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("damaged.jpg: Corrupt JPEG data"), std::string::npos) << e.output;
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), 2U);

  e = run(command + " --on-bad-sample skip");
  EXPECT_EQ(e.status, 0) << e.output;
  EXPECT_NE(e.output.find("2 of 3 pictures left out; the others are done"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("damaged.jpg: Corrupt JPEG data"), std::string::npos) << e.output;
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), 1U);

  fs::remove(in / "broken.jpg");
  e = run(command + " --on-bad-sample fail");
  EXPECT_EQ(e.status, 2);
  EXPECT_NE(e.output.find("damaged.jpg: Corrupt JPEG data"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("(--on-bad-sample skip leaves it out)"), std::string::npos) << e.output;
}

TEST(Predict, EqualNamesInDifferentFoldersAreKeptApart) {
  const fs::path in = test::temporary_folder();
  for (const char* folder : {"a", "b"}) {
    fs::create_directories(in / folder);
    write_image(in / folder / "1.jpg", picture());
  }
  write_image(in / "a/1.png", picture());
  const Ended e =
      run(program("predict") + " " + (in / "a").string() + " " + (in / "b").string() + " " + (in / "a/1.jpg").string() +
          " --weights " + weights().string() + " --output-dir " + (in / "out").string());
  ASSERT_EQ(e.status, 0) << e.output;
  for (const char* name : {"a_1_jpg_pose.jpg", "b_1_jpg_pose.jpg", "1_png_pose.jpg"})
    EXPECT_TRUE(fs::exists(in / "out" / name)) << name;
  EXPECT_EQ(parse_json_file(in / "out/poses.json").Size(), 3u);
}

// The poses can be passed to coco_eval as they are: they have ids, categories, and scores also for weak poses.
TEST(Predict, PosesCarryTheTruthsIdsAndCategories) {
  const fs::path in = test::temporary_folder();
  CocoAnnotations truth;
  truth.categories = {{7, "person", coco_skeleton().names, {}}};
  for (const int64_t id : {4711, 15}) {
    const std::string name = fmt::format("{}.jpg", id == 15 ? "first" : "second");
    fs::create_directories(in / "img");
    write_image(in / "img" / name, picture());
    truth.images.push_back({.id = id, .file_name = "img/" + name, .width = 96, .height = 64});
    CocoAnnotation a;
    a.id = id;
    a.image_id = id;
    a.category_id = 7;
    a.box = {10, 10, 40, 40};
    a.area = 1600;
    a.num_keypoints = 17;
    for (int k = 0; k < 17; ++k) a.keypoints.insert(a.keypoints.end(), {20.0 + k, 30.0, 2.0});
    truth.annotations.push_back(a);
  }
  write_coco(in / "truth.json", truth);
  const Ended e = run(program("predict") + " " + (in / "img").string() + " --boxes " + (in / "truth.json").string() +
                      " --weights " + weights().string() + " --output-dir " + (in / "out").string());
  ASSERT_EQ(e.status, 0) << e.output;
  const auto poses = parse_json_file(in / "out/poses.json");
  ASSERT_EQ(poses.Size(), 2u);
  EXPECT_EQ(poses[0]["image_id"].GetInt64(), 15);
  EXPECT_EQ(poses[1]["image_id"].GetInt64(), 4711);
  for (const Json& pose : poses.GetArray()) {
    EXPECT_EQ(pose["category_id"].GetInt64(), 7);
    double best = 0;
    for (size_t k = 2; k < 51; k += 3) best = std::max(best, keypoints(pose)[k]);
    EXPECT_EQ(pose["score"].GetDouble() > 0, best > 0);
  }
  const Ended evaluated = run(program("coco_eval") + " --gt " + (in / "truth.json").string() + " --dt " +
                              (in / "out/poses.json").string() + " --json " + (in / "numbers.json").string());
  EXPECT_EQ(evaluated.status, 0) << evaluated.output;
  const auto numbers = parse_json_file(in / "numbers.json");
  EXPECT_GE(numbers["stats"][0].GetDouble(), 0) << "people are there to be found";
  for (const char* reason : {"people_other_category", "detections_other_category", "detections_unseen"})
    EXPECT_EQ(numbers["dropped"][reason].GetInt64(), 0) << reason;
}

TEST(Predict, NanWeightsAreRefusedInOneMessage) {
  const fs::path in = test::temporary_folder();
  write_image(in / "a.jpg", picture());
  const Ended e =
      run(program("predict") + " " + in.string() + " --weights " +
          weights(std::numeric_limits<float>::quiet_NaN()).string() + " --output-dir " + (in / "out").string());
  EXPECT_EQ(e.status, 2) << e.output;
  EXPECT_NE(e.output.find("conv1.weight"), std::string::npos) << e.output;
  EXPECT_NE(e.output.find("not finite"), std::string::npos) << e.output;
  EXPECT_FALSE(fs::exists(in / "out/poses.json"));
}

TEST(Predict, FixedSizeOverridesABadSizeInTheMetadata) {
  const fs::path in = test::temporary_folder();
  write_image(in / "a.jpg", picture());
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  save_state_dict(in / "w.safetensors", model->parameters(), {{"input_h", "1073741824"}, {"input_w", "abc"}});
  const std::string command = program("predict") + " " + (in / "a.jpg").string() + " --weights " +
                              (in / "w.safetensors").string() + " --output-dir " + (in / "out").string();
  EXPECT_EQ(run(command).status, 2);
  const Ended e = run(command + " --fixed-size 64 64");
  EXPECT_EQ(e.status, 0) << e.output;
}

}  // namespace
}  // namespace hr
