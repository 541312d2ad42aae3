// From poses to result files: the official post-processing and the seed's, and the files both write.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/formats/coco.h"
#include "eval/coco_eval.h"
#include "eval/nms.h"

namespace hr {

// One person as the network saw it.
struct PersonResult {
  int64_t image_id = 0;
  std::vector<float> keypoints;  // [joints, 3]: x, y in picture pixels, score
  double score = 1;              // of the box; after post-processing, of the pose
  float center[2] = {0, 0};      // of the padded box, picture pixels
  float scale[2] = {0, 0};       // of the padded box, units of 200 pixels
  double area = 0;               // of the padded box, square pixels
  int64_t category_id = 1;
};

// Official: rescore, then OKS-NMS per picture (and category, where there are several). Pictures in order of first
// appearance, poses in the order NMS keeps them.
enum class NmsKind { none, hard, soft };  // none: input order within a picture
struct OfficialPostprocess {
  double in_vis_thre = 0.2;  // joints below do not count in the pose's score
  double oks_thre = 0.9;
  NmsKind nms = NmsKind::hard;
  std::vector<double> sigmas;  // empty: COCO's 17
};
std::vector<PersonResult> postprocess_official(std::span<const PersonResult> people,
                                               const OfficialPostprocess& options = {});

// Seed: rescore with joints above 0.2; no NMS, input order.
std::vector<PersonResult> postprocess_seed(std::span<const PersonResult> people);

// What the evaluator gets. The seed evaluates the keypoints it wrote, rounded to two decimals.
enum class Rounding { none, two_decimals };
std::vector<CocoDetection> to_detections(std::span<const PersonResult> people, Rounding rounding);

// The seed's key_results.json: a list of {image_id, category_id, keypoints, score}, two decimals, json.dumps(indent=4).
std::string seed_results_json(std::span<const PersonResult> people);
void write_seed_results(const fs::path& path, std::span<const PersonResult> people);

// The official keypoints_<set>_results_0.json: every digit, center and scale, keys sorted, indent 4.
std::string official_results_json(std::span<const PersonResult> people);
void write_official_results(const fs::path& path, std::span<const PersonResult> people);

// The seed's record_mAP.txt: "COCO results:" and the lines of the summary, no newline at the end.
void write_record_map(const fs::path& path, const std::string& summary);
inline void write_record_map(const fs::path& path, const CocoEvalResult& result) {
  write_record_map(path, coco_summary(result));
}

// The official markdown table: header, rule, row; no newline at the end.
std::string official_markdown(const std::string& architecture, const CocoEvalResult& result);
// The same with other columns.
std::string markdown_table(const std::string& architecture, std::span<const char* const> names,
                           std::span<const double> values);

// Numbers as Python prints them: the shortest digits that read back equal (repr), and round(v, 2).
std::string python_repr(double v);
double python_round2(double v);

}  // namespace hr
