#include "eval/results.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "core/philox.h"
#include "data/formats/skeleton.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::oracle;

ScoredPose<double> at(const std::vector<double>& keypoints, double score) { return {keypoints, score, 10000}; }

TEST(OksNms, DropsWhatOverlapsMoreThanTheThreshold) {
  const std::vector<double> here = {10, 10, 1}, near = {11, 10, 1}, far = {400, 10, 1};
  const OksNms options{.threshold = 0.9, .sigmas = {0.1}};
  const std::vector<ScoredPose<double>> poses = {at(here, 0.5), at(near, 0.9), at(far, 0.1)};
  EXPECT_EQ(oks_nms<double>(poses, options), (std::vector<int>{1, 2}));
  // d = 1, (2 sigma)^2 = 0.04, area 10000: exp(-1 / (0.04 * 10000 * 2)).
  const std::vector<double> sigmas = {0.1};
  EXPECT_NEAR(pose_oks<double>(poses[0], poses[1], sigmas), std::exp(-1.0 / 800), 1e-15);
  EXPECT_EQ(soft_oks_nms<double>(poses, options), (std::vector<int>{1, 0, 2}));
  EXPECT_TRUE(oks_nms<double>({}, options).empty());
}

TEST(OksNms, OfEqualScoresTheLaterComesFirstAndEqualityWithTheThresholdStays) {
  const std::vector<double> a = {10, 10, 1}, b = {500, 10, 1};
  const std::vector<ScoredPose<double>> poses = {at(a, 0.5), at(b, 0.5), at(a, 0.5)};
  EXPECT_EQ(oks_nms<double>(poses, {.threshold = 0.9, .sigmas = {0.1}}), (std::vector<int>{2, 1}));
  EXPECT_EQ(oks_nms<double>(poses, {.threshold = 1.0, .sigmas = {0.1}}), (std::vector<int>{2, 1, 0}));
  EXPECT_THROW(oks_nms<double>(poses, {}), Error);  // 1 joint, COCO's 17 sigmas
}

TEST(OksNms, OnlyVisibleJointsOfTheOtherCountAndSoftKeepsTwenty) {
  const std::vector<double> a = {10, 10, 0.1, 50, 50, 0.1}, b = {10, 10, 0.9, 90, 90, 0.1};
  const std::vector<double> sigmas = {0.1, 0.1};
  EXPECT_EQ(pose_oks<double>(at(a, 1), at(b, 1), sigmas, 0.2), 1.0);
  EXPECT_EQ(pose_oks<double>(at(b, 1), at(a, 1), sigmas, 0.2), 0.0);
  std::vector<ScoredPose<double>> many(30, at(a, 1));
  EXPECT_EQ(soft_oks_nms<double>(many, {.sigmas = sigmas}).size(), 20u);
}

TEST(Rescore, MeanOfTheJointsAboveTheThresholdTimesTheBox) {
  const std::vector<float> keypoints = {0, 0, 0.5f, 0, 0, 0.2f, 0, 0, 1.0f};
  EXPECT_NEAR(rescore_official(keypoints, 0.5, 0.2), 0.5 * (0.5 + 0.2f + 1) / 3, 1e-15);  // 0.2f > 0.2 in double
  EXPECT_NEAR(rescore_seed(keypoints, 0.5, 0.2), 0.375, 1e-15);  // but they are equal in float32
  EXPECT_EQ(rescore_official(keypoints, 0.5, 2), 0);
  EXPECT_EQ(rescore_seed(keypoints, 0.5, 2), 0);
}

TEST(Python, ReprAndRoundPrintAsPythonDoes) {
  const std::pair<double, const char*> reprs[] = {{0, "0.0"},
                                                  {-0.0, "-0.0"},
                                                  {1, "1.0"},
                                                  {100, "100.0"},
                                                  {0.1, "0.1"},
                                                  {1e15, "1000000000000000.0"},
                                                  {1e16, "1e+16"},
                                                  {1.5e300, "1.5e+300"},
                                                  {0.0001, "0.0001"},
                                                  {0.00001, "1e-05"},
                                                  {1.25e-7, "1.25e-07"},
                                                  {123.456, "123.456"},
                                                  {-7.25, "-7.25"},
                                                  {391.3602294921875, "391.3602294921875"},
                                                  {12345678901234567.0, "1.2345678901234568e+16"},
                                                  {5e-324, "5e-324"},
                                                  {std::numeric_limits<double>::quiet_NaN(), "NaN"},
                                                  {-std::numeric_limits<double>::infinity(), "-Infinity"}};
  for (const auto& [value, text] : reprs) EXPECT_EQ(python_repr(value), text);
  // Ties round to even only if the double is a tie: 0.125 is one, 2.675 is slightly lower.
  const std::pair<double, double> rounds[] = {{0.125, 0.12}, {0.375, 0.38}, {2.675, 2.67},    {-0.001, -0.0},
                                              {1.005, 1.0},  {1e20, 1e20},  {365.7049, 365.7}};
  for (const auto& [value, rounded] : rounds) EXPECT_EQ(python_repr(python_round2(value)), python_repr(rounded));
}

PersonResult person(int64_t image, float x, double score) {
  PersonResult p;
  p.image_id = image;
  p.keypoints = {x, 20.129f, 0.5f, x + 10, 30, 0.25f};
  p.score = score;
  p.area = 5000;
  p.center[0] = 3;
  p.center[1] = 4.5f;
  p.scale[0] = 0.5f;
  p.scale[1] = 1;
  return p;
}

TEST(Results, SeedFileIsPythonsJson) {
  EXPECT_EQ(seed_results_json({}), "[]");
  const std::vector<PersonResult> people = {person(785, 10, 0.5), person(9, 0.004f, 0.25)};
  const char* expected = R"([
    {
        "image_id": 785,
        "category_id": 1,
        "keypoints": [
            10.0,
            20.13,
            0.5,
            20.0,
            30.0,
            0.25
        ],
        "score": 0.5
    },
    {
        "image_id": 9,
        "category_id": 1,
        "keypoints": [
            0.0,
            20.13,
            0.5,
            10.0,
            30.0,
            0.25
        ],
        "score": 0.25
    }
])";
  EXPECT_EQ(seed_results_json(people), expected);
  const fs::path folder = test::temporary_folder();
  write_seed_results(folder / "key_results.json", people);
  EXPECT_EQ(read_file(folder / "key_results.json"), expected);
  const auto evaluated = to_detections(people, Rounding::two_decimals);
  EXPECT_EQ(evaluated[0].keypoints[1], 20.13);
  EXPECT_EQ(to_detections(people, Rounding::none)[0].keypoints[1], static_cast<double>(20.129f));
}

TEST(Results, OfficialFileHasEveryDigitAndSortedKeys) {
  const std::vector<PersonResult> people = {person(785, 10, 0.5)};
  EXPECT_EQ(official_results_json(people), R"([
    {
        "category_id": 1,
        "center": [
            3.0,
            4.5
        ],
        "image_id": 785,
        "keypoints": [
            10.0,
            20.128999710083008,
            0.5,
            20.0,
            30.0,
            0.25
        ],
        "scale": [
            0.5,
            1.0
        ],
        "score": 0.5
    }
])");
}

TEST(Results, OfficialKeepsPicturesInOrderOfFirstAppearance) {
  const std::vector<PersonResult> people = {person(9, 10, 0.3), person(785, 10, 1), person(9, 10.5f, 1),
                                            person(9, 300, 0.1)};
  const auto kept = postprocess_official(people, {.sigmas = {0.1, 0.1}});
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[0].image_id, 9);
  EXPECT_EQ(kept[0].keypoints[0], 10.5f);
  EXPECT_NEAR(kept[0].score, 0.375, 1e-15);
  EXPECT_EQ(kept[1].keypoints[0], 300.0f);
  EXPECT_EQ(kept[2].image_id, 785);
  EXPECT_EQ(postprocess_seed(people).size(), 4u);
}

// Two kinds of animals at the same place are two detections; two poses of one kind at the same place are one.
TEST(Results, PeopleOfAnotherCategorySuppressNobody) {
  PersonResult pose;
  pose.image_id = 1;
  pose.area = 5000;
  for (int k = 0; k < 17; ++k) pose.keypoints.insert(pose.keypoints.end(), {10.0F * static_cast<float>(k), 5, 0.9F});
  std::vector<PersonResult> two = {pose, pose};
  EXPECT_EQ(postprocess_official(two).size(), 1u);
  two[1].category_id = 2;
  const auto kept = postprocess_official(two);
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[1].category_id, 2);
  EXPECT_EQ(to_detections(kept, Rounding::none)[1].category_id, 2);
}

TEST(Results, MarkdownWithoutANumberIsNanWithoutASign) {
  const char* names[] = {"Head"};
  const double none[] = {-std::nan("")};
  EXPECT_TRUE(markdown_table("a", names, none).ends_with("| nan |"));
}

TEST(Results, RecordAndMarkdown) {
  CocoEvalResult r;
  r.stats = {0.744, 0.905, 0.819, 0.708, 0.81, 0.798, 0.942, 0.865, 0.757, 0.858};
  const fs::path file = test::temporary_folder() / "record_mAP.txt";
  write_record_map(file, r);
  const std::string text = read_file(file);
  EXPECT_EQ(text.find("COCO results:\n Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all |"), 0u);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 10);
  const char* names[] = {"AP", "Ap .5", "AP .75", "AP (M)", "AP (L)", "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"};
  EXPECT_EQ(markdown_table("pose_hrnet", names, r.stats),
            "| Arch | AP | Ap .5 | AP .75 | AP (M) | AP (L) | AR | AR .5 | AR .75 | AR (M) | AR (L) |\n"
            "|---|---|---|---|---|---|---|---|---|---|---|\n"
            "| pose_hrnet | 0.744 | 0.905 | 0.819 | 0.708 | 0.810 | 0.798 | 0.942 | 0.865 | 0.757 | 0.858 |");
}

// ---- golden ----

TEST(OksNmsGolden, HardAndSoftKeepTheReferencesIndices) {
  HR_NEEDS_ORACLE("eval/oks_nms.json");
  const auto sets = parse_json_file(oracle("eval/oks_nms.json"));
  int runs = 0;
  for (const auto& set : sets.GetArray()) {
    std::vector<std::vector<double>> keypoints;
    for (const auto& p : set["people"].GetArray()) {
      auto& list = keypoints.emplace_back();
      for (const auto& v : p["keypoints"].GetArray()) list.push_back(v.GetDouble());
    }
    std::vector<ScoredPose<double>> poses;
    for (size_t i = 0; i < keypoints.size(); ++i) {
      const Json& p = set["people"][i];
      poses.push_back({keypoints[i], p["score"].GetDouble(), p["area"].GetDouble()});
    }
    for (const auto& run : set["runs"].GetArray()) {
      OksNms options{.threshold = run["thresh"].GetDouble()};
      if (!run["in_vis_thre"].IsNull()) options.in_vis_thre = run["in_vis_thre"].GetDouble();
      if (!run["sigmas"].IsNull()) {
        for (const auto& v : run["sigmas"].GetArray()) options.sigmas.push_back(v.GetDouble());
      }
      const bool soft = std::string(run["fn"].GetString()) == "soft_oks_nms";
      const auto keep = soft ? soft_oks_nms<double>(poses, options) : oks_nms<double>(poses, options);
      std::vector<int> golden;
      for (const auto& v : run["keep"].GetArray()) golden.push_back(v.GetInt());
      EXPECT_EQ(keep, golden) << run["fn"].GetString() << " of " << poses.size() << " at " << options.threshold;
      ++runs;
    }
  }
  EXPECT_GT(runs, 50);
}

std::vector<PersonResult> golden_people() {
  const SafetensorsFile file(oracle("eval/postprocess_input.safetensors"));
  const auto preds = file.at("preds").to_f32();
  const auto boxes = file.at("all_boxes").to_f64();
  const auto images = file.at("image_id").to_i64();
  std::vector<PersonResult> people;
  for (size_t i = 0; i < images.size(); ++i) {
    PersonResult& p = people.emplace_back();
    p.image_id = images[i];
    p.keypoints.assign(preds.begin() + i * 51, preds.begin() + (i + 1) * 51);
    const double* box = boxes.data() + 6 * i;
    for (int j = 0; j < 2; ++j) {
      p.center[j] = static_cast<float>(box[j]);
      p.scale[j] = static_cast<float>(box[2 + j]);
    }
    p.area = box[4];
    p.score = box[5];
  }
  return people;
}

void expect_results(const std::string& text, const Json& golden) {
  const auto ours = parse_json(text, "ours");
  ASSERT_EQ(ours.Size(), golden.Size());
  for (rapidjson::SizeType i = 0; i < golden.Size(); ++i) {
    ASSERT_EQ(ours[i].MemberCount(), golden[i].MemberCount());
    for (const auto& member : golden[i].GetObject()) {
      const Json& value = ours[i][member.name];
      if (std::string(member.name.GetString()) == "score") {
        EXPECT_NEAR(value.GetDouble(), member.value.GetDouble(), 1e-6 * member.value.GetDouble()) << i;
      } else {
        EXPECT_EQ(value, member.value) << "entry " << i << " " << member.name.GetString();
      }
    }
  }
}

TEST(ResultsGolden, OfficialPostprocessingAndItsTenNumbers) {
  HR_NEEDS_ORACLE("eval/postprocess.json");
  const CocoAnnotations gt = read_coco(oracle("coco_sample/test_coco.json"));
  const auto golden = parse_json_file(oracle("eval/postprocess.json"));
  for (const auto& entry : golden.GetObject()) {
    SCOPED_TRACE(entry.name.GetString());
    const auto kept =
        postprocess_official(golden_people(), {.in_vis_thre = entry.value["in_vis_thre"].GetDouble(),
                                               .oks_thre = entry.value["oks_thre"].GetDouble(),
                                               .nms = entry.value["soft"].GetBool() ? NmsKind::soft : NmsKind::hard});
    expect_results(official_results_json(kept), entry.value["results"]);
    const auto r = evaluate_coco(gt, to_detections(kept, Rounding::none));
    int i = 0;
    for (const auto& stat : entry.value["stats"].GetObject()) {
      EXPECT_NEAR(r.stats[i++], stat.value.GetDouble(), 1e-12) << stat.name.GetString();
    }
    EXPECT_EQ(i, 10);
  }
}

TEST(ResultsGolden, SeedPostprocessingAndItsTenNumbers) {
  HR_NEEDS_ORACLE("eval/seed_results.json");
  const CocoAnnotations gt = read_coco(oracle("coco_sample/test_coco.json"));
  const auto golden = parse_json_file(oracle("eval/seed_results.json"));
  const auto rescored = postprocess_seed(golden_people());
  expect_results(seed_results_json(rescored), golden["results"]);
  const auto r = evaluate_coco(gt, to_detections(rescored, Rounding::two_decimals));
  for (int i = 0; i < 10; ++i) EXPECT_NEAR(r.stats[i], golden["stats"][i].GetDouble(), 1e-12);
}

}  // namespace
}  // namespace hr
