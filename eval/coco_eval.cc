#include "eval/coco_eval.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "core/counted.h"
#include "core/error.h"
#include "data/formats/skeleton.h"
#include "eval/pairwise.h"
#include "eval/remarks.h"

namespace hr {
namespace {

constexpr int T = kOksThresholds, R = kRecallPoints, A = kAreaRanges;
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The outcome of a detection: one bit per area range and threshold, bit a * T + t.
struct Outcome {
  uint32_t hit = 0, ignored = 0;
};
constexpr uint32_t bit(int a, int t) { return 1u << (a * T + t); }
static_assert(A * T <= 32);

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

// Returns the position in a sorted list, -1 if it is not there. Neighbouring entries of a file mostly belong to the
// same picture, so the last position is tried first.
class Position {
 public:
  explicit Position(const std::vector<int64_t>& sorted) : sorted_(sorted) {}
  int operator()(int64_t id) {
    if (last_ < 0 || sorted_[last_] != id) {
      const auto at = std::lower_bound(sorted_.begin(), sorted_.end(), id);
      if (at == sorted_.end() || *at != id) return -1;
      last_ = static_cast<int>(at - sorted_.begin());
    }
    return last_;
  }

 private:
  const std::vector<int64_t>& sorted_;
  int last_ = -1;
};

std::vector<int64_t> sorted_unique(std::vector<int64_t> ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// Integers that sort in the order of falling scores: equal scores (both zeros too) are equal, NaN comes last.
uint64_t falling_key(double score) {
  if (std::isnan(score)) return ~uint64_t{0};
  const uint64_t bits = std::bit_cast<uint64_t>(score == 0 ? 0.0 : score);
  constexpr uint64_t sign = uint64_t{1} << 63;
  return (bits & sign) != 0 ? bits : ~(bits | sign);
}

// numpy.maximum(0, v): a NaN stays.
double positive_part(double v) { return v <= 0 ? 0 : v; }

// The range [low, high] of an area. A NaN lies inside every range, because only "outside" is tested.
bool outside(double area, const std::array<double, 2>& range) { return area < range[0] || area > range[1]; }

constexpr std::array<std::string_view, 3> kRules = {"pycocotools", "xtcocotools", "xtcocotools_crowd"};

struct Setup {
  std::vector<double> sigmas, spread;  // spread = (2 sigma)^2.
  CocoRules rules = CocoRules::pycocotools;
  std::vector<int64_t> all_images, images, categories;
  std::array<double, T> thresholds = oks_thresholds();
  std::array<std::array<double, 2>, A> areas = area_ranges();
  int joints() const { return static_cast<int>(sigmas.size()); }
};

bool any_third_value(const std::vector<double>& keypoints) {
  for (size_t i = 2; i < keypoints.size(); i += 3) {
    if (keypoints[i] > 0) return true;
  }
  return false;
}

bool without_joints(const CocoAnnotation& person, CocoRules rules) {
  return rules == CocoRules::xtcocotools ? !any_third_value(person.keypoints) : person.num_keypoints == 0;
}

Setup make_setup(const CocoAnnotations& gt, const CocoEvalOptions& options) {
  Setup s;
  s.sigmas = options.sigmas.empty() ? coco_skeleton().sigmas : options.sigmas;
  for (size_t k = 0; k < s.sigmas.size(); ++k) {
    check(s.sigmas[k] > 0 && std::isfinite(s.sigmas[k]), "sigma {} is {}; expected a positive number", k, s.sigmas[k]);
    const double two = s.sigmas[k] * 2;
    s.spread.push_back(two * two);
  }
  s.rules = options.rules;
  for (const CocoImage& image : gt.images) s.all_images.push_back(image.id);
  s.all_images = sorted_unique(std::move(s.all_images));
  s.images = options.images.empty() ? s.all_images : sorted_unique(options.images);
  for (const int64_t id : s.images) {
    check(std::binary_search(s.all_images.begin(), s.all_images.end(), id), "{}: has no image {} to evaluate", gt.path,
          id);
  }

  std::vector<int64_t> known;
  for (const CocoCategory& category : gt.categories) known.push_back(category.id);
  if (known.empty()) {  // The file has no list of categories, so they are collected from its people.
    for (const CocoAnnotation& person : gt.annotations) known.push_back(person.category_id);
  }
  known = sorted_unique(std::move(known));
  s.categories = options.categories.empty() ? known : sorted_unique(options.categories);
  for (const int64_t id : s.categories) {
    check(std::binary_search(known.begin(), known.end(), id), "{}: has no category {}; it has {}", gt.path, id,
          fmt::join(known, ", "));
  }
  return s;
}

// The extent of all points of a detection, including hidden ones; NaN if any of them is NaN.
double extent_area(const std::vector<double>& keypoints) {
  double x0 = keypoints[0], x1 = x0, y0 = keypoints[1], y1 = y0;
  bool nan = false;
  for (size_t i = 0; i < keypoints.size(); i += 3) {
    const double x = keypoints[i], y = keypoints[i + 1];
    x0 = std::min(x0, x);
    x1 = std::max(x1, x);
    y0 = std::min(y0, y);
    y1 = std::max(y1, y);
    nan |= std::isnan(x) || std::isnan(y);
  }
  return nan ? std::numeric_limits<double>::quiet_NaN() : (x1 - x0) * (y1 - y0);
}

// Returns the index of the first number that is not finite, or -1.
int first_not_finite(const std::vector<double>& v) {
  double zero = 0;  // Stays 0 for finite numbers only, so that one test covers all of them.
  for (const double x : v) zero += x * 0;
  if (zero == 0) return -1;
  return static_cast<int>(std::find_if(v.begin(), v.end(), [](double x) { return !std::isfinite(x); }) - v.begin());
}

void check_person(const CocoAnnotations& gt, size_t i, bool strict) {
  const CocoAnnotation& person = gt.annotations[i];
  if (!strict) return;
  int at = first_not_finite(person.keypoints);
  // The position of an unlabelled joint takes no part in OKS, and published files have NaN there.
  const auto unlabelled = [&](int k) {
    const size_t flag = static_cast<size_t>(k) / 3 * 3 + 2;
    return k % 3 != 2 && flag < person.keypoints.size() && person.keypoints[flag] <= 0;
  };
  const int size = static_cast<int>(person.keypoints.size());
  while (at >= 0 && at < size && (unlabelled(at) || std::isfinite(person.keypoints[at]))) ++at;
  check(at < 0 || at == size, "{}: annotations[{}] (id {}): keypoints[{}] is not a finite number", gt.path, i,
        person.id, at);
  const Box& b = person.box;
  check(std::isfinite(person.area + b.x + b.y + b.w + b.h),
        "{}: annotations[{}] (id {}): area or bbox is not a finite number", gt.path, i, person.id);
}

// Returns whether all numbers are finite. With `strict` it throws Error if one is not.
bool check_detection(const CocoDetection& d, size_t i, const Setup& s, const CocoEvalOptions& options, bool boxes) {
  check(boxes || !d.keypoints.empty(), "{}: entry [{}] (image {}) has no keypoints; expected 3 x {} numbers",
        options.detections_name, i, d.image_id, s.joints());
  check((d.lacks & coco_field::score) == 0, "{}: entry [{}] (image {}): no \"score\" (a number)",
        options.detections_name, i, d.image_id);
  const int at = first_not_finite(d.keypoints);
  const bool finite = at < 0 && std::isfinite(d.score);
  if (!options.strict || finite) return finite;
  if (at < 0)
    fail("{}: entry [{}] (image {}): score is {}, expected a finite number", options.detections_name, i, d.image_id,
         d.score);
  fail("{}: entry [{}] (image {}): keypoints[{}] is {}, expected a finite number", options.detections_name, i,
       d.image_id, at, d.keypoints[at]);
}

// The buffers of one thread.
struct Scratch {
  std::vector<std::pair<uint64_t, int>> order;
  std::vector<double> x, y;                     // [detections, joints].
  std::vector<double> similarity, used, reach;  // [joints].
  std::vector<double> oks;                      // [detections, people].
  std::vector<int> joint;
  std::vector<int> people;  // Those that are not ignored come first.
  std::vector<uint8_t> ignore, taken;
};

// Returns whether a detection is so far from a person that the OKS stays below 0.5, without a division. A joint with e
// >= 3.1 adds less than 0.046, so that with too few nearer joints the mean cannot reach 0.5. reach[k] is 1 / (2 spread
// area), 0 for joints that do not count. The products are off by a few roundings, which the margin of 0.49 covers many
// times over.
bool hopeless(const double* x, const double* y, const double* truth, const double* reach, int joints, size_t counted) {
  int near = 0;
  for (int k = 0; k < joints; ++k) {
    const double dx = x[k] - truth[3 * k], dy = y[k] - truth[3 * k + 1];
    near += (dx * dx + dy * dy) * reach[k] >= 3.1 ? 0 : 1;  // 0 times infinity counts as near.
  }
  const auto close = static_cast<double>(near) - static_cast<double>(joints - static_cast<int>(counted));
  const auto n = static_cast<double>(counted);
  return close + (n - close) * 0.046 < 0.49 * n;
}

// Writes the OKS of every kept detection with one person into column `g` of oks. With `prune`, an OKS below 0.5 may
// become 0, because no threshold distinguishes the two. (This is only allowed for finite numbers, since a NaN must
// reach the comparison.)
void oks_column(const CocoAnnotation& person, double person_area, const Setup& s, size_t detections, size_t g,
                size_t people, bool prune, Scratch& m) {
  const int joints = s.joints();
  m.joint.clear();
  if (person.keypoints.size() == 3 * s.sigmas.size()) {  // Other people have no visible joint; see check_compared().
    for (int k = 0; k < joints; ++k) {
      if (person.keypoints[3 * k + 2] > 0) m.joint.push_back(k);
    }
  }
  const bool flagged = !m.joint.empty();
  const double area = person_area + kEpsilon;
  // If no joint is labelled, the distance is measured to the box enlarged by its own size on every side.
  const Box& b = person.box;
  const double x0 = b.x - b.w, x1 = b.x + b.w * 2, y0 = b.y - b.h, y1 = b.y + b.h * 2;
  m.similarity.resize(joints);
  m.used.resize(joints);
  prune = prune && flagged && area > 0;
  if (prune) {
    m.reach.assign(joints, 0.0);
    for (const int k : m.joint) m.reach[k] = 1 / (2 * s.spread[k] * area);
  }
  for (size_t d = 0; d < detections; ++d) {
    const double* x = m.x.data() + d * joints;
    const double* y = m.y.data() + d * joints;
    double* e = m.similarity.data();
    if (prune && hopeless(x, y, person.keypoints.data(), m.reach.data(), joints, m.joint.size())) {
      m.oks[d * people + g] = 0;
      continue;
    }
    if (flagged) {
      const double* truth = person.keypoints.data();
      for (int k = 0; k < joints; ++k) {
        const double dx = x[k] - truth[3 * k], dy = y[k] - truth[3 * k + 1];
        e[k] = (dx * dx + dy * dy) / s.spread[k] / area / 2;
      }
    } else {
      for (int k = 0; k < joints; ++k) {
        const double dx = positive_part(x0 - x[k]) + positive_part(x[k] - x1);
        const double dy = positive_part(y0 - y[k]) + positive_part(y[k] - y1);
        e[k] = (dx * dx + dy * dy) / s.spread[k] / area / 2;
      }
    }
    const size_t n = flagged ? m.joint.size() : joints;
    for (size_t j = 0; j < n; ++j) {
      const double v = e[flagged ? m.joint[j] : j];
      m.used[j] = v > 746 ? 0.0 : std::exp(-v);  // exp(-746) is 0 in double.
    }
    m.oks[d * people + g] = pairwise_sum(m.used.data(), n) / static_cast<double>(n);
  }
}

// The cells of people and detections, and how the rules treat them. -1 in *_image means that the entry is not
// evaluated.
struct Gathered {
  std::vector<int> person_image, detection_image, detection_category;
  std::vector<double> person_area, dt_area;     // In square pixels.
  std::vector<uint8_t> person_ignored;          // In every area range.
  std::vector<std::array<int64_t, A>> to_find;  // [C]: the people that count, per area range.
};

// The part of the evaluation that is done picture by picture.
struct Matcher {
  const CocoAnnotations& gt;
  const std::vector<CocoDetection>& dt;
  const Setup& s;
  const Gathered& in;
  bool prune;                     // An OKS below every threshold need not be exact.
  std::vector<Outcome>& outcome;  // By detection.

  // Sorts the detections of one picture and category by score; the first `kept` (returned) count.
  static size_t sort_by_score(const std::vector<CocoDetection>& dt, std::span<int> detections, Scratch& m) {
    m.order.clear();
    for (const int d : detections) m.order.emplace_back(falling_key(dt[d].score), d);
    // The index breaks ties, which gives the order of the file, as a stable sort does.
    std::sort(m.order.begin(), m.order.end());
    for (size_t i = 0; i < detections.size(); ++i) detections[i] = m.order[i].second;
    return std::min<size_t>(detections.size(), kMaxDetections);
  }

  void compute_oks(std::span<const int> detections, std::span<const int> people, Scratch& m) const {
    m.oks.resize(detections.size() * people.size());
    if (people.empty()) return;
    const int joints = s.joints();
    m.x.resize(detections.size() * joints);
    m.y.resize(detections.size() * joints);
    for (size_t d = 0; d < detections.size(); ++d) {
      const double* from = dt[detections[d]].keypoints.data();
      for (int k = 0; k < joints; ++k) {
        m.x[d * joints + k] = from[3 * k];
        m.y[d * joints + k] = from[3 * k + 1];
      }
    }
    for (size_t g = 0; g < people.size(); ++g) {
      oks_column(gt.annotations[people[g]], in.person_area[people[g]], s, detections.size(), g, people.size(), prune,
                 m);
    }
  }

  // Greedy matching at one area range: each detection, best first, takes the best free person at every threshold.
  void match(std::span<const int> detections, std::span<const int> people, int a, Scratch& m,
             CocoImageMatches* kept) const {
    const size_t G = people.size();
    m.people.resize(G);
    m.ignore.resize(G);
    std::iota(m.people.begin(), m.people.end(), 0);
    for (size_t g = 0; g < G; ++g) {
      m.ignore[g] = in.person_ignored[people[g]] != 0 || outside(in.person_area[people[g]], s.areas[a]) ? 1 : 0;
    }
    std::stable_partition(m.people.begin(), m.people.end(), [&](int g) { return m.ignore[g] == 0; });

    m.taken.assign(G * T, 0);
    for (size_t d = 0; d < detections.size(); ++d) {
      const double* oks = m.oks.data() + d * G;
      const bool out = outside(in.dt_area[detections[d]], s.areas[a]);
      Outcome result;
      for (int t = 0; t < T; ++t) {
        const int best = best_person(oks, s.thresholds[t], m.taken.data() + t * G, people, m);
        bool matched = false;
        bool ignored = false;
        if (best >= 0) {
          const CocoAnnotation& person = gt.annotations[people[best]];
          m.taken[t * G + best] = 1;
          // pycocotools stores the matched id and later tests whether it is zero. Therefore a person with id 0 is never
          // found.
          matched = person.id != 0 || s.rules != CocoRules::pycocotools;
          ignored = m.ignore[best] != 0;
          if (kept != nullptr) kept->match[t * detections.size() + d] = people[best];
        }
        ignored = ignored || (!matched && out);
        if (ignored) result.ignored |= bit(a, t);
        if (matched && !ignored) result.hit |= bit(a, t);
        if (kept != nullptr) kept->ignored[t * detections.size() + d] = ignored ? 1 : 0;
      }
      outcome[detections[d]].hit |= result.hit;
      outcome[detections[d]].ignored |= result.ignored;
    }
  }

  int best_person(const double* oks, double threshold, const uint8_t* taken, std::span<const int> people,
                  const Scratch& m) const {
    double least = std::min(threshold, 1 - 1e-10);
    int best = -1;
    for (const int g : m.people) {
      if (taken[g] != 0 && !gt.annotations[people[g]].iscrowd) continue;
      // A match with a person that counts is never replaced by one that is ignored.
      if (best >= 0 && m.ignore[best] == 0 && m.ignore[g] != 0) break;
      if (oks[g] < least) continue;  // Equal OKS is allowed, so that the later person wins, and a NaN passes.
      least = oks[g];
      best = g;
    }
    return best;
  }
};

double mean_above_minus_one(const std::vector<double>& values) {
  std::vector<double> used;
  for (const double v : values) {
    if (v > -1) used.push_back(v);
  }
  return used.empty() ? -1.0 : pairwise_sum(used.data(), used.size()) / static_cast<double>(used.size());
}

// Returns the mean of precision (or recall) over one threshold or all, at one area range.
double average(const CocoEvalResult& r, bool precision, int threshold, int a) {
  const size_t C = r.categories.size();
  const size_t rows = precision ? R : 1;
  const std::vector<double>& from = precision ? r.precision : r.recall;
  std::vector<double> picked;
  for (int t = threshold < 0 ? 0 : threshold; t < (threshold < 0 ? T : threshold + 1); ++t) {
    for (size_t i = 0; i < rows * C; ++i) picked.push_back(from[(t * rows * C + i) * A + a]);
  }
  return mean_above_minus_one(picked);
}

// Computes the curves of one category from outcomes in the order of falling score over all pictures.
void accumulate(std::span<const Outcome> outcomes, std::span<const double> scores, const std::array<int64_t, A>& people,
                size_t c, size_t C, CocoEvalResult& r) {
  const std::array<double, R> recall_thresholds = recall_points();
  std::vector<double> precision;  // At every hit; between hits the precision only falls.
  std::vector<size_t> hit_at;
  for (int a = 0; a < A; ++a) {
    if (people[a] == 0) continue;
    const double total = static_cast<double>(people[a]);
    for (int t = 0; t < T; ++t) {
      precision.clear();
      hit_at.clear();
      double hits = 0;
      double misses = 0;
      for (size_t i = 0; i < outcomes.size(); ++i) {
        if ((outcomes[i].hit & bit(a, t)) != 0) {
          ++hits;
          precision.push_back(hits / (misses + hits + kEpsilon));
          hit_at.push_back(i);
        } else if ((outcomes[i].ignored & bit(a, t)) == 0) {
          ++misses;
        }
      }
      r.recall[(t * C + c) * A + a] = hits / total;
      for (size_t p = precision.size(); p-- > 1;) precision[p - 1] = std::max(precision[p - 1], precision[p]);
      size_t p = 0;  // The first hit whose recall reaches the point.
      for (int i = 0; i < R; ++i) {
        while (p < precision.size() && static_cast<double>(p + 1) / total < recall_thresholds[i]) ++p;
        const size_t at = ((static_cast<size_t>(t) * R + i) * C + c) * A + a;
        // Recall 0 is reached by the very first detection, whether it is a hit or not.
        const bool first = recall_thresholds[i] <= 0 && !outcomes.empty();
        r.precision[at] = p < precision.size() ? precision[p] : 0.0;
        r.scores[at] = first ? scores[0] : p < precision.size() ? scores[hit_at[p]] : 0.0;
      }
    }
  }
}

// The index of an image among those that are evaluated; kNotAsked if it exists but was not requested.
constexpr int kUnknown = -1, kNotAsked = -2;
int find_image(Position& position, const Setup& s, int64_t id) {
  const int at = position(id);
  if (at >= 0) return at;
  return std::binary_search(s.all_images.begin(), s.all_images.end(), id) ? kNotAsked : kUnknown;
}

// Throws Error where pycocotools ends, because the truth lacks a field that it reads of every person.
void check_fields(const CocoAnnotations& gt, size_t i, uint8_t fields) {
  const CocoAnnotation& person = gt.annotations[i];
  const auto lacks = static_cast<uint8_t>(person.lacks & fields);
  if (lacks == 0) return;
  const char* name = "category_id";
  const char* expected = "a whole number";
  for (const auto& [field, its_name, its_kind] :
       {std::tuple{coco_field::iscrowd, "iscrowd", "0 or 1"},
        {coco_field::area, "area", "a number of square pixels"},
        {coco_field::num_keypoints, "num_keypoints", "the number of labelled joints"},
        {coco_field::box, "bbox", "x, y, width, height"},
        {coco_field::keypoints, "keypoints", "x, y, v per joint"}}) {
    if ((lacks & field) == 0) continue;
    name = its_name;
    expected = its_kind;
  }
  fail(
      "{}: annotations[{}] (id {}): no \"{}\" ({}), without which pycocotools ends too; --fill-in takes what is usual "
      "for fields that the truth lacks",
      gt.path, i, person.id, name, expected);
}

void gather_people(const CocoAnnotations& gt, const Setup& s, const CocoEvalOptions& options, Gathered& in,
                   CocoEvalResult::Counts& counts) {
  check(options.fill_in || !gt.categories.empty(),
        "{}: no \"categories\", without which pycocotools ends too; --fill-in takes those of the annotations", gt.path);
  Position image_position(s.images), category_position(s.categories);
  in.person_image.assign(gt.annotations.size(), -1);
  in.person_area.assign(gt.annotations.size(), 0);
  in.person_ignored.assign(gt.annotations.size(), 0);
  in.to_find.resize(s.categories.size());
  for (size_t i = 0; i < gt.annotations.size(); ++i) {
    const CocoAnnotation& person = gt.annotations[i];
    const int image = find_image(image_position, s, person.image_id);
    if (!options.fill_in) check_fields(gt, i, coco_field::category);
    counts.people_unknown_image += image == kUnknown ? 1 : 0;
    if (image < 0) continue;
    const int category = category_position(person.category_id);
    if (category < 0) {
      ++counts.people_other_category;
      continue;
    }
    if (!options.fill_in && s.rules == CocoRules::pycocotools) {
      check_fields(gt, i, coco_field::iscrowd | coco_field::num_keypoints);
    }
    check_person(gt, i, options.strict);
    in.person_image[i] = image;
    in.person_area[i] = coco_person_area(person, s.rules);
    in.person_ignored[i] = coco_person_ignored(person, s.rules) ? 1 : 0;
    ++counts.people;
    counts.people_crowd += person.iscrowd ? 1 : 0;
    counts.people_without_joints += !person.iscrowd && in.person_ignored[i] != 0 ? 1 : 0;
    for (int a = 0; a < A; ++a) {
      in.to_find[category][a] += in.person_ignored[i] == 0 && !outside(in.person_area[i], s.areas[a]) ? 1 : 0;
    }
  }
}

// Returns whether detections have a bbox, which then decides their area. pycocotools and xtcocotools look at the first
// entry only: they end at a later entry without a bbox, and ignore later ones if the first entry has none.
bool have_boxes(const std::vector<CocoDetection>& dt, const std::string& name) {
  const bool first = !dt.empty() && dt[0].has_box;
  for (size_t i = 1; i < dt.size(); ++i) {
    if (dt[i].has_box == first) continue;
    fail(
        "{}: entry [{}] (image {}) has {} bbox, entry [0] has {}; a detection's area is of its bbox or of its "
        "keypoints, the same way in the whole file: give all entries a bbox, or none",
        name, i, dt[i].image_id, first ? "no" : "a", first ? "one" : "none");
  }
  return first;
}

void gather_detections(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const Setup& s,
                       const CocoEvalOptions& options, Gathered& in, CocoEvalResult::Counts& counts) {
  check(!options.strict || !dt.empty(), "{}: the list of detections is empty; nothing to evaluate against {}",
        options.detections_name, gt.path);
  const bool boxes = have_boxes(dt, options.detections_name);
  Position image_position(s.images), category_position(s.categories);
  in.detection_image.assign(dt.size(), -1);
  in.detection_category.assign(dt.size(), -1);
  in.dt_area.resize(dt.size());
  for (size_t i = 0; i < dt.size(); ++i) {
    const int image = find_image(image_position, s, dt[i].image_id);
    check(image != kUnknown,
          "{}: entry [{}] has image_id {}, which is not among the {} images of {}; is it of another split?",
          options.detections_name, i, dt[i].image_id, s.all_images.size(), gt.path);
    check(options.fill_in || (dt[i].lacks & coco_field::category) == 0,
          "{}: entry [{}] (image {}): no \"category_id\", without which pycocotools ends too; --fill-in takes 1",
          options.detections_name, i, dt[i].image_id);
    if (image == kNotAsked) continue;
    const int category = category_position(dt[i].category_id);
    if (category < 0) {
      check(!options.refuse_other_categories,
            "{}: entry [{}] has category_id {}; expected one of those that are evaluated: {}", options.detections_name,
            i, dt[i].category_id, fmt::join(s.categories, ", "));
      if (counts.detections_other_category++ == 0) counts.first_other_category = static_cast<int64_t>(i);
      continue;
    }
    counts.detections_not_finite += check_detection(dt[i], i, s, options, boxes) ? 0 : 1;
    if (s.rules != CocoRules::pycocotools && !any_third_value(dt[i].keypoints)) {
      ++counts.detections_unseen;
      continue;
    }
    in.detection_image[i] = image;
    in.detection_category[i] = category;
    in.dt_area[i] = boxes ? dt[i].box.w * dt[i].box.h : extent_area(dt[i].keypoints);
    ++counts.detections;
  }
}

// Checks the fields of a person that are read only if there is a detection to compare with (or, for the area, if the
// person counts), and the fields of a detection that are read only if there is a person.
void check_compared(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt, const Setup& s,
                    const CocoEvalOptions& options, const Gathered& in) {
  constexpr uint8_t has_detection = 1, has_person = 2;
  std::vector<uint8_t> pictures(s.images.size() * s.categories.size());
  const auto at = [&](int image, size_t category) {
    return static_cast<size_t>(image) * s.categories.size() + category;
  };
  for (size_t i = 0; i < dt.size(); ++i) {
    if (in.detection_image[i] >= 0) pictures[at(in.detection_image[i], in.detection_category[i])] |= has_detection;
  }
  Position category_position(s.categories);
  for (size_t i = 0; i < gt.annotations.size(); ++i) {
    const CocoAnnotation& person = gt.annotations[i];
    if (in.person_image[i] < 0) continue;
    uint8_t& picture = pictures[at(in.person_image[i], category_position(person.category_id))];
    picture |= has_person;
    const bool compared = (picture & has_detection) != 0;
    check(!compared || person.keypoints.size() == 3 * s.sigmas.size() || !any_third_value(person.keypoints),
          "{}: annotations[{}] (id {}) has {} keypoint numbers; expected 3 x {} (one sigma per joint)", gt.path, i,
          person.id, person.keypoints.size(), s.joints());
    if (person.lacks == 0) continue;
    if (!options.fill_in && s.rules == CocoRules::pycocotools) {
      if (in.person_ignored[i] == 0 || compared) check_fields(gt, i, coco_field::area);
      if (compared) check_fields(gt, i, coco_field::box | coco_field::keypoints);
      continue;
    }
    check((person.lacks & coco_field::keypoints) == 0 || in.person_ignored[i] != 0,
          "{}: annotations[{}] (id {}) counts {} keypoints but lists none", gt.path, i, person.id,
          person.num_keypoints);
    check((person.lacks & coco_field::box) == 0 || any_third_value(person.keypoints),
          "{}: annotations[{}] (id {}) has neither a visible joint nor a bbox to measure from", gt.path, i, person.id);
  }
  for (size_t i = 0; i < dt.size(); ++i) {
    if (in.detection_image[i] < 0 || dt[i].keypoints.size() == 3 * s.sigmas.size()) continue;
    check(pictures[at(in.detection_image[i], in.detection_category[i])] == has_detection,
          "{}: entry [{}] (image {}) has {} keypoint numbers; expected 3 x {} (one sigma per joint)",
          options.detections_name, i, dt[i].image_id, dt[i].keypoints.size(), s.joints());
  }
}

// Matches one picture, one category after the other. Sorts `people` and `detections` (of this picture) by category and
// score, and marks the best 20 in `counts`.
void match_image(const Matcher& matcher, int image, std::span<int> people, std::span<int> detections,
                 std::vector<uint8_t>& counts, Scratch& m, std::vector<CocoImageMatches>* keep) {
  const auto person_category = [&](int i) { return matcher.gt.annotations[i].category_id; };
  const auto detection_category = [&](int i) { return matcher.dt[i].category_id; };
  if (matcher.s.categories.size() > 1) {
    std::ranges::stable_sort(people, {}, person_category);
    std::ranges::stable_sort(detections, {}, detection_category);
  }
  while (!people.empty() || !detections.empty()) {
    constexpr int64_t none = std::numeric_limits<int64_t>::max();
    const int64_t category = std::min(people.empty() ? none : person_category(people[0]),
                                      detections.empty() ? none : detection_category(detections[0]));
    size_t g = 0, d = 0;
    while (g < people.size() && person_category(people[g]) == category) ++g;
    while (d < detections.size() && detection_category(detections[d]) == category) ++d;
    const std::span<const int> here = people.first(g);
    const std::span<const int> best = detections.first(Matcher::sort_by_score(matcher.dt, detections.first(d), m));
    for (const int i : best) counts[i] = 1;
    matcher.compute_oks(best, here, m);
    CocoImageMatches* kept = nullptr;
    if (keep != nullptr) {
      kept = &keep->emplace_back();
      kept->image_id = matcher.s.images[image];
      kept->category_id = category;
      kept->detections.assign(best.begin(), best.end());
      kept->people.assign(here.begin(), here.end());
      kept->oks = m.oks;
      kept->match.assign(T * best.size(), -1);
      kept->ignored.assign(T * best.size(), 0);
    }
    for (int a = 0; a < A; ++a) matcher.match(best, here, a, m, a == 0 ? kept : nullptr);
    people = people.subspan(g);
    detections = detections.subspan(d);
  }
}

std::array<double, 10> ten_numbers(const CocoEvalResult& r) {
  constexpr int any = -1, at50 = 0, at75 = 5, all = 0, medium = 1, large = 2;
  std::array<double, 10> stats{};
  for (int half = 0; half < 2; ++half) {
    double* v = stats.data() + 5 * half;
    const bool precision = half == 0;
    v[0] = average(r, precision, any, all);
    v[1] = average(r, precision, at50, all);
    v[2] = average(r, precision, at75, all);
    v[3] = average(r, precision, any, medium);
    v[4] = average(r, precision, any, large);
  }
  return stats;
}

}  // namespace

std::string_view coco_rules_name(CocoRules rules) { return kRules.at(static_cast<size_t>(rules)); }

double coco_person_area(const CocoAnnotation& person, CocoRules rules) {
  const bool from_box = rules == CocoRules::xtcocotools_crowd || (rules == CocoRules::xtcocotools && !person.has_area);
  return from_box ? person.box.w * person.box.h * 0.53 : person.area;
}

bool coco_person_ignored(const CocoAnnotation& person, CocoRules rules) {
  return person.iscrowd || without_joints(person, rules);
}

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
  const Setup s = make_setup(gt, options);
  const int images = static_cast<int>(s.images.size()), C = static_cast<int>(s.categories.size());
  [[maybe_unused]] const int threads = std::max(1, options.threads);
  CocoEvalResult r;
  r.categories = s.categories;
  r.counts.images = images;
  Gathered in;
  gather_people(gt, s, options, in, r.counts);
  gather_detections(gt, dt, s, options, in, r.counts);
  check_compared(gt, dt, s, options, in);
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
  const Matcher matcher{gt, dt, s, in, prune, outcome};
  // Every picture is evaluated on its own, so that the number of threads does not change the result.
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Scratch m;
#pragma omp for schedule(dynamic, 32)
    for (int image = 0; image < images; ++image) {
      match_image(matcher, image, people_of[image], detections_of[image], counts, m,
                  options.keep_matches ? &matches[image] : nullptr);
    }
  }
  for (std::vector<CocoImageMatches>& list : matches) {
    for (CocoImageMatches& match : list) r.matches.push_back(std::move(match));
  }
  r.match_seconds = seconds_since(start);

  const auto middle = std::chrono::steady_clock::now();
  r.precision.assign(static_cast<size_t>(T) * R * C * A, -1.0);
  r.scores = r.precision;
  r.recall.assign(static_cast<size_t>(T) * C * A, -1.0);
  // Equal scores keep the order in which the reference concatenates them: pictures by ascending id, best first in each.
  std::vector<std::vector<std::pair<uint64_t, int>>> ranking(C);
  for (size_t i = 0; i < detections_of.items.size(); ++i) {
    const int d = detections_of.items[i];
    if (counts[d] != 0) ranking[in.detection_category[d]].emplace_back(falling_key(dt[d].score), static_cast<int>(i));
  }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (threads > 1)
  for (int c = 0; c < C; ++c) {
    std::sort(ranking[c].begin(), ranking[c].end());
    std::vector<Outcome> outcomes;
    std::vector<double> scores;
    for (const auto& [key, i] : ranking[c]) {
      outcomes.push_back(outcome[detections_of.items[i]]);
      scores.push_back(dt[detections_of.items[i]].score);
    }
    accumulate(outcomes, scores, in.to_find[c], c, C, r);
  }
  r.counts.detections_over_limit = r.counts.detections - std::count(counts.begin(), counts.end(), 1);
  r.stats = ten_numbers(r);
  r.accumulate_seconds = seconds_since(middle);
  return r;
}

std::string coco_summary(const CocoEvalResult& result) {
  struct Line {
    const char *title, *iou, *area;
  };
  constexpr const char* ap = "Average Precision  (AP)";
  constexpr const char* ar = "Average Recall     (AR)";
  constexpr const char* range = "0.50:0.95";
  constexpr Line lines[10] = {{ap, range, "all"},    {ap, "0.50", "all"}, {ap, "0.75", "all"}, {ap, range, "medium"},
                              {ap, range, "large"},  {ar, range, "all"},  {ar, "0.50", "all"}, {ar, "0.75", "all"},
                              {ar, range, "medium"}, {ar, range, "large"}};
  std::string text;
  for (int i = 0; i < 10; ++i) {
    text += fmt::format("{} {} @[ IoU={:<9} | area={:>6} | maxDets={:>3} ] = {:0.3f}", i == 0 ? "" : "\n",
                        lines[i].title, lines[i].iou, lines[i].area, kMaxDetections, result.stats[i]);
  }
  return text;
}

std::vector<std::string> coco_remark_list(const CocoEvalResult& result) {
  const CocoEvalResult::Counts& c = result.counts;
  std::vector<std::string> lines = result.doubts;
  const auto say = [&](int64_t n, const std::string& one, const std::string& several, const std::string& what) {
    if (n > 0) lines.push_back(fmt::format("{} {}", counted(n, one, several), what));
  };
  const auto detections = [&](int64_t n, const std::string& what) { say(n, "detection", "detections", what); };
  const auto people = [&](int64_t n, const std::string& what) { say(n, "person", "people", what); };
  detections(
      c.detections_other_category,
      fmt::format("dropped: of a category that is not evaluated (the first is entry [{}])", c.first_other_category));
  detections(c.detections_unseen, "dropped: no joint has a score above 0");
  detections(c.detections_over_limit, fmt::format("dropped: beyond the best {} of a picture", kMaxDetections));
  detections(c.detections_not_finite, "with numbers that are not finite: kept as the reference treats them");
  people(c.people_other_category, "dropped: of a category that is not evaluated");
  people(c.people_unknown_image, "dropped: of an image that is not in the truth's list of images");
  people(c.people_crowd, "ignored: marked as a crowd");
  people(c.people_without_joints, "ignored: no labelled joint");
  return lines;
}

std::string coco_remarks(const CocoEvalResult& result) {
  return fmt::format("{}", fmt::join(coco_remark_list(result), "\n"));
}

}  // namespace hr
