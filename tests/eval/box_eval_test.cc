// Box evaluation, compared with pycocotools' own arrays and checked on data that the tests make.
#include "eval/box_eval.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "core/philox.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::oracle;

// Compares element [.., a, m] of arrays [rows, K, 4, 3]. The golden file may hold one m only.
void expect_equal(const std::vector<double>& ours, const ArrayView& stored, int limits, const std::string& what) {
  const std::vector<double> golden = stored.to_f64();
  ASSERT_EQ(ours.size(), golden.size() * (kBoxLimits / limits)) << what;
  for (size_t i = 0; i < golden.size(); ++i)
    ASSERT_EQ(limits == kBoxLimits ? ours[i] : ours[i * kBoxLimits + kBoxLimits - 1], golden[i]) << what << " " << i;
}

TEST(BoxEvalGolden, EveryArrayAndEveryDigitWithAndWithoutCategories) {
  HR_NEEDS_ORACLE("eval_bbox/golden.json");
  const auto golden = parse_json_file(oracle("eval_bbox/golden.json"));
  const CocoAnnotations gt = read_coco(oracle("eval_bbox/gt.json"));
  const std::vector<CocoDetection> dt = read_coco_detections(oracle("eval_bbox/dt.json"));
  for (const bool use : {true, false}) {
    const char* name = use ? "all" : "no_categories";
    const SafetensorsFile arrays(oracle(std::string("eval_bbox/") + name + ".safetensors"));
    for (const int threads : {1, 3}) {
      SCOPED_TRACE(fmt::format("{}, {} threads", name, threads));
      const BoxEvalResult r = evaluate_boxes(gt, dt, {.use_categories = use, .threads = threads});
      expect_equal(r.precision, arrays.at("precision"), use ? 1 : kBoxLimits, "precision");
      expect_equal(r.recall, arrays.at("recall"), kBoxLimits, "recall");
      for (unsigned i = 0; i < 12; ++i) EXPECT_EQ(r.stats.at(i), golden[name][i].GetDouble()) << i;
    }
  }
}

CocoAnnotation object(int64_t id, int64_t image, int64_t category, Box box, bool crowd = false) {
  return {.id = id, .image_id = image, .category_id = category, .box = box, .area = box.w * box.h, .iscrowd = crowd};
}
CocoDetection found(int64_t image, int64_t category, Box box, double score) {
  return {.image_id = image, .category_id = category, .box = box, .score = score, .has_box = true};
}
CocoAnnotations truth(std::vector<CocoAnnotation> objects) {
  return {.path = "gt.json",
          .images = {{.id = 1, .width = 200, .height = 200}, {.id = 2, .width = 200, .height = 200}},
          .annotations = std::move(objects),
          .categories = {{.id = 1, .name = "person"}, {.id = 3, .name = "car"}}};
}

TEST(BoxEval, AnAreaRangeWithoutObjectsIsMinusOne) {
  const auto r = evaluate_boxes(truth({object(7, 1, 1, {10, 10, 50, 50})}), {found(1, 1, {10, 10, 50, 50}, 0.5)});
  const std::array<double, 12> expected = {1, 1, 1, -1, 1, -1, 1, 1, 1, -1, 1, -1};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_DOUBLE_EQ(r.stats[i], expected[i]) << i;
  EXPECT_EQ(r.categories, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(box_summary(r).substr(0, 77),
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.0");
}

TEST(BoxEval, ABoxOfAnotherCategoryMatchesOnlyWhenCategoriesAreNotUsed) {
  const auto gt = truth({object(7, 1, 1, {10, 10, 50, 50})});
  const std::vector<CocoDetection> dt{found(1, 3, {10, 10, 50, 50}, 0.5)};
  EXPECT_DOUBLE_EQ(evaluate_boxes(gt, dt).stats[0], 0);
  EXPECT_DOUBLE_EQ(evaluate_boxes(gt, dt, {.use_categories = false}).stats[0], 1);
}

// A crowd matches any number of detections, which count neither as hits nor as false alarms. The overlap is measured as
// a share of the detection's area.
TEST(BoxEval, DetectionsInsideACrowdAreIgnored) {
  const auto gt = truth({object(7, 1, 1, {0, 0, 150, 150}, true), object(8, 1, 1, {160, 160, 20, 20})});
  const std::vector<CocoDetection> dt{found(1, 1, {10, 10, 20, 20}, 0.9), found(1, 1, {30, 30, 20, 20}, 0.8),
                                      found(1, 1, {160, 160, 20, 20}, 0.7)};
  const auto r = evaluate_boxes(gt, dt);
  EXPECT_DOUBLE_EQ(r.stats[0], 1);
  EXPECT_EQ(r.counts.objects_crowd, 1);
  EXPECT_EQ(box_remarks(r), "1 objects ignored: crowds");
}

TEST(BoxEval, TheLimitsOfDetectionsHoldPerPictureAndCategory) {
  std::vector<CocoAnnotation> objects;
  std::vector<CocoDetection> dt;
  for (int i = 0; i < 12; ++i) {
    const Box box{5.0 + 15 * i, 5, 10, 10};
    objects.push_back(object(i + 1, 1, 1, box));
    dt.push_back(found(1, 1, box, 1 - 0.01 * i));
  }
  const auto r = evaluate_boxes(truth(objects), dt);
  EXPECT_DOUBLE_EQ(r.stats[6], 1.0 / 12);   // one detection
  EXPECT_DOUBLE_EQ(r.stats[7], 10.0 / 12);  // ten
  EXPECT_DOUBLE_EQ(r.stats[8], 1);
}

TEST(BoxEval, WhatCannotBeMeasuredIsRefused) {
  const auto gt = truth({object(7, 1, 1, {10, 10, 50, 50})});
  const auto message = [&](const std::vector<CocoDetection>& dt) -> std::string {
    try {
      evaluate_boxes(gt, dt, {.detections_name = "det.json"});
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message({}), "det.json: the list of detections is empty; nothing to evaluate against gt.json");
  EXPECT_EQ(message({found(9, 1, {0, 0, 1, 1}, 1)}),
            "det.json: entry [0] has image_id 9, which is not among the 2 images of gt.json; is it of another split?");
  CocoDetection without = found(1, 1, {}, 1);
  without.has_box = false;
  EXPECT_EQ(message({without}), "det.json: entry [0] (image 1) has no bbox");
  EXPECT_EQ(message({found(1, 1, {0, 0, NAN, 1}, 1)}),
            "det.json: entry [0] (image 1): bbox or score is not a finite number");
  EXPECT_EQ(message({found(1, 2, {0, 0, 1, 1}, 1)}),
            "det.json: entry [0] has category_id 2, and none of the 1 detections has a category that is evaluated "
            "(1, 3)");
}

}  // namespace
}  // namespace hr
