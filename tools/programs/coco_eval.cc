#include "tools/programs/coco_eval.h"

#include <fmt/format.h>
#include <array>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "core/io/json_write.h"
#include "core/io/safetensors.h"
#include "core/parallel.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "data/formats/skeleton.h"
#include "eval/coco_eval.h"
#include "eval/coco_files.h"
#include "eval/crowdpose.h"
#include "eval/remarks.h"
#include "eval/results.h"
#include "tools/plot/analysis_picture.h"
#include "tools/programs/cli.h"

namespace hr {
namespace {

constexpr std::array<const char*, 10> kCocoNames = {"AP", "AP .5", "AP .75", "AP (M)", "AP (L)",
                                                    "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"};
constexpr std::array<const char*, 9> kCrowdPoseNames = {"AP",     "AP .5",  "AP .75", "AR",    "AR .5",
                                                        "AR .75", "AP (E)", "AP (M)", "AP (H)"};

// Everything an evaluation is made of.
struct Evaluation {
  CocoAnnotations gt;
  std::vector<CocoDetection> dt;
  Skeleton skeleton;  // its sigmas are those in use
  bool crowdpose = false;
  CocoEvalOptions options;
  CocoEvalResult result;
  std::array<double, 9> crowdpose_stats{};
  double load_seconds = 0;
};

// Peak memory of this process in bytes, 0 where the system does not say.
int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::strtoll(line.c_str() + 6, nullptr, 10);
  }
  return 0;
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
  json.member("remarks", coco_remark_list(r)).end();
  return text + "\n";
}

// precision [10, 101, C, 3, 1], recall [10, C, 3, 1], scores [10, 101, C, 3, 1] as pycocotools lays them out, and the
// category ids [C].
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

// The joints: as the flags say, else those that the annotation file names, else COCO's.
Skeleton joints_of(const CocoEvalArguments& arguments, const CocoAnnotations& gt, bool crowdpose) {
  if (!arguments.keypoints_path.empty()) return find_skeleton(arguments.keypoints_path);
  Skeleton skeleton = skeleton_of(gt, crowdpose);
  if (!arguments.sigmas.empty() && static_cast<int>(arguments.sigmas.size()) != skeleton.joints()) {
    skeleton = {};  // nothing is known of these joints but their number
    for (size_t k = 0; k < arguments.sigmas.size(); ++k) skeleton.names.push_back(fmt::format("joint {}", k));
  }
  if (!arguments.sigmas.empty()) {
    skeleton.sigmas = arguments.sigmas;
    skeleton.sigmas_assumed = false;
  }
  return skeleton;
}

Evaluation load(const CocoEvalArguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  Evaluation e;
  if (arguments.on_bad_sample == "skip") {
    BadSamples bad;
    e.gt = read_coco(arguments.gt, 0, &bad, {});
    for (const BadSamples::Entry& entry : bad.entries()) fmt::print(stderr, "left out: {}\n", entry.message);
  } else {
    e.gt = read_truth(arguments.gt);
  }
  e.dt = read_results(arguments.dt);
  e.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  e.crowdpose = arguments.rules == "crowdpose" || (arguments.rules == "auto" && has_crowd_index(e.gt));
  if (e.crowdpose) {
    e.options.rules = CocoRules::xtcocotools_crowd;
  } else if (arguments.rules != "auto") {
    e.options.rules = parse_coco_rules(arguments.rules);
  }
  e.skeleton = joints_of(arguments, e.gt, e.crowdpose);
  e.options.sigmas = e.skeleton.sigmas;
  e.options.categories = arguments.categories;
  e.options.threads = arguments.threads > 0 ? arguments.threads : compute_threads();
  e.options.detections_name = arguments.dt;
  e.options.refuse_other_categories = arguments.refuse_other_categories;
  e.options.fill_in = arguments.fill_in;
  e.options.sigmas_remark = sigmas_doubt(e.skeleton);
  return e;
}

// What to say of an error about an entry of the truth that --on-bad-sample skip would pass over; nothing when skipping
// does not help. What every entry may lack (iscrowd, an area) is no bad entry: --fill-in is for that. The stricter
// reader says what a field holds where the evaluator's own only knows that it has no use for it.
std::optional<std::string> skippable(const std::string& error, const std::string& truth) {
  if (!error.starts_with(truth + ": annotations[") && !error.starts_with(truth + ": images[")) return std::nullopt;
  try {
    BadSamples bad;
    read_coco(truth, 0, &bad, {});
    const std::string place = error.substr(0, error.find(']') + 1);
    for (const BadSamples::Entry& entry : bad.entries()) {
      if (entry.message.starts_with(place)) return entry.message;
    }
    if (bad.size() > 0 || error.find("--fill-in") == std::string::npos) return error;
  } catch (const Error&) {
  }
  return std::nullopt;
}

}  // namespace

bool has_crowd_index(const CocoAnnotations& gt) {
  return !gt.images.empty() && std::ranges::all_of(gt.images, [](const CocoImage& i) { return i.crowd_index >= 0; });
}

Skeleton skeleton_of(const CocoAnnotations& gt, bool crowdpose) {
  if (crowdpose) return built_in_skeleton("crowdpose");
  const auto named = std::ranges::find_if(gt.categories, [](const CocoCategory& c) { return !c.keypoints.empty(); });
  if (named == gt.categories.end()) return coco_skeleton();
  return skeleton_from_names(named->keypoints, named->skeleton, gt.path);
}

void add_coco_eval_options(CLI::App& app, CocoEvalArguments& arguments) {
  describe(app, "COCO keypoint AP and AR of a result file, the same numbers as pycocotools.",
           "coco_eval --gt person_keypoints_val2017.json --dt key_results.json");
  app.add_option("--gt", arguments.gt, "ground truth, COCO person_keypoints JSON")->required()->type_name("FILE");
  app.add_option("--dt", arguments.dt, "detections, a JSON list of {image_id, category_id, keypoints, score}")
      ->required()
      ->type_name("FILE");
  app.add_option("--type", arguments.type, "what is measured: keypoints (OKS) or bbox (boxes, IoU)")
      ->check(CLI::IsMember({"keypoints", "bbox"}));
  app.add_flag("!--no-categories", arguments.use_categories,
               "with --type bbox: a box may match an object of any category (pycocotools' useCats = 0)");
  auto* skeleton = app.add_option("--keypoints-path", arguments.keypoints_path,
                                  "skeleton: a name (coco, mpii, crowdpose, ...) or a file with joints and sigmas "
                                  "(without: the joints that --gt names, else COCO's 17)");
  skeleton->type_name("NAME|FILE");
  app.add_option(
         "--sigmas", arguments.sigmas,
         "OKS sigma of every joint of --gt, separated by commas: per joint the spread of annotations divided by the "
         "root of the area, such as 0.026 (a nose) to 0.107 (a hip)")
      ->delimiter(',')
      ->type_name("NUMBER")
      ->excludes(skeleton);
  app.add_option("--categories", arguments.categories, "category ids to evaluate (without: all)")
      ->delimiter(',')
      ->type_name("ID");
  app.add_option("--rules", arguments.rules,
                 "whose evaluator to equal: pycocotools, xtcocotools, xtcocotools_crowd, or crowdpose (the last with "
                 "easy, medium and hard); auto is crowdpose for files with crowdIndex, else pycocotools")
      ->check(CLI::IsMember({"auto", "pycocotools", "xtcocotools", "xtcocotools_crowd", "crowdpose"}));
  app.add_flag("--refuse-other-categories", arguments.refuse_other_categories,
               "an error, not a remark, when a detection has a category that is not evaluated");
  app.add_flag(
      "--fill-in", arguments.fill_in,
      "take what is usual for fields that the truth lacks and pycocotools ends without: iscrowd 0, area of the "
      "bbox, num_keypoints the joints with v > 0, category_id 1");
  app.add_option("--on-bad-sample", arguments.on_bad_sample,
                 "entries of the truth that cannot be used: fail, or skip and name them")
      ->check(CLI::IsMember({"fail", "skip"}));
  app.add_option("--analysis", arguments.analysis,
                 "error analysis (jitter, inversion, swap, miss; by joint and size): a table, and this picture")
      ->type_name("PNG");
  app.add_option("--arrays", arguments.arrays, "write precision, recall and scores, shaped as pycocotools has them")
      ->type_name("SAFETENSORS");
  app.add_option("--json", arguments.json, "write the ten numbers in full precision, counts and seconds")
      ->type_name("FILE");
  add_threads(app, arguments.threads);
}

namespace {

void evaluate(const CocoEvalArguments& arguments) {
  if (arguments.type == "bbox") return run_box_eval(arguments);
  check(arguments.use_categories, "--no-categories: is for --type bbox; keypoints are compared by category");
  Evaluation e = load(arguments);
  if (e.crowdpose) {
    CrowdPoseResult crowdpose = evaluate_crowdpose(e.gt, e.dt, e.options);
    fmt::print("{}\n", crowdpose_summary(crowdpose));
    e.crowdpose_stats = crowdpose.stats;
    e.result = std::move(crowdpose.all);
  } else {
    e.result = evaluate_coco(e.gt, e.dt, e.options);
    fmt::print("{}\n", coco_summary(e.result));
  }
  std::fflush(stdout);
  if (e.options.rules != CocoRules::pycocotools) fmt::print(stderr, "rules of {}\n", coco_rules_name(e.options.rules));
  const std::string remarks = coco_remarks(e.result);
  if (!remarks.empty()) fmt::print(stderr, "{}\n", remarks);
  if (!arguments.json.empty()) write_file(arguments.json, report(arguments, e));
  if (!arguments.arrays.empty()) write_arrays(arguments.arrays, e.result);
  if (arguments.analysis.empty()) return;
  const PoseAnalysis analysis = analyse_poses(e.gt, e.dt, e.skeleton, e.options);
  fmt::print("\n{}\n", analysis_table(analysis));
  const std::string title = fmt::format("{}: AP {:.3f}", fs::path(arguments.dt).filename().string(), e.result.stats[0]);
  write_image(arguments.analysis, analysis_picture(analysis, title));
  fmt::print(stderr, "wrote {}\n", arguments.analysis);
}

}  // namespace

void run_coco_eval(const CocoEvalArguments& arguments) {
  try {
    evaluate(arguments);
  } catch (const Error& error) {
    const auto message = arguments.on_bad_sample == "skip" ? std::nullopt : skippable(error.what(), arguments.gt);
    if (!message) throw;
    fail("{} (--on-bad-sample skip leaves out what cannot be used)", *message);
  }
}

}  // namespace hr
