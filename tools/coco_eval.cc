#include "tools/coco_eval.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "core/json.h"
#include "core/parallel.h"
#include "data/coco.h"
#include "data/skeleton.h"
#include "eval/coco_eval.h"
#include "eval/results.h"
#include "tools/cli.h"

namespace hr {
namespace {

template <class Numbers>
std::string json_numbers(const Numbers& numbers) {
  std::string list;
  for (const double v : numbers) list += (list.empty() ? "" : ", ") + python_repr(v);
  return "[" + list + "]";
}

std::string report(const CocoEvalArguments& arguments, const std::vector<double>& sigmas, const CocoEvalResult& r,
                   double load_seconds) {
  const CocoEvalResult::Counts& c = r.counts;
  std::string text = "{\n";
  text += fmt::format("  \"gt\": {},\n  \"dt\": {},\n", json_quote(arguments.gt), json_quote(arguments.dt));
  text += fmt::format("  \"sigmas\": {},\n", json_numbers(sigmas));
  text +=
      "  \"stats_names\": [\"AP\", \"AP .5\", \"AP .75\", \"AP (M)\", \"AP (L)\", \"AR\", \"AR .5\", \"AR .75\", "
      "\"AR (M)\", \"AR (L)\"],\n";
  text += fmt::format("  \"stats\": {},\n", json_numbers(r.stats));
  text += fmt::format("  \"seconds\": {{\"load\": {:.6f}, \"match\": {:.6f}, \"accumulate\": {:.6f}}},\n", load_seconds,
                      r.match_seconds, r.accumulate_seconds);
  text += fmt::format("  \"evaluated\": {{\"images\": {}, \"people\": {}, \"detections\": {}}},\n", c.images, c.people,
                      c.detections);
  text += fmt::format("  \"ignored\": {{\"people_crowd\": {}, \"people_without_joints\": {}}},\n", c.people_crowd,
                      c.people_without_joints);
  text += fmt::format(
      "  \"dropped\": {{\"people_other_category\": {}, \"detections_other_category\": {}, \"detections_over_limit\": "
      "{}}}\n}}\n",
      c.people_other_category, c.detections_other_category, c.detections_over_limit);
  return text;
}

}  // namespace

void add_coco_eval_options(CLI::App& app, CocoEvalArguments& arguments) {
  describe(app, "COCO keypoint AP and AR of a result file, the same numbers as pycocotools.",
           "coco_eval --gt person_keypoints_val2017.json --dt key_results.json");
  app.add_option("--gt", arguments.gt, "ground truth, COCO person_keypoints JSON")->required()->type_name("FILE");
  app.add_option("--dt", arguments.dt, "detections, a JSON list of {image_id, category_id, keypoints, score}")
      ->required()
      ->type_name("FILE");
  auto* skeleton = app.add_option("--keypoints-path", arguments.keypoints_path,
                                  "skeleton file with the joints and their sigmas (without: COCO's 17 joints)");
  skeleton->type_name("FILE");
  app.add_option("--sigmas", arguments.sigmas, "OKS sigma of every joint, separated by commas")
      ->delimiter(',')
      ->type_name("NUMBER")
      ->excludes(skeleton);
  app.add_option("--categories", arguments.categories, "category ids to evaluate (without: all)")
      ->delimiter(',')
      ->type_name("ID");
  app.add_option("--json", arguments.json, "write the ten numbers in full precision, counts and seconds")
      ->type_name("FILE");
  add_threads(app, arguments.threads);
}

void run_coco_eval(const CocoEvalArguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  CocoEvalOptions options;
  options.sigmas = arguments.sigmas;
  if (options.sigmas.empty()) {
    options.sigmas = find_skeleton(arguments.keypoints_path).sigmas;
  }
  options.categories = arguments.categories;
  options.threads = arguments.threads > 0 ? arguments.threads : compute_threads();
  options.detections_name = arguments.dt;
  const CocoAnnotations gt = read_coco(arguments.gt);
  const std::vector<CocoDetection> dt = read_coco_detections(arguments.dt);
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const CocoEvalResult result = evaluate_coco(gt, dt, options);
  fmt::print("{}\n", coco_summary(result));
  std::fflush(stdout);
  const std::string remarks = coco_remarks(result);
  if (!remarks.empty()) fmt::print(stderr, "{}\n", remarks);
  if (!arguments.json.empty()) write_file(arguments.json, report(arguments, options.sigmas, result, load_seconds));
}

}  // namespace hr
