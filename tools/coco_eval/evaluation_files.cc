#include "tools/coco_eval/evaluation_files.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <fstream>

#include "core/io/json_write.h"
#include "core/io/safetensors.h"
#include "data/find_dataset.h"
#include "tools/cli/flag_names.h"

namespace hr {
namespace {

constexpr std::array<const char*, 10> kCocoNames = {"AP", "AP .5", "AP .75", "AP (M)", "AP (L)",
                                                    "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"};
constexpr std::array<const char*, 9> kCrowdPoseNames = {"AP",     "AP .5",  "AP .75", "AR",    "AR .5",
                                                        "AR .75", "AP (E)", "AP (M)", "AP (H)"};

// Returns the peak memory of this process in bytes, or 0 if the system does not tell.
int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::strtoll(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

}  // namespace

Skeleton joints_of(const CocoEvalArguments& arguments, const CocoAnnotations& gt, bool crowdpose) {
  if (!arguments.keypoints_path.empty()) return find_skeleton(arguments.keypoints_path);
  Skeleton skeleton = skeleton_of(gt, crowdpose);
  if (!arguments.sigmas.empty() && static_cast<int>(arguments.sigmas.size()) != skeleton.joints()) {
    skeleton = {};  // only the number of these joints is known
    for (size_t k = 0; k < arguments.sigmas.size(); ++k) skeleton.names.push_back(fmt::format("joint {}", k));
  }
  if (!arguments.sigmas.empty()) {
    skeleton.sigmas = arguments.sigmas;
    skeleton.sigmas_assumed = false;
  }
  return skeleton;
}

std::string report(const CocoEvalArguments& arguments, const Evaluation& e) {
  const CocoEvalResult& r = e.result;
  const CocoEvalResult::Counts& c = r.counts;
  std::string text;
  JsonWriter json(text, {.lines = 1, .python_reals = true});
  json.begin_object().member("gt", arguments.gt).member("dt", arguments.dt);
  json.member("rules", coco_rules_name(e.options.rules)).member("sigmas", e.options.sigmas);
  if (e.crowdpose) {
    json.member("stats_names", kCrowdPoseNames).member("stats", e.crowdpose_stats);
  } else {
    json.member("stats_names", kCocoNames).member("stats", r.stats);
  }
  json.key("seconds").begin_object().member("load", JsonFixed{e.load_seconds});
  json.member("match", JsonFixed{r.match_seconds}).member("accumulate", JsonFixed{r.accumulate_seconds}).end();
  json.member("peak_bytes", peak_bytes());
  json.key("evaluated").begin_object().member("images", c.images).member("people", c.people);
  json.member("detections", c.detections).end();
  json.key("ignored").begin_object().member("people_crowd", c.people_crowd);
  json.member("people_without_joints", c.people_without_joints).end();
  json.key("dropped").begin_object().member("people_other_category", c.people_other_category);
  json.member("detections_other_category", c.detections_other_category);
  json.member("detections_over_limit", c.detections_over_limit).member("detections_unseen", c.detections_unseen);
  json.member("people_unknown_image", c.people_unknown_image).end();
  json.member("remarks", with_flags(coco_remark_list(r))).end();
  return text + "\n";
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
