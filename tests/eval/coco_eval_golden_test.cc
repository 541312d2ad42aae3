// Compares with pycocotools' own results on ten datasets, and tests result files that must be refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "data/formats/skeleton.h"
#include "eval/coco_eval.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

using test::oracle;

fs::path eval_file(const std::string& name) { return oracle("eval/" + name); }

// The curves are quotients of small integers, so equal inputs give equal bits.
void expect_equal(const std::vector<double>& ours, const ArrayView& stored, const std::string& what) {
  const std::vector<double> golden = stored.to_f64();
  ASSERT_EQ(ours.size(), golden.size()) << what;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (std::isnan(golden[i]) && std::isnan(ours[i])) continue;
    ASSERT_EQ(ours[i], golden[i]) << what << "[" << i << "]";
  }
}

TEST(CocoEvalGolden, ThresholdsAreTheReferencesBits) {
  HR_NEEDS_ORACLE("eval/params.safetensors");
  const SafetensorsFile params(eval_file("params.safetensors"));
  const auto iou = params.at("iouThrs").to_f64(), recall = params.at("recThrs").to_f64();
  const auto ours = oks_thresholds();
  const auto points = recall_points();
  for (size_t i = 0; i < iou.size(); ++i) EXPECT_EQ(ours.at(i), iou[i]);
  for (size_t i = 0; i < recall.size(); ++i) EXPECT_EQ(points.at(i), recall[i]);
  const auto areas = params.at("areaRng").to_f64();
  for (size_t i = 0; i < areas.size(); ++i) EXPECT_EQ(area_ranges().at(i / 2).at(i % 2), areas[i]);
  EXPECT_EQ(coco_skeleton().sigmas, params.at("sigmas").to_f64());
}

TEST(CocoEvalGolden, EveryCaseInEveryArrayAndEveryDigit) {
  HR_NEEDS_ORACLE("eval/golden.json");
  const auto golden = parse_json_file(eval_file("golden.json"));
  int cases = 0;
  for (const auto& entry : golden["cases"].GetObject()) {
    const std::string name = entry.name.GetString();
    SCOPED_TRACE(name);
    const CocoAnnotations gt = read_coco(eval_file(entry.value["gt"].GetString()));
    const std::vector<CocoDetection> dt = read_coco_detections(eval_file(entry.value["dt"].GetString()));
    const bool nan = name.starts_with("nan_");
    if (nan) {
      EXPECT_THROW(evaluate_coco(gt, dt), Error);
    }
    const CocoEvalResult one = evaluate_coco(gt, dt, {.strict = !nan});
    for (const int threads : {1, 2, 8}) {
      const CocoEvalResult r = evaluate_coco(gt, dt, {.threads = threads, .strict = !nan});
      EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(r.stats)), std::as_bytes(std::span(one.stats))))
          << threads << " threads";
      for (const auto array : {&CocoEvalResult::precision, &CocoEvalResult::recall, &CocoEvalResult::scores}) {
        EXPECT_EQ(std::memcmp((r.*array).data(), (one.*array).data(), (one.*array).size() * sizeof(double)), 0);
      }
      for (int i = 0; i < 10; ++i) EXPECT_NEAR(r.stats[i], entry.value["stats"][i].GetDouble(), 1e-12) << i;
      const SafetensorsFile curves(eval_file(entry.value["curves"].GetString()));
      expect_equal(r.precision, curves.at("precision"), "precision");
      expect_equal(r.recall, curves.at("recall"), "recall");
      expect_equal(r.scores, curves.at("scores"), "scores");
    }
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

TEST(CocoEvalGolden, OksAndMatchesOfEveryPicture) {
  HR_NEEDS_ORACLE("eval/golden.json");
  const auto golden = parse_json_file(eval_file("golden.json"));
  for (const std::string name : {"sample", "exact", "gt_id0"}) {
    SCOPED_TRACE(name);
    const Json& entry = golden["cases"][name.c_str()];
    const CocoAnnotations gt = read_coco(eval_file(entry["gt"].GetString()));
    const std::vector<CocoDetection> dt = read_coco_detections(eval_file(entry["dt"].GetString()));
    const CocoEvalResult r = evaluate_coco(gt, dt, {.keep_matches = true});
    const auto detail = parse_json_file(eval_file(name + ".detail.json"));
    size_t compared = 0;
    for (const auto& image : detail.GetArray()) {
      if (std::string(image["area"].GetString()) != "all") continue;
      const auto match = std::find_if(r.matches.begin(), r.matches.end(), [&](const CocoImageMatches& m) {
        return m.image_id == image["image_id"].GetInt64();
      });
      ASSERT_NE(match, r.matches.end());
      const size_t D = match->detections.size(), G = match->people.size();
      const Json& ids = image["dt_ids_in_order"];
      ASSERT_EQ(ids.Size(), D);
      for (size_t d = 0; d < D; ++d) EXPECT_EQ(ids[d].GetInt(), match->detections[d] + 1);  // loadRes counts from 1
      for (int t = 0; t < 10; ++t) {
        for (size_t d = 0; d < D; ++d) {
          const int person = match->match[t * D + d];
          EXPECT_EQ(image["dt_match_gt_id_per_threshold"][t][d].GetInt64(), person < 0 ? 0 : gt.annotations[person].id);
          EXPECT_EQ(image["dt_ignore_per_threshold"][t][d].GetInt(), match->ignored[t * D + d]);
        }
      }
      if (!image.HasMember("oks_rows_dt_cols_gt_in_file_order")) continue;
      const Json& oks = image["oks_rows_dt_cols_gt_in_file_order"];
      for (size_t d = 0; d < oks.Size(); ++d) {
        for (size_t g = 0; g < G; ++g) {
          // exp may differ in its last bit between mathematical libraries, relative to each addend.
          const double golden_oks = oks[d][g].GetDouble();
          EXPECT_NEAR(match->oks[d * G + g], golden_oks, 4e-16 + 1e-13 * golden_oks);
        }
      }
      ++compared;
    }
    EXPECT_GT(compared, 0u);
  }
}

TEST(CocoEvalGolden, RefusesEveryBrokenResultFile) {
  HR_NEEDS_ORACLE("eval/golden.json");
  const auto golden = parse_json_file(eval_file("golden.json"));
  for (const auto& entry : golden["reject"].GetObject()) {
    SCOPED_TRACE(entry.name.GetString());
    const std::string file = entry.value["dt"].GetString();
    try {
      const CocoAnnotations gt = read_coco(eval_file(entry.value["gt"].GetString()));
      const auto dt = read_coco_detections(eval_file(file));
      evaluate_coco(gt, dt, {.detections_name = eval_file(file).string()});
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(file), std::string::npos) << e.what();
      RecordProperty(entry.name.GetString(), e.what());
    }
  }
}

}  // namespace
}  // namespace hr
