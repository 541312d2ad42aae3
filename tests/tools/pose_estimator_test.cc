// Compares the library's PoseEstimator with the program predict: the same numbers, in memory and from files.
#include "hrnet/infer/pose_estimator.h"

#include <gtest/gtest.h>

#include <future>

#include "core/error.h"
#include "core/io/json.h"
#include "data/draw/draw.h"
#include "hrnet/infer/tracker.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"
#include "tools/programs/predict.h"
#include "tools/synth/synth.h"

namespace hr {
namespace {

fs::path weights(const std::map<std::string, std::string>& more = {}) {
  const fs::path path = test::temporary_folder() / "weights.safetensors";
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  std::map<std::string, std::string> metadata{{"input_h", "96"}, {"input_w", "64"}};
  metadata.insert(more.begin(), more.end());
  save_state_dict(path, model->parameters(), metadata);
  return path;
}

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

std::vector<float> numbers(const std::vector<Pose>& poses) {
  std::vector<float> all;
  for (const Pose& p : poses) {
    const std::vector<float> own = keypoints(p);
    all.insert(all.end(), own.begin(), own.end());
    all.push_back(static_cast<float>(p.score));
  }
  return all;
}

TEST(PoseEstimator, GivesWhatPredictWrites) {
  const fs::path folder = test::temporary_folder();
  synth({.output = folder / "synth", .train_images = 1, .val_images = 3, .seed = 5});
  const fs::path annotations = folder / "synth/annotations/person_keypoints_val2017.json";
  for (const char* codec : {"quarter", "udp"}) {
    PredictOptions o;
    o.inputs = {(folder / "synth/val2017").string()};
    o.boxes = annotations.string();
    o.weights = weights({{"codec", codec}}).string();
    o.output_dir = (folder / codec).string();
    o.batch_size = 3;
    o.threads = 1;
    ASSERT_EQ(predict(o), 0);
    const auto written = parse_json_file(folder / codec / "poses.json");

    const CocoAnnotations truth = read_coco(annotations);
    std::vector<PoseRequest> requests;
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder / "synth/val2017")) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      std::vector<Box> boxes;
      for (const CocoAnnotation& a : truth.annotations) {
        const auto image = std::find_if(truth.images.begin(), truth.images.end(),
                                        [&](const CocoImage& i) { return i.id == a.image_id; });
        if (image->file_name == name && !a.iscrowd && a.box.w > 0 && a.box.h > 0) boxes.push_back(a.box);
      }
      requests.push_back({folder / "synth/val2017" / name, boxes});
    }
    PoseEstimator pose(o.weights, {.batch_size = 4, .oks_nms = 0.9});
    std::vector<Pose> poses;
    for (const auto& some : pose(requests)) poses.insert(poses.end(), some.begin(), some.end());
    ASSERT_EQ(poses.size(), written.Size()) << codec;
    ASSERT_GT(poses.size(), 3u);
    for (size_t i = 0; i < poses.size(); ++i) {
      const Json& w = written[static_cast<rapidjson::SizeType>(i)];
      EXPECT_NEAR(poses[i].score, w["score"].GetDouble(), 1e-6 * w["score"].GetDouble());
      const std::vector<float> own = keypoints(poses[i]);
      for (rapidjson::SizeType k = 0; k < w["keypoints"].Size(); ++k) {
        EXPECT_EQ(own[k], static_cast<float>(w["keypoints"][k].GetDouble())) << codec << " pose " << i << ", " << k;
      }
    }
  }
}

TEST(PoseEstimator, AFileAnImageAndRowsWithAStrideAreTheSamePicture) {
  PoseEstimator pose(weights());
  const Image image = picture();
  const fs::path file = test::temporary_folder() / "a.png";
  write_image(file, image);
  std::vector<uint8_t> wide(static_cast<size_t>(64) * 300, 7);
  for (int y = 0; y < 64; ++y) std::copy_n(image.at(0, y), 96 * 3, wide.data() + static_cast<size_t>(y) * 300);
  const std::vector<float> expected = numbers(pose(image, {{10, 5, 40, 50}}));
  ASSERT_EQ(expected.size(), 17u * 3 + 1);
  EXPECT_EQ(numbers(pose(file, {{10, 5, 40, 50}})), expected);
  EXPECT_EQ(numbers(pose({96, 64, wide.data(), 300}, {{10, 5, 40, 50}})), expected);
  const std::vector<Box> boxes{{10, 5, 40, 50}};
  EXPECT_EQ(numbers(pose(image, boxes)), expected);
}

TEST(PoseEstimator, NoBoxesAreTheWholePictureButADetectorsEmptyListIsNobody) {
  PoseEstimator pose(weights());
  const Image image = picture();
  const std::vector<float> whole = numbers(pose(image, {{0, 0, 96, 64}}));
  EXPECT_EQ(numbers(pose(image)), whole);
  EXPECT_EQ(numbers(pose(image, {})), whole);
  EXPECT_EQ(numbers(pose(image, std::vector<Box>())), whole);
  EXPECT_TRUE(pose(image, std::vector<DetectedBox>()).empty());
}

TEST(PoseEstimator, ABatchOverPicturesGivesWhatEachPictureGivesAlone) {
  PoseEstimator pose(weights(), {.batch_size = 3});
  const Image a = picture(), b = picture(80, 120);
  const std::vector<Box> two{{1, 2, 30, 40}, {20, 10, 50, 45}}, five(5, {5, 6, 40, 80});
  const std::vector<PoseRequest> requests{{a, two}, {b, five}, {a}, {b, std::vector<DetectedBox>()}};
  const auto together = pose(requests);
  ASSERT_EQ(together.size(), 4u);
  EXPECT_EQ(numbers(together[0]), numbers(pose(a, two)));
  EXPECT_EQ(numbers(together[1]), numbers(pose(b, five)));
  EXPECT_EQ(numbers(together[2]), numbers(pose(a)));
  EXPECT_TRUE(together[3].empty());
}

TEST(PoseEstimator, CallsFromSeveralThreadsTakeTurns) {
  PoseEstimator pose(weights());
  const Image image = picture();
  const std::vector<float> expected = numbers(pose(image));
  std::vector<std::future<std::vector<float>>> calls;
  for (int t = 0; t < 4; ++t) calls.push_back(std::async(std::launch::async, [&] { return numbers(pose(image)); }));
  for (auto& call : calls) EXPECT_EQ(call.get(), expected);
}

TEST(PoseEstimator, AnErrorLeavesItUsable) {
  PoseEstimator pose(weights(), {.batch_size = 2});
  const Image image = picture();
  const std::vector<float> expected = numbers(pose(image));
  const std::vector<PoseRequest> bad{{image}, {"/nowhere/there.jpg"}};
  EXPECT_THROW(pose(bad), Error);
  EXPECT_THROW(pose(image, {{0, 0, 0, 10}}), Error);
  EXPECT_THROW(pose({0, 64, image.rgb.data()}), Error);
  EXPECT_THROW(pose({96, 64, image.rgb.data(), 287}), Error);
  EXPECT_EQ(numbers(pose(image)), expected);
}

TEST(PoseEstimator, PosesOutliveTheEstimatorAndCanBeDrawnAndFollowed) {
  std::vector<Pose> poses;
  Image image = picture();
  {
    PoseEstimator pose(weights());
    poses = pose(image, {{10, 5, 40, 50}});
  }
  ASSERT_EQ(poses.size(), 1u);
  EXPECT_STREQ(poses[0].joints.at(5).name, "left_shoulder");
  const std::vector<uint8_t> before = image.rgb;
  draw_person(image, poses[0], {.threshold = -1});
  EXPECT_NE(image.rgb, before);
  poses[0].score = 0.9;
  Tracker tracker;
  const auto people = tracker.update(0, poses);
  ASSERT_EQ(people.size(), 1u);
  EXPECT_EQ(people[0].track, 1);
  EXPECT_STREQ(people[0].joints.at(5).name, "left_shoulder");
}

TEST(PoseEstimator, RefusesWhatDoesNotFitTheWeights) {
  EXPECT_THROW(PoseEstimator("/nowhere.pth"), Error);
  EXPECT_THROW(PoseEstimator(weights({{"codec", "quarter"}}), {.codec = "udp"}), Error)
      << "the weights learnt for another codec";
  EXPECT_THROW(PoseEstimator(weights(), {.skeleton = "mpii"}), Error);
  EXPECT_THROW(PoseEstimator(weights(), {.input_h = 100}), Error);
  EXPECT_THROW(PoseEstimator(weights(), {.device = "gpu"}), Error);
}

}  // namespace
}  // namespace hr
