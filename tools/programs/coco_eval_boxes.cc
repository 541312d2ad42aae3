// The part of coco_eval for --type bbox.
#include <fmt/format.h>
#include <array>

#include <chrono>
#include <cstdio>

#include "core/error.h"
#include "core/io/json_write.h"
#include "core/io/safetensors.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "eval/box_eval.h"
#include "eval/coco_eval.h"
#include "eval/results.h"
#include "tools/programs/coco_eval.h"

namespace hr {
namespace {

constexpr std::array<const char*, 12> kNames = {"AP",   "AP .5", "AP .75", "AP (S)", "AP (M)", "AP (L)",
                                                "AR 1", "AR 10", "AR 100", "AR (S)", "AR (M)", "AR (L)"};

std::string report(const CocoEvalArguments& arguments, const BoxEvalResult& r, double load_seconds) {
  std::string text;
  JsonWriter json(text, {.lines = 1, .python_reals = true});
  json.begin_object().member("gt", arguments.gt).member("dt", arguments.dt);
  json.member("type", "bbox").member("use_categories", arguments.use_categories);
  json.member("stats_names", kNames).member("stats", r.stats);
  json.key("seconds").begin_object().member("load", JsonFixed{load_seconds});
  json.member("match", JsonFixed{r.match_seconds}).member("accumulate", JsonFixed{r.accumulate_seconds}).end();
  json.key("evaluated").begin_object().member("images", r.counts.images).member("objects", r.counts.objects);
  json.member("detections", r.counts.detections).end();
  json.key("ignored").begin_object().member("objects_crowd", r.counts.objects_crowd).end();
  json.key("dropped").begin_object().member("detections_other_category", r.counts.detections_other_category);
  json.member("detections_over_limit", r.counts.detections_over_limit).end();
  json.end();
  return text + "\n";
}

// Writes precision [10, 101, K, 4, 3], recall [10, K, 4, 3] and scores [10, 101, K, 4, 3], laid out as pycocotools
// does, and the category ids [K].
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
        "--type bbox measures boxes; leave out --sigmas, --keypoints-path and --analysis, which need keypoints");
  check(arguments.rules == "auto" || arguments.rules == "pycocotools",
        "--rules {} is for keypoints; with --type bbox leave it out, because boxes are measured as pycocotools does",
        arguments.rules);
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
