#include "eval/coco_eval.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <span>
#include <utility>

#include "core/error.h"
#include "eval/coco_match.h"
#include "eval/coco_setup.h"
#include "eval/precision_recall.h"
#include "eval/remarks.h"

namespace hr {
namespace {

constexpr int T = kOksThresholds, R = kRecallPoints, A = kAreaRanges;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Indices grouped by a small integer, in their original order within each group: group g is
// items[begin[g]..begin[g+1]).
struct Groups {
  std::vector<int> begin, items;

  Groups(const std::vector<int>& group_of, int groups) : begin(groups + 1) {
    for (const int g : group_of) begin[g + 1] += g >= 0 ? 1 : 0;
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    items.resize(begin.back());
    std::vector<int> next = begin;
    for (size_t i = 0; i < group_of.size(); ++i) {
      if (group_of[i] >= 0) items[next[group_of[i]]++] = static_cast<int>(i);
    }
  }
  std::span<int> operator[](int g) { return {items.data() + begin[g], items.data() + begin[g + 1]}; }
};

constexpr std::array<std::string_view, 3> kRules = {"pycocotools", "xtcocotools", "xtcocotools_crowd"};

std::array<double, 10> ten_numbers(const CocoEvalResult& r, const PrecisionRecall& curves) {
  constexpr int any = -1, at50 = 0, at75 = 5, all = 0, medium = 1, large = 2;
  std::array<double, 10> stats{};
  for (int half = 0; half < 2; ++half) {
    double* v = stats.data() + 5 * half;
    const auto average = [&](int threshold, int area) {
      return half == 0 ? mean_of_curves(r.precision, R, curves, threshold, area)
                       : mean_of_curves(r.recall, 1, curves, threshold, area);
    };
    v[0] = average(any, all);
    v[1] = average(at50, all);
    v[2] = average(at75, all);
    v[3] = average(any, medium);
    v[4] = average(any, large);
  }
  return stats;
}

}  // namespace

std::string_view coco_rules_name(CocoRules rules) { return kRules.at(static_cast<size_t>(rules)); }

CocoRules parse_coco_rules(std::string_view name) {
  for (size_t i = 0; i < kRules.size(); ++i) {
    if (name == kRules.at(i)) return static_cast<CocoRules>(i);
  }
  fail("rules '{}' are not known; there are {}", name, fmt::join(kRules, ", "));
}

std::array<double, kOksThresholds> oks_thresholds() {
  std::array<double, T> v{};
  for (int i = 0; i < T; ++i) v[i] = i * 0.049999999999999996 + 0.5;
  v.back() = 0.95;
  return v;
}

std::array<double, kRecallPoints> recall_points() {
  std::array<double, R> v{};
  for (int i = 0; i < R; ++i) v[i] = i * 0.01;
  v.back() = 1;
  return v;
}

std::array<std::array<double, 2>, kAreaRanges> area_ranges() {
  return {{{0, 1e10}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}};
}

CocoEvalResult evaluate_coco(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                             const CocoEvalOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const CocoSetup s = make_coco_setup(gt, options);
  const int images = static_cast<int>(s.images.size()), C = static_cast<int>(s.categories.size());
  [[maybe_unused]] const int threads = std::max(1, options.threads);
  CocoEvalResult r;
  r.categories = s.categories;
  r.counts.images = images;
  const CocoEntries in = gather_entries(gt, dt, s, options, r.counts);
  r.doubts = find_doubts({.gt = gt,
                          .dt = dt,
                          .options = options,
                          .categories = s.categories,
                          .person_image = in.person_image,
                          .detection_image = in.detection_image,
                          .person_area = in.person_area,
                          .person_ignored = in.person_ignored,
                          .counts = r.counts});

  Groups people_of(in.person_image, images), detections_of(in.detection_image, images);
  std::vector<Outcome> outcome(dt.size());
  std::vector<uint8_t> counts(dt.size());  // 1 if the detection is among the best 20.
  std::vector<std::vector<CocoImageMatches>> matches(options.keep_matches ? images : 0);
  const bool prune = options.strict && !options.keep_matches;
  const CocoMatcher matcher{gt, dt, s, in, prune, outcome};
  // Every picture is evaluated on its own, so that the number of threads does not change the result.
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    CocoMatchBuffers m;
#pragma omp for schedule(dynamic, 32)
    for (int image = 0; image < images; ++image) {
      matcher.match_image(image, people_of[image], detections_of[image], counts, m,
                          options.keep_matches ? &matches[image] : nullptr);
    }
  }
  for (std::vector<CocoImageMatches>& list : matches) {
    for (CocoImageMatches& match : list) r.matches.push_back(std::move(match));
  }
  r.match_seconds = seconds_since(start);

  const auto middle = std::chrono::steady_clock::now();
  const PrecisionRecall curves{r.precision, r.recall, r.scores, s.categories.size(), A};
  curves.clear();
  // Equal scores keep the order in which the reference concatenates them: pictures by ascending id, best first in each.
  std::vector<std::vector<std::pair<uint64_t, int>>> ranking(C);
  for (size_t i = 0; i < detections_of.items.size(); ++i) {
    const int d = detections_of.items[i];
    if (counts[d] != 0)
      ranking[in.detection_category[d]].emplace_back(falling_score_key(dt[d].score), static_cast<int>(i));
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int c = 0; c < C; ++c) {
    std::sort(ranking[c].begin(), ranking[c].end());
    std::vector<Outcome> outcomes;
    std::vector<double> scores;
    outcomes.reserve(ranking[c].size());
    scores.reserve(ranking[c].size());
    for (const auto& [key, i] : ranking[c]) {
      outcomes.push_back(outcome[detections_of.items[i]]);
      scores.push_back(dt[detections_of.items[i]].score);
    }
    curves.accumulate(outcomes, scores, in.to_find[c], c);
  }
  r.counts.detections_over_limit = r.counts.detections - std::count(counts.begin(), counts.end(), 1);
  r.stats = ten_numbers(r, curves);
  r.accumulate_seconds = seconds_since(middle);
  return r;
}

}  // namespace hr
