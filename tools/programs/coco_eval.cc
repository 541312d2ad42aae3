#include "tools/programs/coco_eval.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "core/error.h"
#include "core/huge_pages.h"
#include "core/parallel.h"
#include "data/find_dataset.h"
#include "eval/coco_files.h"
#include "eval/crowdpose.h"
#include "eval/remarks.h"
#include "tools/cli/flag_names.h"
#include "tools/coco_eval/evaluation_files.h"
#include "tools/plot/analysis_picture.h"

namespace hr {
namespace {

Evaluation load(const CocoEvalArguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  // A number of a result file takes about as many bytes in memory as in the file.
  std::error_code no_size;  // The reader says what is wrong with the file.
  if (const auto bytes = fs::file_size(arguments.dt, no_size); !no_size) expect_small_blocks(bytes);
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

// Returns the message for an error in an entry of the ground truth that --on-bad-sample skip would leave out, or
// nothing if skipping does not help. A field that all entries may lack (iscrowd, area) does not make an entry bad;
// --fill-in is for that. The message comes from the stricter reader, which says what a field holds, while the
// evaluator's own reader only says that it cannot use it.
std::optional<std::string> skippable(const std::string& error, const std::string& truth) {
  if (!error.starts_with(truth + ": annotations[") && !error.starts_with(truth + ": images[")) return std::nullopt;
  try {
    BadSamples bad;
    read_coco(truth, 0, &bad, {});
    const std::string place = error.substr(0, error.find(']') + 1);
    for (const BadSamples::Entry& entry : bad.entries()) {
      if (entry.message.starts_with(place)) return entry.message;
    }
    if (bad.size() > 0 || error.find("`fill_in`") == std::string::npos) return error;
  } catch (const Error&) {
  }
  return std::nullopt;
}

void evaluate(const CocoEvalArguments& arguments) {
  if (arguments.type == "bbox") return run_box_eval(arguments);
  check(arguments.use_categories,
        "--no-categories needs --type bbox, because keypoints are always compared by category; leave it out");
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
  if (!remarks.empty()) fmt::print(stderr, "{}\n", with_flags(remarks));
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
    fail("{} (--on-bad-sample skip leaves out entries that cannot be used)", *message);
  }
}

}  // namespace hr
