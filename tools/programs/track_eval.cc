#include "tools/programs/track_eval.h"

#include <fmt/format.h>

#include <cmath>

#include "core/io/json.h"
#include "eval/results.h"
#include "tools/cli/cli.h"

namespace hr {
namespace {

// JSON has no NaN: what means nothing is null.
std::string json_number(double v) { return std::isfinite(v) ? python_repr(v) : "null"; }

std::string report(const TrackEvalArguments& a, const TrackEvalResult& r) {
  const TrackEvalResult::Clear& c = r.clear;
  const TrackEvalResult::Identity& i = r.identity;
  const TrackEvalResult::Hota& h = r.hota;
  const TrackEvalResult::Counts& n = r.counts;
  const auto curve = [](const TrackEvalResult::Hota::Curve& values) {
    std::string list;
    for (const double v : values) list += (list.empty() ? "" : ", ") + json_number(v);
    return "[" + list + "]";
  };
  std::string text = "{\n";
  text += fmt::format("  \"gt\": {},\n  \"dt\": {},\n  \"rules\": \"{}\",\n  \"min_iou\": {},\n", json_quote(a.gt),
                      json_quote(a.dt), track_rules_name(a.options.rules), json_number(a.options.min_iou));
  text += fmt::format("  \"MOTA\": {},\n  \"MOTP\": {},\n  \"recall\": {},\n  \"precision\": {},\n",
                      json_number(c.mota), json_number(c.motp), json_number(c.recall), json_number(c.precision));
  text += fmt::format("  \"matches\": {},\n  \"FP\": {},\n  \"FN\": {},\n  \"IDs\": {},\n  \"Frag\": {},\n", c.matches,
                      c.fp, c.fn, c.id_switches, c.fragmentations);
  text += fmt::format("  \"MT\": {},\n  \"PT\": {},\n  \"ML\": {},\n", c.mostly_tracked, c.partially_tracked,
                      c.mostly_lost);
  text += fmt::format("  \"IDF1\": {},\n  \"IDP\": {},\n  \"IDR\": {},\n", json_number(i.idf1), json_number(i.idp),
                      json_number(i.idr));
  text += fmt::format("  \"IDTP\": {},\n  \"IDFP\": {},\n  \"IDFN\": {},\n", i.idtp, i.idfp, i.idfn);
  const auto both = [&](const char* name, double mean, const TrackEvalResult::Hota::Curve& values) {
    text += fmt::format("  \"{}\": {},\n  \"{}_at\": {},\n", name, json_number(mean), name, curve(values));
  };
  both("HOTA", h.hota, h.hota_at);
  both("DetA", h.det_a, h.det_a_at);
  both("AssA", h.ass_a, h.ass_a_at);
  both("DetRe", h.det_re, h.det_re_at);
  both("DetPr", h.det_pr, h.det_pr_at);
  both("AssRe", h.ass_re, h.ass_re_at);
  both("AssPr", h.ass_pr, h.ass_pr_at);
  both("LocA", h.loc_a, h.loc_a_at);
  text += fmt::format("  \"thresholds\": {},\n", curve(hota_thresholds()));
  text += fmt::format(
      "  \"evaluated\": {{\"frames\": {}, \"people\": {}, \"people_tracks\": {}, \"boxes\": {}, "
      "\"tracks\": {}}},\n",
      n.frames, n.people, n.people_tracks, n.boxes, n.tracks);
  text += fmt::format("  \"ignored\": {{\"people\": {}, \"boxes_on_distractors\": {}}}\n}}", n.people_ignored,
                      n.boxes_on_distractors);
  return text;
}

}  // namespace

void add_track_eval_options(CLI::App& app, TrackEvalArguments& a) {
  describe(app,
           "How well people were followed: MOTA and its counts, IDF1 and HOTA of tracks against the ground truth. Both "
           "files are MOT text, a box a line: frame, id, left, top, width, height, score, ...; in the ground truth a "
           "score of 0 says not to consider the box, and a file of nine columns has classes in the eighth.",
           "track_eval --gt gt.txt --dt tracks.txt");
  app.add_option("--gt", a.gt, "ground truth")->required()->type_name("FILE");
  app.add_option("--dt", a.dt, "tracks to measure")->required()->type_name("FILE");
  app.add_option(
         "--rules", a.rules,
         "whose MOTA and counts to equal: motmetrics (and the MATLAB devkit) or trackeval; IDF1 and HOTA are the "
         "same")
      ->check(CLI::IsMember({"motmetrics", "trackeval"}));
  app.add_option("--min-iou", a.options.min_iou, "overlap of a match, for MOTA and IDF1")
      ->type_name("IOU")
      ->check(CLI::Range(0.01, 1.0));
  app.add_option("--distractors", a.options.distractors,
                 "classes of the ground truth on which tracks are neither hits nor false alarms (MOT20: 2,6,7,8,12)")
      ->delimiter(',')
      ->type_name("CLASS");
  app.add_flag("--json", a.json, "one JSON object on stdout, in full precision, instead of the table");
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
