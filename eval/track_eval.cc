#include "eval/track_eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <unordered_map>

#include "core/error.h"
#include "eval/assignment.h"

namespace hr {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// The boxes of one frame as indices of tracks, 0, 1, ... in the order of their first appearance.
struct Frame {
  std::vector<int> truth, result;
  std::vector<double> iou;  // [truth, result].
  double at(int i, int j) const { return iou[static_cast<size_t>(i) * result.size() + j]; }
};

struct Sequence {
  std::vector<Frame> frames;
  std::vector<int64_t> truth_length, result_length;  // The number of boxes per track.
};

class TrackIndex {
 public:
  int of(int64_t id, std::vector<int64_t>& length) {
    const auto [at, fresh] = index_.try_emplace(id, static_cast<int>(index_.size()));
    if (fresh) length.push_back(0);
    ++length[at->second];
    return at->second;
  }

 private:
  std::unordered_map<int64_t, int> index_;
};

void check_list(std::span<const MotBox> boxes, const char* name) {
  std::vector<int64_t> ids;
  for (size_t begin = 0, end = 0; begin < boxes.size(); begin = end) {
    ids.clear();
    for (; end < boxes.size() && boxes[end].frame == boxes[begin].frame; ++end) {
      const Box& b = boxes[end].box;
      check(std::isfinite(b.x) && std::isfinite(b.y) && std::isfinite(b.w) && std::isfinite(b.h),
            "{}: box {} is not finite", name, end);
      ids.push_back(boxes[end].id);
    }
    check(end == boxes.size() || boxes[end].frame > boxes[begin].frame, "{}: frame {} comes after frame {}", name,
          end < boxes.size() ? boxes[end].frame : 0, boxes[begin].frame);
    std::sort(ids.begin(), ids.end());
    const auto twice = std::adjacent_find(ids.begin(), ids.end());
    check(twice == ids.end(), "{}: id {} occurs twice in frame {}", name, twice == ids.end() ? 0 : *twice,
          boxes[begin].frame);
  }
}

std::vector<double> overlaps(std::span<const MotBox> truth, std::span<const MotBox> result) {
  std::vector<double> iou;
  iou.reserve(truth.size() * result.size());
  for (const MotBox& t : truth) {
    for (const MotBox& r : result) iou.push_back(box_iou(t.box, r.box));
  }
  return iou;
}

// Decides which boxes of the result lie on a distractor, by the best pairing over all classes.
std::vector<uint8_t> on_distractor(std::span<const MotBox> truth, std::span<const MotBox> result,
                                   std::span<const int> distractors) {
  std::vector<uint8_t> found(result.size(), 0);
  std::vector<double> cost = overlaps(truth, result);
  for (double& c : cost) c = c < 0.5 - kEpsilon ? 0 : -c;
  const std::vector<int> pairs = assign(cost, static_cast<int>(truth.size()), static_cast<int>(result.size()));
  for (size_t i = 0; i < truth.size(); ++i) {
    if (pairs[i] < 0 || cost[i * result.size() + pairs[i]] >= 0) continue;
    found[pairs[i]] = std::count(distractors.begin(), distractors.end(), truth[i].category) > 0;
  }
  return found;
}

Sequence join(std::span<const MotBox> truth, std::span<const MotBox> result, const TrackEvalOptions& options,
              TrackEvalResult::Counts& counts) {
  const bool classes = std::any_of(truth.begin(), truth.end(), [](const MotBox& b) { return b.category > 0; });
  Sequence sequence;
  TrackIndex truth_tracks, result_tracks;
  std::vector<MotBox> people, boxes;
  for (size_t t = 0, r = 0; t < truth.size() || r < result.size();) {
    const int number = std::min(t < truth.size() ? truth[t].frame : std::numeric_limits<int>::max(),
                                r < result.size() ? result[r].frame : std::numeric_limits<int>::max());
    const auto take = [&](std::span<const MotBox> all, size_t& at) {
      const size_t begin = at;
      while (at < all.size() && all[at].frame == number) ++at;
      return all.subspan(begin, at - begin);
    };
    const std::span<const MotBox> truth_here = take(truth, t), result_here = take(result, r);
    counts.common_frames += !truth_here.empty() && !result_here.empty();
    std::vector<uint8_t> dropped(result_here.size(), 0);
    if (classes) dropped = on_distractor(truth_here, result_here, options.distractors);
    people.clear();
    boxes.clear();
    Frame frame;
    for (const MotBox& b : truth_here) {
      if (b.score == 0 || (classes && b.category != 1)) {
        ++counts.people_ignored;
        continue;
      }
      people.push_back(b);
      frame.truth.push_back(truth_tracks.of(b.id, sequence.truth_length));
    }
    for (size_t i = 0; i < result_here.size(); ++i) {
      if (dropped[i] != 0) {
        ++counts.boxes_on_distractors;
        continue;
      }
      boxes.push_back(result_here[i]);
      frame.result.push_back(result_tracks.of(result_here[i].id, sequence.result_length));
    }
    frame.iou = overlaps(people, boxes);
    counts.people += static_cast<int64_t>(people.size());
    counts.boxes += static_cast<int64_t>(boxes.size());
    sequence.frames.push_back(std::move(frame));
  }
  counts.frames = static_cast<int64_t>(sequence.frames.size());
  counts.people_tracks = static_cast<int64_t>(sequence.truth_length.size());
  counts.tracks = static_cast<int64_t>(sequence.result_length.size());
  return sequence;
}

double ratio(double a, double b) { return b == 0 ? std::numeric_limits<double>::quiet_NaN() : a / b; }

// ---- CLEAR ----------------------------------------------------------------------------------------------------------

// Returns the column of every true box in a frame, -1 if it is missed. `partner` is the track with which each person
// was matched, ever (motmetrics) or in the previous frame (trackeval); -1 if there is none.
std::vector<int> match_frame(const Frame& f, std::span<const int> partner, const TrackEvalOptions& options) {
  const int rows = static_cast<int>(f.truth.size()), columns = static_cast<int>(f.result.size());
  std::vector<double> cost(f.iou.size(), 0.0);
  if (options.rules == TrackRules::trackeval) {
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) {
        if (f.at(i, j) < options.min_iou - kEpsilon) continue;
        cost[static_cast<size_t>(i) * columns + j] =
            -(f.at(i, j) + (partner[f.truth[i]] == f.result[j] ? 1000.0 : 0.0));
      }
    }
    std::vector<int> match = assign(cost, rows, columns);
    for (int i = 0; i < rows; ++i) {
      if (match[i] >= 0 && cost[static_cast<size_t>(i) * columns + match[i]] >= 0) match[i] = -1;
    }
    return match;
  }
  const auto fits = [&](int i, int j) { return 1 - f.at(i, j) <= 1 - options.min_iou; };
  std::vector<int> match(rows, -1);
  std::vector<uint8_t> taken(columns, 0);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      if (f.result[j] != partner[f.truth[i]] || taken[j] != 0 || !fits(i, j)) continue;
      match[i] = j;
      taken[j] = 1;
    }
  }
  // A distance is at most 1, so with this weight an additional pair always outweighs all distances together.
  const double worth = rows + 1;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      if (match[i] < 0 && taken[j] == 0 && fits(i, j))
        cost[static_cast<size_t>(i) * columns + j] = 1 - f.at(i, j) - worth;
    }
  }
  const std::vector<int> rest = assign(cost, rows, columns);
  for (int i = 0; i < rows; ++i) {
    if (rest[i] >= 0 && cost[static_cast<size_t>(i) * columns + rest[i]] < 0) match[i] = rest[i];
  }
  return match;
}

TrackEvalResult::Clear clear_metrics(const Sequence& sequence, const TrackEvalOptions& options) {
  const bool trackeval = options.rules == TrackRules::trackeval;
  const size_t tracks = sequence.truth_length.size();
  std::vector<int> last(tracks, -1);      // The track of the last match.
  std::vector<int> previous(tracks, -1);  // trackeval: the track in the previous frame.
  std::vector<int64_t> matched(tracks, 0);
  // motmetrics: whether the last box of a person was missed after a match. trackeval: the number of stretches of
  // matches.
  std::vector<uint8_t> missing(tracks, 0);
  std::vector<int64_t> stretches(tracks, 0);
  TrackEvalResult::Clear clear;
  double iou_sum = 0;
  for (const Frame& f : sequence.frames) {
    const std::vector<int> match = match_frame(f, trackeval ? previous : last, options);
    const bool both = !f.truth.empty() && !f.result.empty();
    std::vector<int> now(trackeval && both ? tracks : 0, -1);
    int64_t pairs = 0;
    for (size_t i = 0; i < f.truth.size(); ++i) {
      const int person = f.truth[i];
      if (match[i] < 0) {
        missing[person] = last[person] >= 0;
        continue;
      }
      const int track = f.result[match[i]];
      ++pairs;
      ++matched[person];
      iou_sum += f.at(static_cast<int>(i), match[i]);
      clear.id_switches += last[person] >= 0 && last[person] != track;
      if (!trackeval) clear.fragmentations += missing[person];
      if (trackeval) stretches[person] += previous[person] < 0;
      missing[person] = 0;
      last[person] = track;
      if (trackeval) now[person] = track;
    }
    if (trackeval && both) previous = std::move(now);
    clear.matches += pairs;
    clear.fn += static_cast<int64_t>(f.truth.size()) - pairs;
    clear.fp += static_cast<int64_t>(f.result.size()) - pairs;
  }
  for (size_t person = 0; person < tracks; ++person) {
    const double share = static_cast<double>(matched[person]) / static_cast<double>(sequence.truth_length[person]);
    if (trackeval ? share > 0.8 : share >= 0.8) {
      ++clear.mostly_tracked;
    } else {
      ++(share >= 0.2 ? clear.partially_tracked : clear.mostly_lost);
    }
    if (trackeval) clear.fragmentations += std::max<int64_t>(stretches[person] - 1, 0);
  }
  const auto people = static_cast<double>(clear.matches + clear.fn),
             boxes = static_cast<double>(clear.matches + clear.fp);
  clear.mota = ratio(people - static_cast<double>(clear.fp + clear.fn + clear.id_switches), people);
  clear.motp = ratio(iou_sum, static_cast<double>(clear.matches));
  clear.recall = ratio(static_cast<double>(clear.matches), people);
  clear.precision = ratio(static_cast<double>(clear.matches), boxes);
  return clear;
}

// ---- IDF1 -----------------------------------------------------------------------------------------------------------

// Pairs of tracks that overlap in some frame, numbered in the order of their first appearance.
class Pairs {
 public:
  int of(int truth, int result) {
    const auto key = static_cast<uint64_t>(static_cast<uint32_t>(truth)) << 32 | static_cast<uint32_t>(result);
    const auto [at, fresh] = index_.try_emplace(key, static_cast<int>(list_.size()));
    if (fresh) list_.emplace_back(truth, result);
    return at->second;
  }
  const std::vector<std::pair<int, int>>& list() const { return list_; }

 private:
  std::unordered_map<uint64_t, int> index_;
  std::vector<std::pair<int, int>> list_;
};

// Returns the largest total of `common` over pairs of tracks that share no track. Groups of tracks that no chain of
// pairs connects are solved separately, so that the matrices stay small.
int64_t most_in_common(const Pairs& pairs, std::span<const int64_t> common, int truth_tracks, int result_tracks) {
  // A union-find structure; tracks of the result come after those of the truth.
  std::vector<int> group(truth_tracks + result_tracks);
  std::iota(group.begin(), group.end(), 0);
  const auto root = [&](int a) {
    while (group[a] != a) a = group[a] = group[group[a]];
    return a;
  };
  for (const auto& [t, r] : pairs.list()) group[root(t)] = root(truth_tracks + r);
  std::map<int, std::vector<int>> members;  // From a root to its pairs.
  for (size_t p = 0; p < pairs.list().size(); ++p) members[root(pairs.list()[p].first)].push_back(static_cast<int>(p));
  int64_t total = 0;
  for (const auto& [_, list] : members) {
    std::map<int, int> rows, columns;
    for (const int p : list) {
      rows.try_emplace(pairs.list()[p].first, static_cast<int>(rows.size()));
      columns.try_emplace(pairs.list()[p].second, static_cast<int>(columns.size()));
    }
    std::vector<double> cost(rows.size() * columns.size(), 0.0);
    for (const int p : list) {
      cost[rows[pairs.list()[p].first] * columns.size() + columns[pairs.list()[p].second]] =
          -static_cast<double>(common[p]);
    }
    const std::vector<int> match = assign(cost, static_cast<int>(rows.size()), static_cast<int>(columns.size()));
    for (size_t i = 0; i < match.size(); ++i) {
      if (match[i] >= 0) total -= static_cast<int64_t>(cost[i * columns.size() + match[i]]);
    }
  }
  return total;
}

TrackEvalResult::Identity identity_metrics(const Sequence& sequence, const TrackEvalResult::Counts& counts,
                                           const TrackEvalOptions& options) {
  Pairs pairs;
  std::vector<int64_t> common;
  for (const Frame& f : sequence.frames) {
    for (size_t i = 0; i < f.truth.size(); ++i) {
      for (size_t j = 0; j < f.result.size(); ++j) {
        if (f.at(static_cast<int>(i), static_cast<int>(j)) < options.min_iou) continue;
        const int p = pairs.of(f.truth[i], f.result[j]);
        common.resize(pairs.list().size(), 0);
        ++common[p];
      }
    }
  }
  TrackEvalResult::Identity id;
  id.idtp = most_in_common(pairs, common, static_cast<int>(counts.people_tracks), static_cast<int>(counts.tracks));
  id.idfn = counts.people - id.idtp;
  id.idfp = counts.boxes - id.idtp;
  const auto tp = static_cast<double>(id.idtp);
  id.idp = ratio(tp, static_cast<double>(counts.boxes));
  id.idr = ratio(tp, static_cast<double>(counts.people));
  id.idf1 = ratio(2 * tp, static_cast<double>(counts.people + counts.boxes));
  return id;
}

// ---- HOTA -----------------------------------------------------------------------------------------------------------

// Returns how well two tracks agree over the whole sequence, before boxes are matched: a soft count of their common
// frames (the IoU divided by all overlaps of the two boxes) over the number of frames of either.
std::vector<double> alignment(const Sequence& sequence, Pairs& pairs) {
  std::vector<double> common;
  for (const Frame& f : sequence.frames) {
    std::vector<double> of_truth(f.truth.size(), 0.0), of_result(f.result.size(), 0.0);
    for (size_t i = 0; i < f.truth.size(); ++i) {
      for (size_t j = 0; j < f.result.size(); ++j) {
        of_truth[i] += f.at(static_cast<int>(i), static_cast<int>(j));
        of_result[j] += f.at(static_cast<int>(i), static_cast<int>(j));
      }
    }
    for (size_t i = 0; i < f.truth.size(); ++i) {
      for (size_t j = 0; j < f.result.size(); ++j) {
        const double iou = f.at(static_cast<int>(i), static_cast<int>(j));
        const double all = of_result[j] + of_truth[i] - iou;
        if (iou == 0 || all <= kEpsilon) continue;
        const int p = pairs.of(f.truth[i], f.result[j]);
        common.resize(pairs.list().size(), 0.0);
        common[p] += iou / all;
      }
    }
  }
  for (size_t p = 0; p < common.size(); ++p) {
    const auto& [t, r] = pairs.list()[p];
    const auto frames = static_cast<double>(sequence.truth_length[t] + sequence.result_length[r]);
    common[p] /= frames - common[p];
  }
  return common;
}

double mean(const TrackEvalResult::Hota::Curve& curve) {
  double sum = 0;
  for (const double v : curve) sum += v;
  return sum / kHotaThresholds;
}

TrackEvalResult::Hota hota_metrics(const Sequence& sequence, const TrackEvalResult::Counts& counts) {
  const std::array<double, kHotaThresholds> thresholds = hota_thresholds();
  Pairs pairs;
  const std::vector<double> agreement = alignment(sequence, pairs);
  std::array<int64_t, kHotaThresholds> matches{};
  std::array<double, kHotaThresholds> iou_sum{};
  std::vector<std::array<int64_t, kHotaThresholds>> common(pairs.list().size());
  for (const Frame& f : sequence.frames) {
    const int rows = static_cast<int>(f.truth.size()), columns = static_cast<int>(f.result.size());
    std::vector<double> cost(f.iou.size(), 0.0);
    std::vector<int> pair(f.iou.size(), -1);
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) {
        const size_t at = static_cast<size_t>(i) * columns + j;
        if (f.iou[at] == 0) continue;
        pair[at] = pairs.of(f.truth[i], f.result[j]);
        if (static_cast<size_t>(pair[at]) < agreement.size()) cost[at] = -agreement[pair[at]] * f.iou[at];
      }
    }
    const std::vector<int> match = assign(cost, rows, columns);
    for (int i = 0; i < rows; ++i) {
      if (match[i] < 0) continue;
      const size_t at = static_cast<size_t>(i) * columns + match[i];
      for (int a = 0; a < kHotaThresholds; ++a) {
        if (f.iou[at] < thresholds[a] - kEpsilon) continue;
        ++matches[a];
        iou_sum[a] += f.iou[at];
        ++common[pair[at]][a];
      }
    }
  }
  TrackEvalResult::Hota h;
  for (int a = 0; a < kHotaThresholds; ++a) {
    double ass_a = 0, ass_re = 0, ass_pr = 0;
    for (size_t p = 0; p < common.size(); ++p) {
      const auto n = static_cast<double>(common[p][a]);
      const auto people = static_cast<double>(sequence.truth_length[pairs.list()[p].first]);
      const auto boxes = static_cast<double>(sequence.result_length[pairs.list()[p].second]);
      ass_a += n * (n / std::max(1.0, people + boxes - n));
      ass_re += n * (n / people);
      ass_pr += n * (n / boxes);
    }
    const auto tp = static_cast<double>(matches[a]);
    const auto people = static_cast<double>(counts.people), boxes = static_cast<double>(counts.boxes);
    h.ass_a_at[a] = ass_a / std::max(1.0, tp);
    h.ass_re_at[a] = ass_re / std::max(1.0, tp);
    h.ass_pr_at[a] = ass_pr / std::max(1.0, tp);
    h.det_a_at[a] = tp / std::max(1.0, people + boxes - tp);
    h.det_re_at[a] = tp / std::max(1.0, people);
    h.det_pr_at[a] = tp / std::max(1.0, boxes);
    h.hota_at[a] = std::sqrt(h.det_a_at[a] * h.ass_a_at[a]);
    h.loc_a_at[a] = tp == 0 ? 1 : iou_sum[a] / tp;
  }
  h.hota = mean(h.hota_at);
  h.det_a = mean(h.det_a_at);
  h.ass_a = mean(h.ass_a_at);
  h.det_re = mean(h.det_re_at);
  h.det_pr = mean(h.det_pr_at);
  h.ass_re = mean(h.ass_re_at);
  h.ass_pr = mean(h.ass_pr_at);
  h.loc_a = mean(h.loc_a_at);
  return h;
}

}  // namespace

double box_iou(const Box& a, const Box& b) {
  const double ax = a.x + a.w, ay = a.y + a.h, bx = b.x + b.w, by = b.y + b.h;
  const double area_a = (ax - a.x) * (ay - a.y), area_b = (bx - b.x) * (by - b.y);
  if (area_a <= kEpsilon || area_b <= kEpsilon) return 0;
  const double w = std::max(std::min(ax, bx) - std::max(a.x, b.x), 0.0);
  const double h = std::max(std::min(ay, by) - std::max(a.y, b.y), 0.0);
  const double common = w * h;
  return common / (area_a + area_b - common);
}

std::array<double, kHotaThresholds> hota_thresholds() {
  std::array<double, kHotaThresholds> t{};
  for (int i = 0; i < kHotaThresholds; ++i) t[i] = 0.05 + i * 0.05;
  return t;
}

std::string_view track_rules_name(TrackRules rules) {
  return rules == TrackRules::motmetrics ? "motmetrics" : "trackeval";
}

TrackRules parse_track_rules(std::string_view name) {
  for (const TrackRules rules : {TrackRules::motmetrics, TrackRules::trackeval}) {
    if (name == track_rules_name(rules)) return rules;
  }
  fail("unknown rules '{}'; there are motmetrics and trackeval", name);
}

TrackEvalResult evaluate_tracks(std::span<const MotBox> truth, std::span<const MotBox> result,
                                const TrackEvalOptions& options) {
  check(options.min_iou > 0 && options.min_iou <= 1, "evaluate_tracks: min_iou is {}; expected a number in (0, 1]",
        options.min_iou);
  check_list(truth, "ground truth");
  check_list(result, "tracks");
  TrackEvalResult r;
  const Sequence sequence = join(truth, result, options, r.counts);
  r.clear = clear_metrics(sequence, options);
  r.identity = identity_metrics(sequence, r.counts, options);
  r.hota = hota_metrics(sequence, r.counts);
  return r;
}

}  // namespace hr
