#include "tools/programs/track_eval.h"

#include <fmt/format.h>

#include <ranges>
#include <string_view>

#include "core/io/json_write.h"
#include "eval/results.h"
#include "tools/cli/cli.h"

namespace hr {
namespace {

// A ratio without a meaning is NaN, which JSON does not have, so it is written as null.
void write_curve(JsonWriter& json, std::string_view key, const TrackEvalResult::Hota::Curve& values) {
  json.member(key, values | std::views::transform(if_finite));
}

void write_hota(JsonWriter& json, const TrackEvalResult::Hota& h) {
  const auto both = [&](const std::string& name, double mean, const TrackEvalResult::Hota::Curve& values) {
    json.member(name, if_finite(mean));
    write_curve(json, name + "_at", values);
  };
  both("HOTA", h.hota, h.hota_at);
  both("DetA", h.det_a, h.det_a_at);
  both("AssA", h.ass_a, h.ass_a_at);
  both("DetRe", h.det_re, h.det_re_at);
  both("DetPr", h.det_pr, h.det_pr_at);
  both("AssRe", h.ass_re, h.ass_re_at);
  both("AssPr", h.ass_pr, h.ass_pr_at);
  both("LocA", h.loc_a, h.loc_a_at);
  write_curve(json, "thresholds", hota_thresholds());
}

std::string report(const TrackEvalArguments& a, const TrackEvalResult& r) {
  const TrackEvalResult::Clear& c = r.clear;
  const TrackEvalResult::Identity& i = r.identity;
  const TrackEvalResult::Counts& n = r.counts;
  std::string text;
  JsonWriter json(text, {.lines = 1, .python_reals = true});
  json.begin_object().member("gt", a.gt).member("dt", a.dt);
  json.member("rules", track_rules_name(a.options.rules)).member("min_iou", if_finite(a.options.min_iou));
  json.member("MOTA", if_finite(c.mota)).member("MOTP", if_finite(c.motp));
  json.member("recall", if_finite(c.recall)).member("precision", if_finite(c.precision));
  json.member("matches", c.matches).member("FP", c.fp).member("FN", c.fn).member("IDs", c.id_switches);
  json.member("Frag", c.fragmentations).member("MT", c.mostly_tracked).member("PT", c.partially_tracked);
  json.member("ML", c.mostly_lost);
  json.member("IDF1", if_finite(i.idf1)).member("IDP", if_finite(i.idp)).member("IDR", if_finite(i.idr));
  json.member("IDTP", i.idtp).member("IDFP", i.idfp).member("IDFN", i.idfn);
  write_hota(json, r.hota);
  json.key("evaluated").begin_object().member("frames", n.frames).member("people", n.people);
  json.member("people_tracks", n.people_tracks).member("boxes", n.boxes).member("tracks", n.tracks).end();
  json.key("ignored").begin_object().member("people", n.people_ignored);
  json.member("boxes_on_distractors", n.boxes_on_distractors).end();
  json.end();
  return text;
}

}  // namespace

void add_track_eval_options(CLI::App& app, TrackEvalArguments& a) {
  describe(app,
           "Measures how well people were tracked: MOTA and its counts, IDF1 and HOTA. Both files are MOT text with "
           "one box per line: frame, id, left, top, width, height (pixels), score, ... In the ground truth a score of "
           "0 means that the box is not considered, and a file of nine columns has classes in the eighth.",
           "track_eval --gt gt.txt --dt tracks.txt");
  app.add_option("--gt", a.gt, "file of the ground truth")->required()->type_name("FILE");
  app.add_option("--dt", a.dt, "file of the tracks to measure")->required()->type_name("FILE");
  app.add_option("--rules", a.rules,
                 "evaluator whose MOTA and counts to reproduce: motmetrics (and the MATLAB devkit) or trackeval; IDF1 "
                 "and HOTA are the same in both")
      ->check(CLI::IsMember({"motmetrics", "trackeval"}));
  app.add_option("--min-iou", a.options.min_iou, "least IoU of a match, for MOTA and IDF1")
      ->type_name("IOU")
      ->check(CLI::Range(0.01, 1.0));
  app.add_option(
         "--distractors", a.options.distractors,
         "classes of the ground truth on which tracks count neither as hits nor as false alarms (MOT20: 2,6,7,8,12)")
      ->delimiter(',')
      ->type_name("CLASS");
  app.add_flag("--json", a.json, "print one JSON object in full precision instead of the table");
}

void run_track_eval(const TrackEvalArguments& arguments) {
  TrackEvalArguments a = arguments;
  a.options.rules = parse_track_rules(a.rules);
  const std::vector<MotBox> truth = read_mot(a.gt, MotKind::truth), result = read_mot(a.dt, MotKind::result);
  const TrackEvalResult r = evaluate_tracks(truth, result, a.options);
  fmt::print("{}\n", a.json ? report(a, r) : track_summary(r));
  std::fflush(stdout);
  const std::string remarks = track_remarks(r);
  if (!remarks.empty()) fmt::print(stderr, "{}\n", remarks);
}

}  // namespace hr
