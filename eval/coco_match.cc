#include "eval/coco_match.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "eval/pairwise.h"
#include "eval/selection.h"

namespace hr {
namespace {

constexpr int T = kOksThresholds, A = kAreaRanges;
constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
static_assert(A * T <= 64);
constexpr uint64_t kEveryThreshold = (uint64_t{1} << T) - 1;  // Times outcome_bit(a, 0): the bits of one area range.

// numpy.maximum(0, v): a NaN stays.
double positive_part(double v) { return v <= 0 ? 0 : v; }

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
void oks_column(const CocoAnnotation& person, double person_area, const CocoSetup& s, size_t detections, size_t g,
                size_t people, bool prune, CocoMatchBuffers& m) {
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

// Returns whether every OKS of a detection is below the lowest threshold. A NaN is not: it passes every threshold.
bool finds_nobody(const double* oks, size_t people, double lowest) {
  for (size_t g = 0; g < people; ++g) {
    if (!(oks[g] < lowest)) return false;
  }
  return true;
}

}  // namespace

uint64_t falling_score_key(double score) {
  if (std::isnan(score)) return ~uint64_t{0};
  const uint64_t bits = std::bit_cast<uint64_t>(score == 0 ? 0.0 : score);
  constexpr uint64_t sign = uint64_t{1} << 63;
  return (bits & sign) != 0 ? bits : ~(bits | sign);
}

// Sorts the detections of one picture and category by score; the first `kept` (returned) count.
size_t CocoMatcher::sort_by_score(std::span<int> detections, CocoMatchBuffers& m) const {
  m.order.clear();
  for (const int d : detections) m.order.emplace_back(falling_score_key(dt[d].score), d);
  // The index breaks ties, which gives the order of the file, as a stable sort does.
  std::sort(m.order.begin(), m.order.end());
  for (size_t i = 0; i < detections.size(); ++i) detections[i] = m.order[i].second;
  return std::min<size_t>(detections.size(), kMaxDetections);
}

void CocoMatcher::compute_oks(std::span<const int> detections, std::span<const int> people, CocoMatchBuffers& m) const {
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
    oks_column(gt.annotations[people[g]], in.person_area[people[g]], s, detections.size(), g, people.size(), prune, m);
  }
}

// Greedy matching at one area range: each detection, best first, takes the best free person at every threshold.
void CocoMatcher::match(std::span<const int> detections, std::span<const int> people, int a, CocoMatchBuffers& m,
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
    if (finds_nobody(oks, G, s.thresholds[0])) {  // The usual case of a false alarm, the same at every threshold.
      if (out) outcome[detections[d]].ignored |= outcome_bit(a, 0) * kEveryThreshold;
      for (int t = 0; kept != nullptr && t < T; ++t) kept->ignored[t * detections.size() + d] = out ? 1 : 0;
      continue;
    }
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
      if (ignored) result.ignored |= outcome_bit(a, t);
      if (matched && !ignored) result.hit |= outcome_bit(a, t);
      if (kept != nullptr) kept->ignored[t * detections.size() + d] = ignored ? 1 : 0;
    }
    outcome[detections[d]].hit |= result.hit;
    outcome[detections[d]].ignored |= result.ignored;
  }
}

int CocoMatcher::best_person(const double* oks, double threshold, const uint8_t* taken, std::span<const int> people,
                             const CocoMatchBuffers& m) const {
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

void CocoMatcher::match_image(int image, std::span<int> people, std::span<int> detections, std::vector<uint8_t>& counts,
                              CocoMatchBuffers& m, std::vector<CocoImageMatches>* keep) const {
  const auto person_category = [&](int i) { return gt.annotations[i].category_id; };
  const auto detection_category = [&](int i) { return dt[i].category_id; };
  if (s.categories.size() > 1) {
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
    const std::span<const int> best = detections.first(sort_by_score(detections.first(d), m));
    for (const int i : best) counts[i] = 1;
    compute_oks(best, here, m);
    CocoImageMatches* kept = nullptr;
    if (keep != nullptr) {
      kept = &keep->emplace_back();
      kept->image_id = s.images[image];
      kept->category_id = category;
      kept->detections.assign(best.begin(), best.end());
      kept->people.assign(here.begin(), here.end());
      kept->oks = m.oks;
      kept->match.assign(T * best.size(), -1);
      kept->ignored.assign(T * best.size(), 0);
    }
    for (int a = 0; a < A; ++a) match(best, here, a, m, a == 0 ? kept : nullptr);
    people = people.subspan(g);
    detections = detections.subspan(d);
  }
}

}  // namespace hr
