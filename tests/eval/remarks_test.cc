// The remarks on numbers that mean less than they seem to.
#include "eval/remarks.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "eval/coco_files.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

// Two people in two pictures of 480 x 360, found perfectly.
struct Perfect {
  CocoAnnotations gt;
  std::vector<CocoDetection> dt;
  CocoEvalOptions options{.sigmas = {0.05, 0.05}, .detections_name = "dt.json"};

  Perfect() {
    gt.path = "gt.json";
    gt.categories = {{.id = 1, .name = "person"}};
    for (int64_t i = 1; i <= 2; ++i) {
      gt.images.push_back({.id = i, .file_name = "a.jpg", .width = 480, .height = 360});
      CocoAnnotation a;
      a.id = 10 + i;
      a.image_id = i;
      a.box = {200, 100, 100, 150};
      a.area = 5000;
      a.keypoints = {210.5, 110, 2, 290, 240, 2};
      a.num_keypoints = 2;
      CocoDetection d;
      d.image_id = i;
      d.score = 0.9;
      d.keypoints = {210.5, 110, 1, 290, 240, 1};
      gt.annotations.push_back(std::move(a));
      dt.push_back(std::move(d));
    }
  }
  std::vector<std::string> remarks() const { return coco_remark_list(evaluate_coco(gt, dt, options)); }
  std::string only() const {
    const auto list = remarks();
    return list.size() == 1 ? list[0] : fmt::format("{} remarks: {}", list.size(), fmt::join(list, " / "));
  }
};

TEST(Remarks, AGoodEvaluationHasNone) { EXPECT_EQ(Perfect().remarks(), std::vector<std::string>{}); }

TEST(Remarks, NobodyToFindIsSaidWithTheReason) {
  Perfect p;
  p.gt.annotations.clear();
  EXPECT_EQ(p.only(), "there are no people to find: the truth has no people, so every number is -1");
  p = Perfect();
  for (auto& a : p.gt.annotations) a.iscrowd = true;
  EXPECT_EQ(p.remarks().at(0),
            "there are no people to find: all 2 people of the truth are ignored (2 crowds), so every number is -1");
  EXPECT_EQ(p.remarks().at(1), "2 people ignored: marked as a crowd");
  p = Perfect();
  for (auto& a : p.gt.annotations) a.area = -1;
  EXPECT_EQ(p.only(), "there are no people to find: all 2 people have an area below 0, so every number is -1");
}

TEST(Remarks, AreasOfZeroAllOrSome) {
  Perfect p;
  p.gt.annotations[1].area = 0;
  EXPECT_EQ(p.only(),
            "the area of 1 of the 2 people is 0: the OKS with it can only be 0 or 1 because distances are "
            "divided by the area, and it is neither medium nor large");
  p.gt.annotations[0].area = 0;
  EXPECT_EQ(p.only(),
            "the areas of all 2 people are 0: OKS can only be 0 or 1 because distances are divided by the area, and "
            "there are no people for AP(M) and AP(L)");
  EXPECT_NEAR(evaluate_coco(p.gt, p.dt, p.options).stats[0], 1, 1e-12);
}

TEST(Remarks, IdsThatNeverMeet) {
  Perfect p;
  for (auto& d : p.dt) d.category_id = 0;
  EXPECT_EQ(p.remarks().at(0),
            "the people of the truth that are evaluated have category_id 1, the detections have 0: they never match, "
            "so no person can be found");
  EXPECT_EQ(evaluate_coco(p.gt, p.dt, p.options).stats[0], 0) << "pycocotools' number";
  p = Perfect();
  p.gt.annotations.pop_back();
  p.dt.erase(p.dt.begin());
  EXPECT_EQ(p.only(),
            "no detection is of a picture that has people in the truth: the image ids never match, so no person can be "
            "found");
}

TEST(Remarks, AnAnnotationWithIdZeroIsNeverFound) {
  Perfect p;
  p.gt.annotations[0].id = 0;
  EXPECT_TRUE(p.only().starts_with("annotations[0] of the truth has id 0: pycocotools never counts it as found"))
      << p.only();
  p.options.rules = CocoRules::xtcocotools;
  EXPECT_TRUE(p.remarks().empty());
}

TEST(Remarks, BoxesOfTwoCornersAndShares) {
  Perfect p;
  for (auto& a : p.gt.annotations) a.box = {200, 100, 300, 250};
  EXPECT_EQ(p.only(),
            "the boxes of the truth look like two corners (x1, y1, x2, y2); they are read as x, y, width, "
            "height in pixels");
  p = Perfect();
  for (auto& d : p.dt) {
    d.has_box = true;
    d.box = {0.4, 0.3, 0.2, 0.4};
  }
  EXPECT_EQ(p.only(),
            "the boxes of the detections look like fractions of the picture's width and height (all numbers are 0 to "
            "1); they are read as x, y, width, height in pixels and decide which detections AP(M) and AP(L) count");
  p = Perfect();
  for (auto& d : p.dt) d.keypoints = {0.44, 0.31, 1, 0.6, 0.67, 1};
  EXPECT_TRUE(p.only().starts_with("all joints of the detections lie between 0 and 1")) << p.only();
}

TEST(Remarks, ADetectorsCornersAreSeenByThePictures) {
  const Perfect p;
  std::vector<CocoDetection> boxes(4);
  for (size_t i = 0; i < boxes.size(); ++i) {
    boxes[i].image_id = 1;
    boxes[i].has_box = true;
    boxes[i].box = {200.0 + 10 * static_cast<double>(i), 150, 400, 350};
  }
  EXPECT_EQ(
      detector_doubt(boxes, p.gt, "det.json"),
      "det.json: the boxes look like two corners (x1, y1, x2, y2); they are read as x, y, width, height in pixels");
  for (auto& d : boxes) d.box = {200, 150, 120, 180};
  EXPECT_EQ(detector_doubt(boxes, p.gt, "det.json"), "");
}

TEST(Remarks, SigmasThatNobodyGave) {
  const Skeleton birds = skeleton_from_names({"beak", "left_wing", "right_wing", "tail"}, {}, "birds");
  EXPECT_EQ(
      sigmas_doubt(birds),
      "the OKS sigmas of these 4 joints (beak, left_wing, right_wing, ...) are not known: 0.05 was taken for each, so "
      "that the numbers cannot be compared with others; a skeleton file with \"sigmas\" (`skeleton`) gives them");
  EXPECT_EQ(sigmas_doubt(coco_skeleton()), "");
  std::vector<std::string> seventeen;
  for (int k = 0; k < 17; ++k) seventeen.push_back(fmt::format("point {}", k));
  const Skeleton own = skeleton_from_names(seventeen, {}, "own");
  EXPECT_EQ(own.sigmas, coco_skeleton().sigmas) << "as pycocotools has it, in training as in coco_eval";
  EXPECT_NE(sigmas_doubt(own).find("those of COCO's 17 joints were taken"), std::string::npos);
}

TEST(Remarks, FieldsThatTheTruthLacksAreFilledInOnlyWhenAsked) {
  Perfect p;
  p.gt.annotations[0].lacks = coco_field::iscrowd;
  EXPECT_EQ(p.only(), "the truth lacks fields without which pycocotools ends: \"iscrowd\" of 1 person is taken as 0");
  p.options.fill_in = false;
  try {
    p.remarks();
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "gt.json: annotations[0] (id 11): no \"iscrowd\" (0 or 1), without which pycocotools ends too; "
                 "`fill_in` takes what is usual for fields that the truth lacks");
  }
}

// Runs the shared input files where they are available.
TEST(Remarks, TheSharedCases) {
  const std::filesystem::path cases = test::source_folder() / ".." / "shared" / "cases";
  if (!std::filesystem::exists(cases)) GTEST_SKIP() << "no such folder: " << cases.string();
  const auto evaluate = [&](const char* gt, const char* dt) {
    return evaluate_coco(read_truth(cases / gt), read_results(cases / dt), {.fill_in = false});
  };
  const auto said = [](const CocoEvalResult& r, const char* part) {
    return coco_remarks(r).find(part) != std::string::npos;
  };
  const auto area0 = evaluate("truth/area0.json", "truth/perfect.json");
  EXPECT_NEAR(area0.stats[0], 1, 1e-12);
  EXPECT_TRUE(said(area0, "the areas of all 8 people are 0"));
  const auto id0 = evaluate("results/id0.gt.json", "results/id0.dt.json");
  EXPECT_EQ(id0.stats[0], 0);
  EXPECT_TRUE(said(id0, "has id 0"));
  EXPECT_TRUE(said(evaluate("truth/cat0.json", "truth/perfect3.json"), "they never match"));
  EXPECT_NEAR(evaluate("truth/roboflow.json", "truth/perfect3.json").stats[0], 1, 1e-12);
  for (const char* name : {"truth/num_null.json", "truth/img_size_zero.json", "truth/cat_skeleton_null.json"}) {
    EXPECT_NEAR(evaluate(name, "truth/perfect3.json").stats[0], 1, 1e-12) << name;
  }
  EXPECT_FALSE(has_annotations(cases / "truth/image_info_test-dev2017.json"));
  EXPECT_TRUE(has_annotations(cases / "truth/good.json"));
}

}  // namespace
}  // namespace hr
