#include "hrnet/c_api.h"

#include <gtest/gtest.h>

#include <thread>

#include "hrnet/infer/pose_estimator.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

std::string weights() {
  const fs::path path = test::temporary_folder() / "weights.safetensors";
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 3, Init::torch);
  save_state_dict(path, model->parameters(), {{"input_h", "96"}, {"input_w", "64"}});
  return path.string();
}

Image picture() {
  Image image(96, 64);
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>(i * 7 % 251);
  return image;
}

hrnet_picture view(const Image& image) {
  return {.size = sizeof(hrnet_picture), .width = image.width, .height = image.height, .rgb = image.rgb.data()};
}

TEST(CApi, GivesThePosesOfTheCppInterface) {
  const std::string file = weights();
  hrnet_pose* pose = nullptr;
  ASSERT_EQ(hrnet_pose_open(file.c_str(), nullptr, &pose), HRNET_OK) << hrnet_last_error();
  ASSERT_EQ(hrnet_pose_joints(pose), 17);
  EXPECT_STREQ(hrnet_pose_joint_name(pose, 5), "left_shoulder");
  EXPECT_EQ(hrnet_pose_joint_name(pose, 17), nullptr);
  const Image image = picture();
  const hrnet_picture p = view(image);
  const hrnet_box boxes[] = {{1, 2, 40, 50}, {20, 5, 60, 55}};
  std::vector<hrnet_joint> joints(2 * 17);
  double scores[2];
  size_t found = 7;
  ASSERT_EQ(hrnet_pose_find(pose, &p, boxes, 2, joints.data(), scores, 2, &found), HRNET_OK) << hrnet_last_error();
  EXPECT_EQ(found, 2u);
  PoseEstimator estimator(file);
  const std::vector<Pose> poses = estimator(image, {{1, 2, 40, 50}, {20, 5, 60, 55}});
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(scores[i], poses[i].score);
    for (size_t k = 0; k < 17; ++k) {
      EXPECT_EQ(joints[i * 17 + k].x, poses[i].joints[k].x);
      EXPECT_EQ(joints[i * 17 + k].score, poses[i].joints[k].score);
    }
  }
  hrnet_pose_close(pose);
}

TEST(CApi, ABufferThatIsTooSmallSaysWhatIsNeededAndIsNotTouched) {
  hrnet_pose* pose = nullptr;
  ASSERT_EQ(hrnet_pose_open(weights().c_str(), nullptr, &pose), HRNET_OK);
  const Image image = picture();
  const hrnet_picture p = view(image);
  const hrnet_box boxes[3] = {{1, 2, 40, 50}, {1, 2, 40, 50}, {1, 2, 40, 50}};
  hrnet_joint joint = {-5, -6, -7};
  size_t found = 0;
  EXPECT_EQ(hrnet_pose_find(pose, &p, boxes, 3, &joint, nullptr, 2, &found), HRNET_TOO_SMALL);
  EXPECT_EQ(found, 3u);
  EXPECT_EQ(joint.x, -5);
  EXPECT_STRNE(hrnet_last_error(), "");
  hrnet_pose_close(pose);
}

TEST(CApi, ErrorsAreStatusesWithATextOfTheirThread) {
  hrnet_pose* pose = reinterpret_cast<hrnet_pose*>(1);
  EXPECT_EQ(hrnet_pose_open("/nowhere/w.pth", nullptr, &pose), HRNET_ERROR);
  EXPECT_EQ(pose, nullptr);
  EXPECT_NE(std::string(hrnet_last_error()).find("/nowhere/w.pth"), std::string::npos);
  std::thread([] { EXPECT_STREQ(hrnet_last_error(), ""); }).join();
  EXPECT_EQ(hrnet_pose_open(nullptr, nullptr, &pose), HRNET_ERROR);
  ASSERT_EQ(hrnet_pose_open(weights().c_str(), nullptr, &pose), HRNET_OK);
  const Image image = picture();
  hrnet_picture p = view(image);
  hrnet_joint joints[17];
  const hrnet_box flat = {0, 0, 10, 0};
  EXPECT_EQ(hrnet_pose_find(pose, &p, &flat, 1, joints, nullptr, 1, nullptr), HRNET_ERROR);
  EXPECT_EQ(hrnet_pose_find(pose, &p, nullptr, 1, joints, nullptr, 1, nullptr), HRNET_ERROR);
  EXPECT_EQ(hrnet_pose_find(pose, nullptr, nullptr, 0, joints, nullptr, 1, nullptr), HRNET_ERROR);
  EXPECT_EQ(hrnet_pose_find(nullptr, &p, nullptr, 0, joints, nullptr, 1, nullptr), HRNET_ERROR);
  EXPECT_EQ(hrnet_pose_find_in_file(pose, "/nowhere/p.jpg", nullptr, 0, joints, nullptr, 1, nullptr), HRNET_ERROR);
  p.size = 0;
  EXPECT_EQ(hrnet_pose_find(pose, &p, nullptr, 0, joints, nullptr, 1, nullptr), HRNET_ERROR);
  p = view(image);
  EXPECT_EQ(hrnet_pose_find(pose, &p, nullptr, 0, joints, nullptr, 1, nullptr), HRNET_OK) << hrnet_last_error();
  hrnet_pose_close(pose);
  hrnet_pose_close(nullptr);
}

TEST(CApi, EvaluatesAsPycocotoolsDoes) {
  const fs::path data = test::source_folder() / "tests/eval/data";
  double stats[HRNET_COCO_STATS];
  ASSERT_EQ(hrnet_evaluate_coco((data / "coco.gt.json").c_str(), (data / "coco.dt.json").c_str(), stats), HRNET_OK)
      << hrnet_last_error();
  EXPECT_NEAR(stats[0], 0.435, 5e-4);
  EXPECT_EQ(hrnet_evaluate_coco((data / "coco.gt.json").c_str(), "/nowhere.json", stats), HRNET_ERROR);
}

TEST(CApi, TheVersionIsTheHeaders) {
  EXPECT_STREQ(hrnet_version(), HRNET_VERSION);
  EXPECT_EQ(hrnet_version_number(), HRNET_VERSION_NUMBER);
  EXPECT_EQ(fmt::format("{}.{}.{}", HRNET_VERSION_MAJOR, HRNET_VERSION_MINOR, HRNET_VERSION_PATCH), HRNET_VERSION);
}

}  // namespace
}  // namespace hr
