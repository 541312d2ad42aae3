// The rules of xtcocotools. data/crowdpose.*.json are random; the expected numbers are those that xtcocotools 1.14.3
// printed for them (numpy 1.26), with every digit.
#include "eval/crowdpose.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/philox.h"
#include "data/formats/skeleton.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

fs::path data(const std::string& name) { return test::source_folder() / "tests/eval/data" / name; }

TEST(CrowdPose, NineNumbersOfXtcocotools) {
  const CocoAnnotations gt = read_coco(data("crowdpose.gt.json"), 14);
  const auto dt = read_coco_detections(data("crowdpose.dt.json"));
  const std::array<double, 9> expected = {0.13228596873843096,
                                          0.1469030623992632,
                                          0.14356435643564355,
                                          0.5526315789473684,
                                          0.5789473684210527,
                                          0.5789473684210527,
                                          0.0776,
                                          0.248,
                                          0.2388};
  const CrowdPoseResult r = evaluate_crowdpose(gt, dt);
  EXPECT_EQ(r.stats, expected);
  EXPECT_EQ(evaluate_crowdpose(gt, dt, {.threads = 8}).stats, expected);
  EXPECT_GT(r.all.counts.detections_unseen, 0);
  EXPECT_EQ(r.images[0] + r.images[1] + r.images[2], static_cast<int64_t>(gt.images.size()));
  for (const int64_t n : r.images) EXPECT_GT(n, 0);
}

TEST(CrowdPose, PlainXtcocotoolsCountsVisibleJointsItself) {
  CocoAnnotations gt = read_coco(data("crowdpose.gt.json"), 14);
  for (CocoAnnotation& a : gt.annotations) ASSERT_TRUE(a.has_area);
  const auto dt = read_coco_detections(data("crowdpose.dt.json"));
  const std::array<double, 10> expected = {
      0.12688833915769004, 0.14311431143114312, 0.13993399339933993, 0.20876237623762375, 0.08379285947528833,
      0.49565217391304356, 0.5217391304347826,  0.5217391304347826,  0.42857142857142855, 0.4800000000000001};
  CocoEvalOptions options{.sigmas = built_in_skeleton("crowdpose").sigmas, .rules = CocoRules::xtcocotools};
  EXPECT_EQ(evaluate_coco(gt, dt, options).stats, expected);
  options.rules = CocoRules::pycocotools;
  EXPECT_NE(evaluate_coco(gt, dt, options).stats, expected) << "the set does not tell the rules apart";
}

CocoAnnotations two_pictures() {
  CocoAnnotations gt;
  gt.path = "gt.json";
  gt.images = {{.id = 1, .crowd_index = 0.1}, {.id = 2, .crowd_index = 0.9}};
  gt.categories = {{.id = 1}};
  for (const int64_t id : {0, 1}) {
    CocoAnnotation a;
    a.id = id;
    a.image_id = id + 1;
    a.box = {0, 0, 100, 100};
    a.has_area = false;
    a.num_keypoints = 1;
    a.keypoints = {10, 10, 1};
    gt.annotations.push_back(a);
  }
  return gt;
}

CocoDetection found(int64_t image, double x, double third = 1) {
  CocoDetection d;
  d.image_id = image;
  d.score = 0.5;
  d.keypoints = {x, 10, third};
  return d;
}

TEST(CrowdPose, AreasComeFromBoxesAndIdZeroIsFound) {
  const CocoAnnotations gt = two_pictures();
  // OKS = exp(-d^2 / (2 * 0.53 * 100 * 100 * (2 * 0.05)^2)) = 0.5 at d = 8.57.
  const auto at = [&](double x) {
    return evaluate_crowdpose(gt, {found(1, 10 + x), found(2, 10)}, {.sigmas = {0.05}}).stats[1];
  };
  EXPECT_NEAR(at(8.5), 1, 1e-12);
  EXPECT_LT(at(8.6), 0.3);
  const auto pycocotools = evaluate_coco(gt, {found(1, 10), found(2, 10)}, {.sigmas = {0.05}});
  EXPECT_LT(pycocotools.stats[1], 0.3) << "there the person with id 0 is never found, and a false alarm";
}

TEST(CrowdPose, GroupsWithoutPeopleAreMinusOneAndDetectionsWithoutScoresGo) {
  CocoAnnotations gt = two_pictures();
  const auto r = evaluate_crowdpose(gt, {found(1, 10), found(2, 10), found(2, 10, 0)}, {.sigmas = {0.05}});
  EXPECT_EQ(r.stats[6], 1);
  EXPECT_EQ(r.stats[7], -1);
  EXPECT_EQ(r.stats[8], 1);
  EXPECT_EQ(r.all.counts.detections_unseen, 1);
  EXPECT_EQ(r.images, (std::array<int64_t, 3>{1, 0, 1}));
  gt.annotations[1].num_keypoints = 0;  // the person is ignored, so there is nothing to find among the hard ones
  EXPECT_EQ(evaluate_crowdpose(gt, {found(1, 10), found(2, 10)}, {.sigmas = {0.05}}).stats[8], -1);
}

TEST(CrowdPose, SummaryIsTheReferencesNineLines) {
  CrowdPoseResult r;
  r.stats = {0.7654, 1, 0.5, -1, 0.25, 0.125, 0.0625, -1, 0.9999};
  EXPECT_EQ(crowdpose_summary(r),
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ] =  0.765\n"
            " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets= 20 ] =  1.000\n"
            " Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets= 20 ] =  0.500\n"
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ] = -1.000\n"
            " Average Recall     (AR) @[ IoU=0.50      | area=   all | maxDets= 20 ] =  0.250\n"
            " Average Recall     (AR) @[ IoU=0.75      | area=   all | maxDets= 20 ] =  0.125\n"
            " Average Precision  (AP) @[ IoU=0.50:0.95 | type=  easy | maxDets= 20 ] = 0.062\n"
            " Average Precision  (AP) @[ IoU=0.50:0.95 | type=medium | maxDets= 20 ] = -1.000\n"
            " Average Precision  (AP) @[ IoU=0.50:0.95 | type=  hard | maxDets= 20 ] = 1.000");
}

TEST(CrowdPose, APictureWithoutCrowdIndexIsNamed) {
  CocoAnnotations gt = two_pictures();
  gt.images[1].crowd_index = -1;
  try {
    evaluate_crowdpose(gt, {found(1, 10)}, {.sigmas = {0.05}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("gt.json: images[1] (id 2): no \"crowdIndex\""), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace hr
