#include "eval/box_eval.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <span>

#include "core/error.h"
#include "eval/coco_eval.h"
#include "eval/precision_recall.h"
#include "eval/selection.h"

namespace hr {
namespace {

constexpr int T = kOksThresholds, R = kRecallPoints, A = kBoxAreaRanges, M = kBoxLimits;
constexpr int kMost = kBoxMaxDetections[M - 1];

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

static_assert(A * T <= 64);

// Returns the position in a sorted list, -1 if it is not there.
int position(const std::vector<int64_t>& sorted, int64_t id) {
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), id);
  return at == sorted.end() || *at != id ? -1 : static_cast<int>(at - sorted.begin());
}

bool finite(const Box& b) { return std::isfinite(b.x + b.y + b.w + b.h); }

// Objects or detections of one picture and category: items[begin[cell] .. begin[cell + 1]), cell = image * K +
// category. Within a cell they are ordered by category id and then as in the file, which is the reference's order when
// it does not use categories.
struct Cells {
  std::vector<int> begin, items;

  Cells(const std::vector<int>& cell_of, int cells, const std::function<int64_t(int)>* category) : begin(cells + 1) {
    for (const int c : cell_of) begin[c + 1] += c >= 0 ? 1 : 0;
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    items.resize(begin.back());
    std::vector<int> next = begin;
    for (size_t i = 0; i < cell_of.size(); ++i) {
      if (cell_of[i] >= 0) items[next[cell_of[i]]++] = static_cast<int>(i);
    }
    if (category == nullptr) return;
    for (int c = 0; c < cells; ++c) std::ranges::stable_sort((*this)[c], {}, *category);
  }
  std::span<int> operator[](int cell) { return {items.data() + begin[cell], items.data() + begin[cell + 1]}; }
};

// Intersection over union; over the detection's own area if the object is a crowd.
double iou(const Box& d, const Box& g, bool crowd) {
  const double w = std::fmin(d.w + d.x, g.w + g.x) - std::fmax(d.x, g.x);
  if (w <= 0) return 0;
  const double h = std::fmin(d.h + d.y, g.h + g.y) - std::fmax(d.y, g.y);
  if (h <= 0) return 0;
  const double common = w * h, own = d.w * d.h;
  return common / (crowd ? own : own + g.w * g.h - common);
}

// The buffers of one thread.
struct Scratch {
  std::vector<double> iou;  // [detections, objects].
  std::vector<int> order;   // Objects; those that count come first.
  std::vector<uint8_t> ignore, taken;
};

struct Matcher {
  const CocoAnnotations& gt;
  const std::vector<CocoDetection>& dt;
  const std::array<double, T>& thresholds;
  std::vector<Outcome>& outcome;

  // Matches one cell. `detections` are sorted by falling score and at most 100.
  void operator()(std::span<const int> detections, std::span<const int> objects, Scratch& m) const {
    const size_t G = objects.size();
    m.iou.resize(detections.size() * G);
    for (size_t d = 0; d < detections.size(); ++d) {
      for (size_t g = 0; g < G; ++g) {
        const CocoAnnotation& object = gt.annotations[objects[g]];
        m.iou[d * G + g] = iou(dt[detections[d]].box, object.box, object.iscrowd);
      }
    }
    for (int a = 0; a < A; ++a) match(detections, objects, a, m);
  }

  // Greedy matching at one area range: each detection, best first, takes the best free object at every threshold.
  void match(std::span<const int> detections, std::span<const int> objects, int a, Scratch& m) const {
    const std::array<double, 2> range = box_area_ranges().at(static_cast<size_t>(a));
    const size_t G = objects.size();
    m.order.resize(G);
    m.ignore.resize(G);
    std::iota(m.order.begin(), m.order.end(), 0);
    for (size_t g = 0; g < G; ++g) {
      const CocoAnnotation& object = gt.annotations[objects[g]];
      m.ignore[g] = object.iscrowd || outside(object.area, range) ? 1 : 0;
    }
    std::stable_partition(m.order.begin(), m.order.end(), [&](int g) { return m.ignore[g] == 0; });
    m.taken.assign(G * T, 0);
    for (size_t d = 0; d < detections.size(); ++d) {
      const Box& box = dt[detections[d]].box;
      const bool out = outside(box.w * box.h, range);
      Outcome& result = outcome[detections[d]];
      for (int t = 0; t < T; ++t) {
        uint8_t* taken = m.taken.data() + t * G;
        const int best = best_object(m.iou.data() + d * G, thresholds[t], taken, objects, m);
        bool matched = false, ignored = false;
        if (best >= 0) {
          taken[best] = 1;
          // pycocotools stores the matched id and later tests whether it is zero. Therefore an object with id 0 is
          // never found.
          matched = gt.annotations[objects[best]].id != 0;
          ignored = m.ignore[best] != 0;
        }
        ignored = ignored || (!matched && out);
        if (ignored) result.ignored |= outcome_bit(a, t);
        if (matched && !ignored) result.hit |= outcome_bit(a, t);
      }
    }
  }

  int best_object(const double* overlap, double threshold, const uint8_t* taken, std::span<const int> objects,
                  const Scratch& m) const {
    double least = std::min(threshold, 1 - 1e-10);
    int best = -1;
    for (const int g : m.order) {
      if (taken[g] != 0 && !gt.annotations[objects[g]].iscrowd) continue;
      // A match with an object that counts is never replaced by one that is ignored.
      if (best >= 0 && m.ignore[best] == 0 && m.ignore[g] != 0) break;
      if (overlap[g] < least) continue;  // Equal IoU is allowed, so that the later object wins.
      least = overlap[g];
      best = g;
    }
    return best;
  }
};

// The twelve numbers in the reference's order.
struct Line {
  bool precision;
  int threshold, area, limit;
};
constexpr int kAny = -1, kAt50 = 0, kAt75 = 5;
constexpr std::array<Line, 12> kLines = {{{true, kAny, 0, 2},
                                          {true, kAt50, 0, 2},
                                          {true, kAt75, 0, 2},
                                          {true, kAny, 1, 2},
                                          {true, kAny, 2, 2},
                                          {true, kAny, 3, 2},
                                          {false, kAny, 0, 0},
                                          {false, kAny, 0, 1},
                                          {false, kAny, 0, 2},
                                          {false, kAny, 1, 2},
                                          {false, kAny, 2, 2},
                                          {false, kAny, 3, 2}}};

// Which images and categories are evaluated.
struct Setup {
  std::vector<int64_t> all_images, images, categories;
  bool use_categories = true;
  int K() const { return use_categories ? static_cast<int>(categories.size()) : 1; }
  // Returns the cell of an entry; -1 if it is not evaluated.
  int cell(int64_t image, int64_t category) const {
    const int i = position(images, image), k = position(categories, category);
    return i < 0 || k < 0 ? -1 : i * K() + (use_categories ? k : 0);
  }
};

Setup make_setup(const CocoAnnotations& gt, const BoxEvalOptions& options) {
  Setup s{.use_categories = options.use_categories};
  for (const CocoImage& image : gt.images) s.all_images.push_back(image.id);
  s.all_images = sorted_unique(std::move(s.all_images));
  s.images = options.images.empty() ? s.all_images : sorted_unique(options.images);
  for (const int64_t id : s.images)
    check(position(s.all_images, id) >= 0, "{}: has no image {} to evaluate", gt.path, id);
  std::vector<int64_t> known;
  for (const CocoCategory& category : gt.categories) known.push_back(category.id);
  if (known.empty()) {  // The file has no list of categories, so they are collected from its objects.
    for (const CocoAnnotation& object : gt.annotations) known.push_back(object.category_id);
  }
  known = sorted_unique(std::move(known));
  s.categories = options.categories.empty() ? known : sorted_unique(options.categories);
  for (const int64_t id : s.categories) {
    check(position(known, id) >= 0, "{}: has no category {}; it has {}", gt.path, id, fmt::join(known, ", "));
  }
  return s;
}

// The cells of objects and detections; -1 means that the entry is not evaluated.
struct Entries {
  std::vector<int> object_cell, detection_cell;
  std::vector<std::array<int64_t, A>> to_find;  // [K]: the objects that count, per area range.
};

Entries gather(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const Setup& s,
               const BoxEvalOptions& options, BoxEvalResult::Counts& counts) {
  Entries in;
  in.object_cell.assign(gt.annotations.size(), -1);
  in.detection_cell.assign(dt.size(), -1);
  in.to_find.resize(s.K());
  const auto ranges = box_area_ranges();
  for (size_t i = 0; i < gt.annotations.size(); ++i) {
    const CocoAnnotation& object = gt.annotations[i];
    check(position(s.all_images, object.image_id) >= 0,
          "{}: annotations[{}] (id {}) is of image {}, which is not in its list of {} images", gt.path, i, object.id,
          object.image_id, s.all_images.size());
    in.object_cell[i] = s.cell(object.image_id, object.category_id);
    if (in.object_cell[i] < 0) continue;
    check(finite(object.box) && std::isfinite(object.area),
          "{}: annotations[{}] (id {}): area or bbox is not a finite number", gt.path, i, object.id);
    ++counts.objects;
    counts.objects_crowd += object.iscrowd ? 1 : 0;
    for (int a = 0; a < A; ++a)
      in.to_find[in.object_cell[i] % s.K()][a] += !object.iscrowd && !outside(object.area, ranges[a]) ? 1 : 0;
  }
  check(!dt.empty(), "{}: the list of detections is empty; nothing to evaluate against {}", options.detections_name,
        gt.path);
  for (size_t i = 0; i < dt.size(); ++i) {
    check(position(s.all_images, dt[i].image_id) >= 0,
          "{}: entry [{}] has image_id {}, which is not among the {} images of {}; is it of another split?",
          options.detections_name, i, dt[i].image_id, s.all_images.size(), gt.path);
    check(dt[i].has_box, "{}: entry [{}] (image {}) has no bbox", options.detections_name, i, dt[i].image_id);
    check(finite(dt[i].box) && std::isfinite(dt[i].score),
          "{}: entry [{}] (image {}): bbox or score is not a finite number", options.detections_name, i,
          dt[i].image_id);
    in.detection_cell[i] = s.cell(dt[i].image_id, dt[i].category_id);
    counts.detections += in.detection_cell[i] >= 0 ? 1 : 0;
    counts.detections_other_category += position(s.categories, dt[i].category_id) < 0 ? 1 : 0;
  }
  check(counts.detections > 0 || counts.detections_other_category == 0,
        "{}: entry [0] has category_id {}, and none of the {} detections has a category that is evaluated ({})",
        options.detections_name, dt[0].category_id, dt.size(), fmt::join(s.categories, ", "));
  return in;
}

}  // namespace

std::array<std::array<double, 2>, kBoxAreaRanges> box_area_ranges() {
  return {{{0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}};
}

BoxEvalResult evaluate_boxes(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                             const BoxEvalOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const Setup s = make_setup(gt, options);
  const int images = static_cast<int>(s.images.size()), K = s.K();
  [[maybe_unused]] const int threads = std::max(1, options.threads);
  BoxEvalResult r;
  r.categories = s.use_categories ? s.categories : std::vector<int64_t>{-1};
  r.counts.images = images;
  const Entries in = gather(gt, dt, s, options, r.counts);

  const std::function<int64_t(int)> object_category = [&](int i) { return gt.annotations[i].category_id; };
  const std::function<int64_t(int)> detection_category = [&](int i) { return dt[i].category_id; };
  Cells objects_of(in.object_cell, images * K, s.use_categories ? nullptr : &object_category);
  Cells detections_of(in.detection_cell, images * K, s.use_categories ? nullptr : &detection_category);
  std::vector<Outcome> outcome(dt.size());
  const std::array<double, T> thresholds = oks_thresholds();
  const Matcher matcher{gt, dt, thresholds, outcome};
  // Every picture is evaluated on its own, so that the number of threads does not change the result.
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Scratch m;
#pragma omp for schedule(dynamic, 32)
    for (int image = 0; image < images; ++image) {
      for (int cell = image * K; cell < (image + 1) * K; ++cell) {
        const std::span<int> detections = detections_of[cell];
        if (detections.empty()) continue;
        std::ranges::stable_sort(detections, std::greater(), [&](int d) { return dt[d].score; });
        matcher(detections.first(std::min<size_t>(detections.size(), kMost)), objects_of[cell], m);
      }
    }
  }
  r.match_seconds = seconds_since(start);

  const auto middle = std::chrono::steady_clock::now();
  const PrecisionRecall curves{r.precision, r.recall, r.scores, r.categories.size(), A, M};
  curves.clear();
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int k = 0; k < K; ++k) {
    for (int m = 0; m < M; ++m) {
      // Equal scores keep the order in which the reference concatenates them: pictures by ascending id, best first in
      // each.
      std::vector<int> ranking;
      for (int image = 0; image < images; ++image) {
        const std::span<int> detections = detections_of[image * K + k];
        const size_t kept = std::min<size_t>(detections.size(), kBoxMaxDetections[m]);
        ranking.insert(ranking.end(), detections.begin(), detections.begin() + static_cast<std::ptrdiff_t>(kept));
      }
      std::ranges::stable_sort(ranking, std::greater(), [&](int d) { return dt[d].score; });
      std::vector<Outcome> outcomes;
      std::vector<double> scores;
      for (const int d : ranking) {
        outcomes.push_back(outcome[d]);
        scores.push_back(dt[d].score);
      }
      curves.accumulate(outcomes, scores, in.to_find[k], k, m);
    }
  }
  for (int cell = 0; cell < images * K; ++cell) {
    r.counts.detections_over_limit += std::max<int64_t>(0, static_cast<int64_t>(detections_of[cell].size()) - kMost);
  }
  for (size_t i = 0; i < kLines.size(); ++i) {
    const Line& line = kLines[i];
    r.stats[i] = line.precision ? mean_of_curves(r.precision, R, curves, line.threshold, line.area, line.limit)
                                : mean_of_curves(r.recall, 1, curves, line.threshold, line.area, line.limit);
  }
  r.accumulate_seconds = seconds_since(middle);
  return r;
}

std::string box_summary(const BoxEvalResult& result) {
  constexpr std::array<const char*, A> areas = {"all", "small", "medium", "large"};
  std::string text;
  for (size_t i = 0; i < kLines.size(); ++i) {
    const Line& line = kLines[i];
    text += fmt::format(" {} @[ IoU={:<9} | area={:>6} | maxDets={:>3} ] = {:0.3f}{}",
                        line.precision ? "Average Precision  (AP)" : "Average Recall     (AR)",
                        line.threshold == kAny    ? "0.50:0.95"
                        : line.threshold == kAt50 ? "0.50"
                                                  : "0.75",
                        areas[line.area], kBoxMaxDetections[line.limit], result.stats[i],
                        i + 1 < kLines.size() ? "\n" : "");
  }
  return text;
}

std::string box_remarks(const BoxEvalResult& result) {
  const BoxEvalResult::Counts& c = result.counts;
  std::vector<std::string> lines;
  const auto say = [&](int64_t n, const std::string& what) {
    if (n > 0) lines.push_back(fmt::format("{} {}", n, what));
  };
  say(c.detections_other_category, "detections dropped: of a category that is not evaluated");
  say(c.detections_over_limit, fmt::format("detections dropped: beyond the best {} of a picture and category", kMost));
  say(c.objects_crowd, "objects ignored: crowds");
  return fmt::format("{}", fmt::join(lines, "\n"));
}

}  // namespace hr
