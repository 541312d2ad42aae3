#include "tools/coco_eval/evaluation_files.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "eval/results.h"
#include "tools/cli/flag_names.h"

namespace hr {
namespace {

template <class Numbers>
std::string json_numbers(const Numbers& numbers) {
  std::string list;
  for (const double v : numbers) list += (list.empty() ? "" : ", ") + python_repr(v);
  return "[" + list + "]";
}

constexpr const char* kCocoNames =
    R"j(["AP", "AP .5", "AP .75", "AP (M)", "AP (L)", "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"])j";
constexpr const char* kCrowdPoseNames =
    R"j(["AP", "AP .5", "AP .75", "AR", "AR .5", "AR .75", "AP (E)", "AP (M)", "AP (H)"])j";

// Peak memory of this process in bytes, 0 where the system does not say.
int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::strtoll(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

}  // namespace

std::string report(const CocoEvalArguments& arguments, const Evaluation& e) {
  const CocoEvalResult& r = e.result;
  const CocoEvalResult::Counts& c = r.counts;
  std::string text = "{\n";
  text += fmt::format("  \"gt\": {},\n  \"dt\": {},\n", json_quote(arguments.gt), json_quote(arguments.dt));
  text += fmt::format("  \"rules\": \"{}\",\n", coco_rules_name(e.options.rules));
  text += fmt::format("  \"sigmas\": {},\n", json_numbers(e.options.sigmas));
  text += fmt::format("  \"stats_names\": {},\n", e.crowdpose ? kCrowdPoseNames : kCocoNames);
  text += fmt::format("  \"stats\": {},\n", e.crowdpose ? json_numbers(e.crowdpose_stats) : json_numbers(r.stats));
  text += fmt::format("  \"seconds\": {{\"load\": {:.6f}, \"match\": {:.6f}, \"accumulate\": {:.6f}}},\n",
                      e.load_seconds, r.match_seconds, r.accumulate_seconds);
  text += fmt::format("  \"peak_bytes\": {},\n", peak_bytes());
  text += fmt::format("  \"evaluated\": {{\"images\": {}, \"people\": {}, \"detections\": {}}},\n", c.images, c.people,
                      c.detections);
  text += fmt::format("  \"ignored\": {{\"people_crowd\": {}, \"people_without_joints\": {}}},\n", c.people_crowd,
                      c.people_without_joints);
  text += fmt::format(
      "  \"dropped\": {{\"people_other_category\": {}, \"detections_other_category\": {}, \"detections_over_limit\": "
      "{}, \"detections_unseen\": {}, \"people_unknown_image\": {}}},\n",
      c.people_other_category, c.detections_other_category, c.detections_over_limit, c.detections_unseen,
      c.people_unknown_image);
  std::string remarks;
  for (const std::string& remark : coco_remark_list(r))
    remarks += (remarks.empty() ? "" : ", ") + json_quote(with_flags(remark));
  text += fmt::format("  \"remarks\": [{}]\n}}\n", remarks);
  return text;
}

void write_arrays(const std::string& path, const CocoEvalResult& r) {
  const auto C = static_cast<int64_t>(r.categories.size());
  const std::array<NamedArray, 4> arrays = {{
      {"precision",
       DType::f64,
       {kOksThresholds, kRecallPoints, C, kAreaRanges, 1},
       std::as_bytes(std::span(r.precision))},
      {"recall", DType::f64, {kOksThresholds, C, kAreaRanges, 1}, std::as_bytes(std::span(r.recall))},
      {"scores", DType::f64, {kOksThresholds, kRecallPoints, C, kAreaRanges, 1}, std::as_bytes(std::span(r.scores))},
      {"categories", DType::i64, {C}, std::as_bytes(std::span(r.categories))},
  }};
  write_safetensors(path, arrays);
}

}  // namespace hr
