#include "eval/coco_eval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/philox.h"
#include "eval/pairwise.h"
#include "tests/eval/plain_evaluator.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> pose(std::initializer_list<double> numbers) { return numbers; }

CocoDetection detection(int64_t image, double score, std::vector<double> keypoints) {
  CocoDetection d;
  d.image_id = image;
  d.score = score;
  d.keypoints = std::move(keypoints);
  return d;
}

CocoAnnotation person(int64_t id, int64_t image, double area, std::vector<double> keypoints) {
  CocoAnnotation a;
  a.id = id;
  a.image_id = image;
  a.area = area;
  a.box = {keypoints[0], keypoints[1], std::sqrt(area), std::sqrt(area)};
  for (size_t k = 2; k < keypoints.size(); k += 3) a.num_keypoints += keypoints[k] > 0;
  a.keypoints = std::move(keypoints);
  return a;
}

CocoAnnotations one_image() {
  CocoAnnotations gt;
  gt.path = "gt.json";
  gt.images = {{.id = 1}};
  gt.categories = {{.id = 1, .name = "person"}};
  return gt;
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

std::string message(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const CocoEvalOptions& options) {
  try {
    evaluate_coco(gt, dt, options);
  } catch (const Error& e) {
    return e.what();
  }
  return "(no error)";
}

TEST(PairwiseSum, FollowsTheLanesAndHalvesOfNumpy) {
  Philox rng(1, 0, 0);
  for (const size_t n : {0, 1, 7, 8, 9, 15, 16, 17, 127, 128, 129, 133, 1010, 1023}) {
    std::vector<double> v;
    for (size_t i = 0; i < n; ++i) v.push_back(rng.uniform() * std::pow(10.0, rng.uniform(-6, 6)));
    EXPECT_EQ(pairwise_sum(v.data(), n), test::plain_sum(v)) << n;
  }
  // This sum comes out right only in the order of the lanes: the large pair cancels before the small numbers are added.
  const double lanes[] = {1e16, 1, 1, 1, 1, 1, 1, 1, -1e16};
  EXPECT_EQ(pairwise_sum(lanes, 9), 6.0 + 0.0);
}

TEST(CocoEval, APerfectDetectionScoresOneAndEmptyRangesMinusOne) {
  CocoAnnotations gt = one_image();
  gt.annotations = {person(7, 1, 2000, {10, 10, 2, 40, 50, 1})};
  const auto r = evaluate_coco(gt, {detection(1, 0.5, {10, 10, 1, 40, 50, 1})}, {.sigmas = {0.05, 0.1}});
  const std::array<double, 10> expected = {1, 1, 1, 1, -1, 1, 1, 1, 1, -1};
  for (int i = 0; i < 10; ++i) EXPECT_NEAR(r.stats[i], expected[i], 1e-15) << i;
  EXPECT_EQ(r.precision.size(), 10u * 101 * 1 * 3);
  EXPECT_EQ(r.scores[0], 0.5);
}

TEST(CocoEval, ThresholdsHaveNumpysBits) {
  // These are the digits of numpy.linspace: 0.9 is one unit too low, and ten recall points differ from i / 100.
  const std::array<double, 10> thresholds = {0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95};
  EXPECT_EQ(oks_thresholds(), thresholds);
  std::vector<int> different;
  for (int i = 0; i <= 100; ++i) {
    if (recall_points()[i] != i / 100.0) different.push_back(i);
  }
  EXPECT_EQ(different, (std::vector<int>{35, 41, 47, 57, 69, 70, 82, 83, 94, 95}));
}

TEST(CocoEval, OksHasTheBitsOfThePairwiseMean) {
  Philox rng(12, 0, 0);
  int differs_in_order = 0;
  for (int trial = 0; trial < 40; ++trial) {
    const int joints = trial < 2 ? 133 : trial % 20 + 1;
    CocoAnnotations gt = one_image();
    std::vector<double> truth, found, similarity, sigmas;
    const double area = 3000, eps = std::numeric_limits<double>::epsilon();
    for (int k = 0; k < joints; ++k) {
      sigmas.push_back(rng.uniform(0.02, 0.11));
      const double dx = rng.normal(0, 5), dy = rng.normal(0, 5), spread = 2 * sigmas[k] * (2 * sigmas[k]);
      truth.insert(truth.end(), {0, 0, 2});
      found.insert(found.end(), {dx, dy, 1});
      similarity.push_back(std::exp(-((dx * dx + dy * dy) / spread / (area + eps) / 2)));
    }
    gt.annotations = {person(1, 1, area, truth)};
    const auto r = evaluate_coco(gt, {detection(1, 1, found)}, {.sigmas = sigmas, .keep_matches = true});
    EXPECT_EQ(r.matches.at(0).oks.at(0), test::plain_sum(similarity) / joints) << joints;
    double one_by_one = 0;
    for (const double v : similarity) one_by_one += v;
    differs_in_order += one_by_one != test::plain_sum(similarity);
  }
  EXPECT_GT(differs_in_order, 0) << "the test cannot see the order of summation";
}

TEST(CocoEval, OksEqualToAThresholdPasses) {
  // g of n joints are perfect and the others infinitely far away, so OKS is g / n to the bit.
  const int n = 20;
  for (int g = 10; g <= 19; ++g) {
    CocoAnnotations gt = one_image();
    std::vector<double> truth, found;
    for (int k = 0; k < n; ++k) {
      truth.insert(truth.end(), {k * 1.0, 2.0 * k, 2.0});
      found.insert(found.end(), {k < g ? k * 1.0 : 1e7, 2.0 * k, 1.0});
    }
    gt.annotations = {person(1, 1, 5000, truth)};
    const auto r = evaluate_coco(gt, {detection(1, 1, found)}, {.sigmas = std::vector<double>(n, 0.05)});
    const auto thresholds = oks_thresholds();
    for (int t = 0; t < 10; ++t) {
      const double oks = static_cast<double>(g) / n;
      EXPECT_EQ(r.recall[t * 3], oks >= thresholds[t] ? 1.0 : 0.0) << g << " of " << n << " at threshold " << t;
    }
  }
}

TEST(CocoEval, ATieGoesToTheLaterPersonAndCrowdsMatchAgain) {
  CocoAnnotations gt = one_image();
  const auto p = pose({5, 5, 2});
  gt.annotations = {person(1, 1, 2000, p), person(2, 1, 2000, p), person(3, 1, 2000, p)};
  gt.annotations[2].iscrowd = true;
  const std::vector<CocoDetection> dt = {detection(1, 0.9, p), detection(1, 0.8, p), detection(1, 0.7, p),
                                         detection(1, 0.6, p)};
  const auto r = evaluate_coco(gt, dt, {.sigmas = {0.1}, .keep_matches = true});
  ASSERT_EQ(r.matches.size(), 1u);
  const std::vector<int> first_threshold(r.matches[0].match.begin(), r.matches[0].match.begin() + 4);
  EXPECT_EQ(first_threshold, (std::vector<int>{1, 0, 2, 2}));
  EXPECT_NEAR(r.stats[0], 1.0, 1e-15) << "matches of a crowd are no false alarms";
  EXPECT_EQ(r.counts.people_crowd, 1);
}

TEST(CocoEval, AFalseAlarmOfAnImpossibleAreaIsIgnoredEverywhere) {
  CocoAnnotations gt = one_image();
  gt.annotations = {person(7, 1, 2000, {10, 10, 2, 40, 50, 2})};
  const double far = 2e5;  // The extent of 4e10 square pixels is beyond the range `all`, which ends at 1e10.
  const std::vector<CocoDetection> dt = {detection(1, 0.9, {0, 0, 1, far, far, 1}),
                                         detection(1, 0.8, {300, 10, 1, 340, 60, 1})};
  const auto r = evaluate_coco(gt, dt, {.sigmas = {0.05, 0.1}, .keep_matches = true});
  ASSERT_EQ(r.matches.size(), 1u);
  EXPECT_EQ(r.matches[0].match, std::vector<int>(20, -1));
  for (int t = 0; t < kOksThresholds; ++t) {
    EXPECT_EQ(r.matches[0].ignored.at(2 * t), 1) << t;
    EXPECT_EQ(r.matches[0].ignored.at(2 * t + 1), 0) << t;
  }
}

TEST(CocoEval, APersonWithIdZeroIsNeverFound) {
  CocoAnnotations gt = one_image();
  gt.annotations = {person(0, 1, 2000, {5, 5, 2})};
  const auto r = evaluate_coco(gt, {detection(1, 0.9, {5, 5, 1})}, {.sigmas = {0.1}});
  EXPECT_EQ(r.stats[0], 0.0);
}

// As in loadRes, the area is that of the box if the first entry has one, else that of the extent of the points.
TEST(CocoEval, ADetectionsAreaIsOfItsBoxWhenTheFileHasBoxes) {
  CocoAnnotations gt = one_image();
  gt.annotations = {person(7, 1, 2000, {10, 10, 2, 40, 50, 2})};
  std::vector<CocoDetection> dt = {detection(1, 0.9, {300, 10, 1, 340, 60, 1}),  // misses; extent of 2000, medium
                                   detection(1, 0.5, {10, 10, 1, 40, 50, 1})};
  EXPECT_NEAR(evaluate_coco(gt, dt, {.sigmas = {0.05, 0.1}}).stats[3], 0.5, 1e-12);
  for (CocoDetection& d : dt) d.has_box = true;
  dt[0].box = {300, 10, 200, 200};  // large: outside of the range, so it is no false alarm there
  dt[1].box = {10, 10, 40, 50};
  for (const CocoRules rules : {CocoRules::pycocotools, CocoRules::xtcocotools}) {
    EXPECT_NEAR(evaluate_coco(gt, dt, {.sigmas = {0.05, 0.1}, .rules = rules}).stats[3], 1, 1e-12);
  }
  const CocoEvalOptions options{.sigmas = {0.05, 0.1}, .detections_name = "dt.json"};
  dt[1].has_box = false;
  EXPECT_EQ(message(gt, dt, options),
            "dt.json: entry [1] (image 1) has no bbox, entry [0] has one; a detection's area is of its bbox or of its "
            "keypoints, the same way in the whole file: give all entries a bbox, or none");
  std::swap(dt[0], dt[1]);
  EXPECT_EQ(message(gt, dt, options).substr(0, 63), "dt.json: entry [1] (image 1) has a bbox, entry [0] has none; a ");
}

TEST(CocoEval, BoxedResultsOfOthersGiveTheirNumbers) {
  const std::filesystem::path results = test::source_folder() / ".." / "shared" / "cases" / "results";
  if (!std::filesystem::exists(results)) GTEST_SKIP() << "no such folder: " << results.string();
  const auto r = evaluate_coco(read_coco(results / "boxed.gt.json"), read_coco_detections(results / "boxed.dt.json"));
  EXPECT_NEAR(r.stats[3], 0.151, 0.0005);
  EXPECT_NEAR(r.stats[4], 0.618, 0.0005);
}

TEST(CocoEval, ThePositionOfAnUnlabelledJointIsNotJudged) {
  CocoAnnotations gt = one_image();
  gt.annotations = {person(1, 1, 2000, {kNaN, kNaN, 0, 5, 5, 2})};
  gt.annotations[0].box = {0, 0, 40, 50};
  const std::vector<CocoDetection> dt = {detection(1, 0.9, {70, 70, 1, 5, 5, 1})};
  CocoEvalOptions options{.sigmas = {0.1, 0.1}};
  EXPECT_NEAR(evaluate_coco(gt, dt, options).stats[0], 1, 1e-12);  // pycocotools gives this number, too
  gt.annotations[0].keypoints[4] = kNaN;
  EXPECT_NE(message(gt, dt, options).find("keypoints[4] is not a finite number"), std::string::npos);
}

TEST(CocoEval, OnlyTwentyDetectionsOfAPictureCount) {
  CocoAnnotations gt = one_image();
  gt.annotations = {person(1, 1, 2000, {5, 5, 2})};
  std::vector<CocoDetection> dt;
  dt.reserve(21);
  for (int i = 0; i < 20; ++i) dt.push_back(detection(1, 0.9, {5000, 5, 1}));
  dt.push_back(detection(1, 0.1, {5, 5, 1}));
  const auto r = evaluate_coco(gt, dt, {.sigmas = {0.1}});
  EXPECT_EQ(r.stats[0], 0.0);
  EXPECT_EQ(r.counts.detections_over_limit, 1);
  EXPECT_NE(coco_remarks(r).find("1 detection dropped: beyond the best 20"), std::string::npos) << coco_remarks(r);
}

TEST(CocoEval, CategoriesAreEvaluatedApartAndForeignOnesDropped) {
  CocoAnnotations gt = one_image();
  gt.categories = {{.id = 5}, {.id = 2}};
  gt.annotations = {person(1, 1, 2000, {5, 5, 2}), person(2, 1, 2000, {5, 5, 2})};
  gt.annotations[0].category_id = 5;
  gt.annotations[1].category_id = 2;
  std::vector<CocoDetection> dt = {detection(1, 0.9, {5, 5, 1}), detection(1, 0.9, {5, 5, 1})};
  dt[0].category_id = 5;
  dt[1].category_id = 77;
  const auto r = evaluate_coco(gt, dt, {.sigmas = {0.1}});
  EXPECT_EQ(r.categories, (std::vector<int64_t>{2, 5}));
  EXPECT_EQ(r.recall[0 * 3], 0.0);  // [t = 0, category 2, all]
  EXPECT_EQ(r.recall[1 * 3], 1.0);
  EXPECT_EQ(r.counts.detections_other_category, 1);
  const auto only = evaluate_coco(gt, dt, {.sigmas = {0.1}, .categories = {5}});
  EXPECT_NEAR(only.stats[0], 1.0, 1e-15);
  EXPECT_EQ(only.counts.people_other_category, 1);
}

TEST(CocoEval, SummaryIsTheReferencesTenLines) {
  CocoEvalResult r;
  r.stats = {0.7654, 1, 0.5, -1, 0.25, 0.125, 0.0625, 0, 0.9999, 0.3};
  EXPECT_EQ(coco_summary(r),
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ] = 0.765\n"
            " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets= 20 ] = 1.000\n"
            " Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets= 20 ] = 0.500\n"
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=medium | maxDets= 20 ] = -1.000\n"
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets= 20 ] = 0.250\n"
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 20 ] = 0.125\n"
            " Average Recall     (AR) @[ IoU=0.50      | area=   all | maxDets= 20 ] = 0.062\n"
            " Average Recall     (AR) @[ IoU=0.75      | area=   all | maxDets= 20 ] = 0.000\n"
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets= 20 ] = 1.000\n"
            " Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets= 20 ] = 0.300");
}

TEST(CocoEval, BadInputIsNamedWithFileEntryAndBothSides) {
  CocoAnnotations gt = one_image();
  gt.annotations = {person(1, 1, 2000, {5, 5, 2})};
  const auto good = detection(1, 0.9, {5, 5, 1});
  CocoEvalOptions options{.sigmas = {0.1}, .detections_name = "dt.json"};
  EXPECT_EQ(message(gt, {good}, options), "(no error)");
  const auto expect = [&](const std::vector<CocoDetection>& dt, std::initializer_list<const char*> parts) {
    const std::string text = message(gt, dt, options);
    for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  };
  expect({good, detection(99, 0.9, {5, 5, 1})}, {"dt.json: entry [1]", "image_id 99", "gt.json"});
  expect({detection(1, 0.9, {5, 5, 1, 6, 6, 1})}, {"dt.json: entry [0]", "6 keypoint numbers", "3 x 1"});
  expect({good, detection(1, 0.9, {})}, {"dt.json: entry [1]", "no keypoints"});
  expect({good, detection(1, kNaN, {5, 5, 1})}, {"dt.json: entry [1]", "score"});
  expect({good, detection(1, 1, {5, std::numeric_limits<double>::infinity(), 1})},
         {"dt.json: entry [1]", "keypoints[1]"});
  expect({}, {"dt.json", "empty", "gt.json"});
  options.categories = {4};
  expect({good}, {"gt.json", "no category 4", "it has 1"});
  options.categories.clear();
  gt.annotations[0].keypoints = {1, 2, 2, 3, 4, 2};
  expect({good}, {"gt.json: annotations[0] (id 1)", "6 keypoint numbers"});
  gt.annotations[0].keypoints.clear();
  gt.annotations[0].lacks = coco_field::keypoints;
  expect({good}, {"gt.json: annotations[0] (id 1)", "lists none"});
  options.sigmas = {0.0};
  expect({good}, {"sigma 0"});
}

// A small dataset with many ties, crowds, people without joints, areas at the ends of ranges, surplus detections and
// empty pictures. Coordinates are on a coarse grid, and many detections are copies of people.
struct Generated {
  CocoAnnotations gt;
  std::vector<CocoDetection> dt;
  std::vector<double> sigmas;
};

Generated generate(uint64_t serial, bool with_nan) {
  Philox rng(20240501, 0, serial);
  const auto chance = [&](double p) { return rng.uniform() < p; };
  Generated out;
  const int joints = chance(0.02) ? 133 + static_cast<int>(rng.below(8)) : 1 + static_cast<int>(rng.below(20));
  for (int k = 0; k < joints; ++k) out.sigmas.push_back(chance(0.5) ? 0.05 : rng.uniform(0.02, 0.11));
  const int images = 1 + static_cast<int>(rng.below(5)), categories = chance(0.8) ? 1 : 3;
  out.gt.path = "gt";
  for (int i = 0; i < images; ++i) out.gt.images.push_back({.id = (i * 7 + 3) % 11 + (chance(0.2) ? 1000 : 0)});
  for (int c = 0; c < categories; ++c) out.gt.categories.push_back({.id = 9 - 3 * c});
  const auto random_pose = [&](bool truth) {
    const bool far = chance(0.1), small = chance(0.5);
    std::vector<double> v;
    for (int k = 0; k < joints; ++k) {
      const double x = static_cast<double>(rng.below(small ? 5 : 20)) * 8 + (far ? 500 : 0);
      const double y = static_cast<double>(rng.below(small ? 5 : 20)) * 8 - 16;  // some are above the picture
      v.insert(v.end(), {x, y, truth ? static_cast<double>(rng.below(3)) : rng.uniform()});
    }
    return v;
  };
  const double areas[] = {1023.9, 1024, 3000, 9216, 9216.1, 40000, 0};
  int64_t id = chance(0.1) ? 0 : 1;
  for (const CocoImage& image : out.gt.images) {
    const int people = chance(0.15) ? 0 : static_cast<int>(rng.below(5));
    for (int g = 0; g < people; ++g) {
      CocoAnnotation a = person(id++, image.id, areas[rng.below(std::size(areas))], random_pose(true));
      if (chance(0.2) && !out.gt.annotations.empty()) a.keypoints = out.gt.annotations.back().keypoints;
      if (chance(0.1)) {  // no joint is flagged, so the enlarged box counts
        for (size_t k = 2; k < a.keypoints.size(); k += 3) a.keypoints[k] = 0;
      }
      if (chance(0.1)) a.num_keypoints = 0;
      a.has_area = !chance(0.1);
      a.iscrowd = chance(0.15);
      a.category_id = out.gt.categories[rng.below(categories)].id;
      out.gt.annotations.push_back(a);
    }
  }
  if (chance(0.05)) return out;  // there are no detections at all
  for (const CocoImage& image : out.gt.images) {
    const int found = chance(0.15)  ? 0
                      : chance(0.1) ? 18 + static_cast<int>(rng.below(10))
                                    : static_cast<int>(rng.below(8));
    for (int d = 0; d < found; ++d) {
      CocoDetection entry = detection(image.id, static_cast<double>(rng.below(6)) / 4 - 0.5, random_pose(false));
      if (chance(0.5)) entry.score = rng.uniform();
      if (chance(0.05)) entry.score = -0.0;
      if (chance(0.1)) {  // no joint has a score
        for (size_t k = 2; k < entry.keypoints.size(); k += 3) entry.keypoints[k] = -chance(0.5);
      }
      if (!out.gt.annotations.empty() && chance(0.7)) {
        entry.keypoints = out.gt.annotations[rng.below(out.gt.annotations.size())].keypoints;
        if (chance(0.7)) {
          const double wide = rng.uniform(0, 12);
          for (size_t k = 0; k < entry.keypoints.size(); ++k) entry.keypoints[k] += k % 3 < 2 ? rng.normal(0, wide) : 0;
        }
      }
      if (with_nan && chance(0.1)) entry.score = kNaN;
      if (with_nan && chance(0.1)) entry.keypoints[rng.below(entry.keypoints.size())] = kNaN;
      entry.category_id = chance(0.02) ? 1234 : out.gt.categories[rng.below(categories)].id;
      out.dt.push_back(entry);
    }
  }
  for (size_t i = out.dt.size(); i > 1; --i) std::swap(out.dt[i - 1], out.dt[rng.below(i)]);
  return out;
}

void compare_with_plain(bool with_nan, int sets, CocoRules rules = CocoRules::pycocotools) {
  int64_t with_something = 0;
  for (int serial = 0; serial < sets; ++serial) {
    const Generated g = generate(serial, with_nan);
    const bool known = std::ranges::any_of(g.dt, [](const CocoDetection& d) { return d.category_id != 1234; });
    const bool strict = !with_nan && known && serial % 8 != 0;  // strict sets take shortcuts
    const auto r = evaluate_coco(
        g.gt, g.dt, {.sigmas = g.sigmas, .rules = rules, .threads = serial % 16 == 0 ? 2 : 1, .strict = strict});
    const auto plain = test::plain_evaluate(g.gt, g.dt, g.sigmas, rules);
    ASSERT_TRUE(same_bits(r.precision, plain.precision)) << "data set " << serial;
    ASSERT_TRUE(same_bits(r.recall, plain.recall)) << "data set " << serial;
    ASSERT_TRUE(same_bits(r.scores, plain.scores)) << "data set " << serial;
    for (int i = 0; i < 10; ++i) ASSERT_EQ(r.stats[i], plain.stats[i]) << "data set " << serial << " number " << i;
    with_something += r.stats[0] > 0 && r.stats[0] < 1;
  }
  EXPECT_GT(with_something, sets / 3) << "the generator makes trivial data sets";
}

TEST(CocoEval, AgreesWithThePlainEvaluatorOnRandomSets) { compare_with_plain(false, 3000); }
TEST(CocoEval, AgreesWithThePlainEvaluatorOnSetsWithNaN) { compare_with_plain(true, 1000); }
TEST(CocoEval, AgreesWithThePlainEvaluatorByTheRulesOfXtcocotools) {
  compare_with_plain(false, 1000, CocoRules::xtcocotools);
  compare_with_plain(false, 1000, CocoRules::xtcocotools_crowd);
}

TEST(CocoEval, TheRandomSetsHaveEverythingThatIsHard) {
  int without_people = 0, without_detections = 0, crowds = 0, over_limit = 0, outside = 0, jointless = 0, several = 0;
  int tied_scores = 0, id_zero = 0, borders = 0, unseen = 0, without_area = 0, many_joints = 0;
  for (int serial = 0; serial < 1000; ++serial) {
    const Generated g = generate(serial, false);
    without_people += g.gt.annotations.empty();
    without_detections += g.dt.empty();
    several += g.gt.categories.size() > 1;
    many_joints += g.sigmas.size() > 128;  // two halves in the pairwise sum
    bool crowd = false, low = false, hidden = false, tie = false, zero = false, border = false, nothing = false,
         boxed = false;
    std::map<std::pair<int64_t, int64_t>, std::vector<double>> scores;
    for (const CocoAnnotation& a : g.gt.annotations) {
      crowd |= a.iscrowd;
      hidden |= a.num_keypoints == 0;
      zero |= a.id == 0;
      border |= a.area == 1024 || a.area == 9216;
      boxed |= !a.has_area;
    }
    for (const CocoDetection& d : g.dt) {
      scores[{d.image_id, d.category_id}].push_back(d.score);
      bool any = false;
      for (size_t i = 0; i < d.keypoints.size(); i += 3) {
        low |= d.keypoints[i + 1] < 0;
        any |= d.keypoints[i + 2] > 0;
      }
      nothing |= !any;
    }
    bool over = false;
    for (auto& [key, list] : scores) {
      over |= list.size() > 20;
      std::sort(list.begin(), list.end());
      tie |= std::adjacent_find(list.begin(), list.end()) != list.end();
    }
    crowds += crowd;
    jointless += hidden;
    id_zero += zero;
    borders += border;
    outside += low;
    unseen += nothing;
    tied_scores += tie;
    over_limit += over;
    without_area += boxed;
  }
  for (const int n : {without_people, without_detections, crowds, over_limit, outside, jointless, several, tied_scores,
                      id_zero, borders, unseen, without_area}) {
    EXPECT_GE(n, 20);
  }
  EXPECT_GE(many_joints, 5);
}

TEST(CocoEval, AnyNumberOfThreadsGivesTheSameBytes) {
  Generated all;  // many pictures, so that there is work for several threads
  for (int serial = 0; serial < 300; ++serial) {
    Generated g = generate(5000 + serial, false);
    if (g.sigmas.size() < 3) continue;
    for (CocoImage& image : g.gt.images) all.gt.images.push_back({.id = image.id + 10000 * serial});
    for (CocoAnnotation& a : g.gt.annotations) {
      a.image_id += 10000 * serial;
      a.keypoints.resize(9);
      all.gt.annotations.push_back(a);
    }
    for (CocoDetection& d : g.dt) {
      d.image_id += 10000 * serial;
      d.keypoints.resize(9);
      all.dt.push_back(d);
    }
  }
  all.gt.path = "gt";
  all.gt.categories = {{.id = 3}, {.id = 6}, {.id = 9}};
  const CocoEvalOptions one{.sigmas = {0.1, 0.2, 0.05}, .threads = 1, .keep_matches = true};
  const auto r1 = evaluate_coco(all.gt, all.dt, one);
  for (const int threads : {2, 8}) {
    CocoEvalOptions many = one;
    many.threads = threads;
    const auto r = evaluate_coco(all.gt, all.dt, many);
    EXPECT_TRUE(same_bits(r.precision, r1.precision) && same_bits(r.recall, r1.recall) &&
                same_bits(r.scores, r1.scores));
    EXPECT_EQ(r.stats, r1.stats);
    ASSERT_EQ(r.matches.size(), r1.matches.size());
    for (size_t i = 0; i < r.matches.size(); ++i) {
      ASSERT_EQ(r.matches[i].image_id, r1.matches[i].image_id);
      ASSERT_EQ(r.matches[i].match, r1.matches[i].match);
      ASSERT_EQ(r.matches[i].ignored, r1.matches[i].ignored);
      ASSERT_TRUE(same_bits(r.matches[i].oks, r1.matches[i].oks));
    }
  }
}

}  // namespace
}  // namespace hr
