// Writes the results and remarks of an evaluation of tracks as text (declared in eval/track_eval.h).
#include <fmt/format.h>

#include <cmath>

#include "eval/track_eval.h"

namespace hr {
namespace {

std::string percent(double v) { return std::isnan(v) ? "-" : fmt::format("{:.1f}", 100 * v); }

}  // namespace

std::string track_summary(const TrackEvalResult& r) {
  const auto row = [](std::initializer_list<std::string> cells) {
    std::string line;
    for (const std::string& c : cells) line += fmt::format("{:>7}", c);
    return line;
  };
  const auto n = [](int64_t v) { return fmt::format("{}", v); };
  const TrackEvalResult::Clear& c = r.clear;
  return row({"HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA"}) + '\n' +
         row({percent(r.hota.hota), percent(r.hota.det_a), percent(r.hota.ass_a), percent(r.hota.det_re),
              percent(r.hota.det_pr), percent(r.hota.ass_re), percent(r.hota.ass_pr), percent(r.hota.loc_a)}) +
         '\n' + row({"IDF1", "IDP", "IDR", "IDTP", "IDFP", "IDFN"}) + '\n' +
         row({percent(r.identity.idf1), percent(r.identity.idp), percent(r.identity.idr), n(r.identity.idtp),
              n(r.identity.idfp), n(r.identity.idfn)}) +
         '\n' + row({"MOTA", "MOTP", "Rcll", "Prcn", "FP", "FN", "IDs", "Frag", "MT", "PT", "ML"}) + '\n' +
         row({percent(c.mota), percent(c.motp), percent(c.recall), percent(c.precision), n(c.fp), n(c.fn),
              n(c.id_switches), n(c.fragmentations), n(c.mostly_tracked), n(c.partially_tracked), n(c.mostly_lost)});
}

std::string track_remarks(const TrackEvalResult& r) {
  std::string text;
  const auto say = [&](const std::string& remark) { text += (text.empty() ? "" : "\n") + remark; };
  const TrackEvalResult::Counts& c = r.counts;
  if (c.people == 0) {
    say("the ground truth has no people to find, so MOTA, recall and IDR mean nothing and HOTA is 0");
  } else if (c.boxes == 0) {
    say("the tracks have no boxes, so precision and MOTP mean nothing");
  } else if (c.common_frames == 0) {
    say("no frame has people as well as tracks: do both files belong to the same video, and count frames from 1?");
  } else if (c.common_frames * 2 < c.frames) {
    say(fmt::format("only {} of {} frames have people as well as tracks", c.common_frames, c.frames));
  } else if (c.boxes > 0 && r.clear.matches == 0) {
    say("no track ever overlaps a person: are both in pixels of the same picture size?");
  }
  if (c.people_ignored > 0) {
    say(fmt::format("{} boxes of the ground truth are not evaluated (not to be considered, or of another class)",
                    c.people_ignored));
  }
  if (c.boxes_on_distractors > 0) {
    say(fmt::format("{} boxes of the tracks lie on distractors and are not evaluated", c.boxes_on_distractors));
  }
  return text;
}

}  // namespace hr
