#include "hrnet/infer/person_detector.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/io/json.h"
#include "eval/box_eval.h"
#include "tests/support/yolox.h"

namespace hr {
namespace {

// A raw output for an input of 32 x 32: 16 cells of stride 8, 4 of 16, 1 of 32, and two classes.
struct Output {
  std::vector<float> numbers = std::vector<float>(21 * 7, 0.0f);
  // Puts a box around the centre (x, y); width and height are in cells.
  void put(int row, float x, float y, float w, float h, float object, float a, float b) {
    const float values[] = {x, y, std::log(w), std::log(h), object, a, b};
    std::copy_n(values, 7, numbers.begin() + row * 7);
  }
  std::vector<DetectedBox> boxes(double scale = 1, std::vector<uint8_t> wanted = {1, 1}, DetectorOptions o = {}) const {
    return decode_boxes(numbers, 32, 32, scale, wanted, o);
  }
};

TEST(DecodeBoxes, CellsAndStridesGivePixels) {
  Output out;
  out.put(4 * 1 + 2, 0.5f, 0.25f, 2, 1, 0.9f, 0.5f, 0.1f);  // stride 8, cell (2, 1)
  out.put(16 + 2 * 1 + 0, 0, 0, 1, 1, 1.0f, 0.1f, 0.8f);    // stride 16, cell (0, 1)
  out.put(20, 0.5f, 0.5f, 1, 0.5f, 0.5f, 0.3f, 0.2f);       // stride 32
  const auto found = out.boxes(0.5);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].label, 1);
  EXPECT_FLOAT_EQ(static_cast<float>(found[0].score), 0.8f);
  EXPECT_NEAR(found[0].box.x, -8 / 0.5, 1e-4);
  EXPECT_NEAR(found[0].box.y, (16 - 8) / 0.5, 1e-4);
  EXPECT_EQ(found[1].label, 0);
  EXPECT_NEAR(found[1].box.x, (2.5 * 8 - 8) / 0.5, 1e-4);
  EXPECT_NEAR(found[1].box.y, (1.25 * 8 - 4) / 0.5, 1e-4);
  EXPECT_NEAR(found[1].box.w, 16 / 0.5, 1e-4);
  EXPECT_NEAR(found[1].box.h, 8 / 0.5, 1e-4);
  EXPECT_NEAR(found[2].score, 0.15, 1e-6);
  EXPECT_NEAR(found[2].box.h, 16 / 0.5, 1e-4);
}

TEST(DecodeBoxes, OnlyTheBestClassOfACellCountsAndOnlyWhatIsWanted) {
  Output out;
  out.put(0, 0, 0, 1, 1, 1, 0.6f, 0.7f);
  EXPECT_EQ(out.boxes().size(), 1u);
  EXPECT_EQ(out.boxes(1, {0, 1}).size(), 1u);
  EXPECT_EQ(out.boxes(1, {1, 0}).size(), 0u);
}

TEST(DecodeBoxes, SuppressionIsWithinAClass) {
  Output out;
  out.put(0, 0.5f, 0.5f, 2, 2, 1, 0.9f, 0.1f);
  out.put(1, -0.5f, 0.5f, 2, 2, 1, 0.8f, 0.1f);  // the same place
  out.put(2, -1.5f, 0.5f, 2, 2, 1, 0.1f, 0.7f);  // the same place, another class
  const auto found = out.boxes();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_FLOAT_EQ(static_cast<float>(found[0].score), 0.9f);
  EXPECT_EQ(found[1].label, 1);
  EXPECT_EQ(out.boxes(1, {1, 1}, {.nms = 1}).size(), 3u);
  EXPECT_EQ(out.boxes(1, {1, 1}, {.nms = 1, .at_most = 1}).size(), 2u) << "one of each class";
}

TEST(DecodeBoxes, AScoreThatIsNoNumberIsNoBox) {
  Output out;
  out.put(0, 0, 0, 1, 1, NAN, 0.9f, 0.1f);
  out.put(1, 0, 0, 1, 1, 0.9f, NAN, NAN);
  EXPECT_TRUE(out.boxes().empty());
}

TEST(DetectorPicture, LiesTopLeftInBgrOnGreyOrIsNormalised) {
  Image picture(2, 1);
  picture.rgb = {10, 20, 30, 40, 50, 60};
  std::vector<float> out(32 * 32 * 3);
  detector_picture(picture, YoloxInput::bgr_255, 32, 32, out);
  EXPECT_EQ(out[0], 30);
  EXPECT_EQ(out[2], 10);
  EXPECT_EQ(out[31 * 3], 60);
  EXPECT_EQ(out[16 * 32 * 3], 114);  // 2 x 1 pixels become 32 x 16
  detector_picture(picture, YoloxInput::rgb_normalised, 32, 32, out);
  EXPECT_NEAR(out[0], (10 / 255.0 - 0.485) / 0.229, 1e-5);
  EXPECT_NEAR(out[16 * 32 * 3 + 2], (114 / 255.0 - 0.406) / 0.225, 1e-5);
}

TEST(PersonDetector, ABatchGivesWhatEachPictureGivesAlone) {
  const fs::path weights = test::write_yolox({8, 1, true, 1});
  const DetectorOptions options{.input_h = 64, .input_w = 96, .confidence = 0.01, .input = YoloxInput::rgb_normalised};
  PersonDetector detector(Context(), weights, options);
  Image a(50, 31), b(17, 99);
  for (size_t i = 0; i < a.rgb.size(); ++i) a.rgb[i] = static_cast<uint8_t>((i * 2654435761U) >> 9);
  for (size_t i = 0; i < b.rgb.size(); ++i) b.rgb[i] = static_cast<uint8_t>(i);
  const std::vector<ImageView> both{a, b};
  const auto together = detector(both);
  ASSERT_EQ(together.size(), 2u);
  const std::vector<std::vector<DetectedBox>> alone{detector(a), detector(b)};
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(together[i].size(), alone[i].size());
    EXPECT_GT(alone[i].size(), 0u);
    for (size_t k = 0; k < alone[i].size(); ++k) EXPECT_NEAR(together[i][k].score, alone[i][k].score, 1e-5);
  }
  EXPECT_TRUE(detector(std::span<const ImageView>()).empty());
}

TEST(PersonDetector, AnUnknownClassIsNamedWithThoseThereAre) {
  const auto message = [](const YoloxShape& shape, const std::string& name) -> std::string {
    try {
      PersonDetector(Context(), test::write_yolox(shape), {.classes = {name}});
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(message({8, 1, true, 80}, "unicorn").find("has no class 'unicorn'; it has person, bicycle, car"),
            std::string::npos);
  EXPECT_NE(message({8, 1, true, 3}, "person").find("classes without names, 0 to 2"), std::string::npos);
  EXPECT_EQ(message({8, 1, true, 80}, "toothbrush"), "");
  EXPECT_EQ(message({8, 1, true, 3}, "2"), "");
  EXPECT_EQ(class_category({8, 1, true, 80}, 79), 90);
}

TEST(PersonDetector, InputSizesAreThoseOfThePublishedWeights) {
  EXPECT_EQ(detector_input({*yolox_shape("yolox_nano"), 0.005}), (std::array{416, 416}));
  EXPECT_EQ(detector_input({*yolox_shape("yolox_x"), 0.005}), (std::array{640, 640}));
  EXPECT_EQ(detector_input({*yolox_shape("yolox_s", 1), 0.3}), (std::array{608, 1088}));
}

// The official network, preprocessing and suppression on 50 pictures of COCO.
TEST(PersonDetector, FindsWhatTheOfficialCodeFinds) {
  HR_NEEDS_ORACLE("../real/detector/val2017.person.json");
  const fs::path real = test::oracle("../real");
  const auto golden = parse_json_file(real / "detector/val2017.person.json");
  PersonDetector detector(Context(), real / "detector/yolox_nano.pth", {.confidence = 0.001});
  const CocoAnnotations truth = read_coco(real / "coco/annotations/person_keypoints_val2017.json");
  std::vector<CocoDetection> all;
  int compared = 0;
  for (const CocoImage& image : truth.images) {
    const auto found = detector(read_image(real / "coco/val2017" / image.file_name));
    for (const DetectedBox& f : found)
      all.push_back({.image_id = image.id, .box = f.box, .score = f.score, .has_box = true});
    const auto& expected = golden["detections"][image.file_name.c_str()];
    size_t shown = 0;
    while (shown < found.size() && found[shown].score >= 0.1) ++shown;
    ASSERT_EQ(shown, expected.Size()) << image.file_name;
    for (unsigned i = 0; i < expected.Size(); ++i, ++compared) {
      const double got[] = {found[i].box.x, found[i].box.y, found[i].box.w, found[i].box.h, found[i].score};
      for (unsigned k = 0; k < 5; ++k)
        EXPECT_NEAR(got[k], expected[i][k].GetDouble(), k < 4 ? 0.1 : 1e-3) << image.file_name << " " << i;
    }
  }
  EXPECT_EQ(compared, 200);
  const BoxEvalResult r = evaluate_boxes(truth, all);
  for (unsigned i = 0; i < 12; ++i) EXPECT_NEAR(r.stats.at(i), golden["person_ap"][i].GetDouble(), 0.002) << i;
}

}  // namespace
}  // namespace hr
