// Turns poses into result files: the post-processing of the official repository and of the seed, and the files that
// both write.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "core/io/json_write.h"
#include "data/formats/coco.h"
#include "eval/coco_eval.h"
#include "eval/nms.h"

namespace hr {

// The pose of one person as the network predicted it.
struct PersonResult {
  int64_t image_id = 0;
  std::vector<float> keypoints;  // [joints, 3]: x, y in picture pixels, score.
  double score = 1;              // Of the box; after post-processing, of the pose.
  float center[2] = {0, 0};      // Of the padded box, in picture pixels.
  float scale[2] = {0, 0};       // Of the padded box, in units of 200 pixels.
  double area = 0;               // Of the padded box, in square pixels.
  int64_t category_id = 1;
};

// Official: rescores, then applies OKS-NMS per picture (and per category, if there are several). Pictures are in the
// order of their first appearance, poses in the order in which NMS keeps them.
enum class NmsKind { none, hard, soft };  // With `none` the order within a picture is that of the input.
struct OfficialPostprocess {
  double in_vis_thre = 0.2;  // Joints below this do not count in the score of the pose.
  double oks_thre = 0.9;
  NmsKind nms = NmsKind::hard;
  std::vector<double> sigmas;  // Empty: COCO's 17.
};
std::vector<PersonResult> postprocess_official(std::span<const PersonResult> people,
                                               const OfficialPostprocess& options = {});

// Seed: rescores with joints above 0.2, without NMS, in the order of the input.
std::vector<PersonResult> postprocess_seed(std::span<const PersonResult> people);

// Says what the evaluator receives. The seed evaluates the keypoints that it wrote, rounded to two decimals.
enum class Rounding { none, two_decimals };
std::vector<CocoDetection> to_detections(std::span<const PersonResult> people, Rounding rounding);

// Returns the seed's key_results.json: a list of {image_id, category_id, keypoints, score} in two decimals,
// json.dumps(indent=4).
std::string seed_results_json(std::span<const PersonResult> people);
void write_seed_results(const fs::path& path, std::span<const PersonResult> people);

// Returns the official keypoints_<set>_results_0.json: every digit, center and scale, sorted keys, indent 4.
std::string official_results_json(std::span<const PersonResult> people);
void write_official_results(const fs::path& path, std::span<const PersonResult> people);

// Writes the seed's record_mAP.txt: "COCO results:" and the lines of the summary, without a newline at the end.
void write_record_map(const fs::path& path, const std::string& summary);
inline void write_record_map(const fs::path& path, const CocoEvalResult& result) {
  write_record_map(path, coco_summary(result));
}

// Returns a table like the official markdown table: header, rule and row, without a newline at the end.
std::string markdown_table(const std::string& architecture, std::span<const char* const> names,
                           std::span<const double> values);

// Returns round(v, 2) as Python rounds.
double python_round2(double v);

}  // namespace hr
