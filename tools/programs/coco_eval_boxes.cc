// coco_eval --type bbox.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "eval/box_eval.h"
#include "eval/coco_eval.h"
#include "eval/results.h"
#include "tools/programs/coco_eval.h"

namespace hr {
namespace {

constexpr const char* kNames =
    R"j(["AP", "AP .5", "AP .75", "AP (S)", "AP (M)", "AP (L)", "AR 1", "AR 10", "AR 100", "AR (S)", "AR (M)", "AR (L)"])j";

std::string report(const CocoEvalArguments& arguments, const BoxEvalResult& r, double load_seconds) {
  std::string stats;
  for (const double v : r.stats) stats += (stats.empty() ? "" : ", ") + python_repr(v);
  std::string text = "{\n";
  text += fmt::format("  \"gt\": {},\n  \"dt\": {},\n", json_quote(arguments.gt), json_quote(arguments.dt));
  text += fmt::format("  \"type\": \"bbox\",\n  \"use_categories\": {},\n", arguments.use_categories);
  text += fmt::format("  \"stats_names\": {},\n  \"stats\": [{}],\n", kNames, stats);
  text += fmt::format("  \"seconds\": {{\"load\": {:.6f}, \"match\": {:.6f}, \"accumulate\": {:.6f}}},\n", load_seconds,
                      r.match_seconds, r.accumulate_seconds);
  text += fmt::format("  \"evaluated\": {{\"images\": {}, \"objects\": {}, \"detections\": {}}},\n", r.counts.images,
                      r.counts.objects, r.counts.detections);
  text += fmt::format("  \"ignored\": {{\"objects_crowd\": {}}},\n", r.counts.objects_crowd);
  text += fmt::format("  \"dropped\": {{\"detections_other_category\": {}, \"detections_over_limit\": {}}}\n}}\n",
                      r.counts.detections_other_category, r.counts.detections_over_limit);
  return text;
}

// precision [10, 101, K, 4, 3], recall [10, K, 4, 3], scores [10, 101, K, 4, 3] as pycocotools lays them out, and the
// category ids [K].
void write_arrays(const std::string& path, const BoxEvalResult& r) {
  const auto K = static_cast<int64_t>(r.categories.size());
  const Shape curves{kOksThresholds, kRecallPoints, K, kBoxAreaRanges, kBoxLimits};
  const std::array<NamedArray, 4> arrays = {{
      {"precision", DType::f64, curves, std::as_bytes(std::span(r.precision))},
      {"recall", DType::f64, {kOksThresholds, K, kBoxAreaRanges, kBoxLimits}, std::as_bytes(std::span(r.recall))},
      {"scores", DType::f64, curves, std::as_bytes(std::span(r.scores))},
      {"categories", DType::i64, {K}, std::as_bytes(std::span(r.categories))},
  }};
  write_safetensors(path, arrays);
}

}  // namespace

void run_box_eval(const CocoEvalArguments& arguments) {
  check(arguments.sigmas.empty() && arguments.keypoints_path.empty() && arguments.analysis.empty(),
        "--type bbox measures boxes; leave out --sigmas, --keypoints-path and --analysis, which are of keypoints");
  check(arguments.rules == "auto" || arguments.rules == "pycocotools",
        "--rules {}: boxes are measured as pycocotools does; leave it out with --type bbox", arguments.rules);
  const auto start = std::chrono::steady_clock::now();
  const CocoAnnotations gt = read_coco(arguments.gt);
  const std::vector<CocoDetection> dt = read_coco_detections(arguments.dt);
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const BoxEvalResult r = evaluate_boxes(gt, dt,
                                         {.categories = arguments.categories,
                                          .use_categories = arguments.use_categories,
                                          .threads = arguments.threads > 0 ? arguments.threads : compute_threads(),
                                          .detections_name = arguments.dt});
  check(!arguments.refuse_other_categories || r.counts.detections_other_category == 0,
        "{}: {} of its detections are of a category that is not evaluated", arguments.dt,
        r.counts.detections_other_category);
  fmt::print("{}\n", box_summary(r));
  std::fflush(stdout);
  const std::string remarks = box_remarks(r);
  if (!remarks.empty()) fmt::print(stderr, "{}\n", remarks);
  if (!arguments.json.empty()) write_file(arguments.json, report(arguments, r, load_seconds));
  if (!arguments.arrays.empty()) write_arrays(arguments.arrays, r);
}

}  // namespace hr
