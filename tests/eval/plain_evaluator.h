// The COCO keypoint evaluation, written as plainly as the rules read, with whole arrays and without optimisation.
// eval/coco_eval is compared with it. The two share only the data structures and the names of the rules.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "data/formats/coco.h"
#include "eval/coco_eval.h"

namespace hr::test {

struct PlainResult {
  std::vector<double> precision, recall, scores;  // [10,101,C,3,1], [10,C,3,1], [10,101,C,3,1]
  std::array<double, 10> stats{};
};

// Sums in numpy's pairwise order, written out over a copy.
inline double plain_sum(const std::vector<double>& v) {
  const size_t n = v.size();
  if (n > 128) {
    const size_t left = n / 2 / 8 * 8;
    return plain_sum({v.begin(), v.begin() + left}) + plain_sum({v.begin() + left, v.end()});
  }
  double sum = 0;
  size_t done = 0;
  if (n >= 8) {
    std::array<double, 8> lane{};
    std::copy_n(v.begin(), 8, lane.begin());
    for (done = 8; done < n / 8 * 8; ++done) lane[done % 8] += v[done];
    for (size_t width = 1; width < 8; width *= 2) {
      for (size_t i = 0; i < 8; i += 2 * width) lane[i] += lane[i + width];
    }
    sum = lane[0];
  }
  for (; done < n; ++done) sum += v[done];
  return sum;
}

inline PlainResult plain_evaluate(const CocoAnnotations& gt, const std::vector<CocoDetection>& dt,
                                  const std::vector<double>& sigmas, CocoRules rules = CocoRules::pycocotools) {
  const bool xt = rules != CocoRules::pycocotools;
  const double eps = std::numeric_limits<double>::epsilon();
  std::vector<double> thresholds, recalls;
  for (int i = 0; i < 10; ++i) thresholds.push_back(i == 9 ? 0.95 : i * 0.049999999999999996 + 0.5);
  for (int i = 0; i < 101; ++i) recalls.push_back(i == 100 ? 1.0 : i * 0.01);
  const std::vector<std::array<double, 2>> ranges = {{0, 1e10}, {1024, 9216}, {9216, 1e10}};
  std::set<int64_t> images, categories;
  for (const auto& image : gt.images) images.insert(image.id);
  for (const auto& category : gt.categories) categories.insert(category.id);
  const auto seen = [](const std::vector<double>& keypoints) {
    for (size_t i = 2; i < keypoints.size(); i += 3) {
      if (keypoints[i] > 0) return true;
    }
    return false;
  };
  const auto area_of = [&](const CocoAnnotation& g) {
    if (rules == CocoRules::xtcocotools_crowd) return g.box.w * g.box.h * 0.53;
    if (rules == CocoRules::xtcocotools && !g.has_area) return g.box.w * g.box.h * 0.53;
    return g.area;
  };
  const auto falling = [](double a, double b) { return a > b || (std::isnan(b) && !std::isnan(a)); };

  const size_t C = categories.size();
  PlainResult r;
  r.precision.assign(10 * 101 * C * 3, -1);
  r.scores = r.precision;
  r.recall.assign(10 * C * 3, -1);

  size_t c = 0;
  for (const int64_t category : categories) {
    for (size_t a = 0; a < 3; ++a) {
      const auto outside = [&](double area) { return area < ranges[a][0] || area > ranges[a][1]; };
      std::vector<double> all_scores;
      std::vector<std::vector<int>> all_found(10), all_ignored(10);
      int to_find = 0;
      for (const int64_t image : images) {
        std::vector<const CocoAnnotation*> people;
        for (const auto& g : gt.annotations) {
          if (g.image_id == image && g.category_id == category) people.push_back(&g);
        }
        std::vector<const CocoDetection*> found;
        for (const auto& d : dt) {
          if (xt && !seen(d.keypoints)) continue;
          if (d.image_id == image && d.category_id == category) found.push_back(&d);
        }
        const auto ignored = [&](const CocoAnnotation* g) {
          const bool nothing = rules == CocoRules::xtcocotools ? !seen(g->keypoints) : g->num_keypoints == 0;
          return g->iscrowd || nothing || outside(area_of(*g));
        };
        std::stable_sort(people.begin(), people.end(), [&](auto* x, auto* y) { return ignored(x) < ignored(y); });
        std::stable_sort(found.begin(), found.end(), [&](auto* x, auto* y) { return falling(x->score, y->score); });
        if (found.size() > 20) found.resize(20);
        for (const auto* g : people) to_find += !ignored(g);

        std::vector<std::vector<double>> oks(found.size(), std::vector<double>(people.size()));
        for (size_t d = 0; d < found.size(); ++d) {
          for (size_t g = 0; g < people.size(); ++g) {
            const auto& truth = people[g]->keypoints;
            int flagged = 0;
            for (size_t k = 0; k < sigmas.size(); ++k) flagged += truth[3 * k + 2] > 0;
            std::vector<double> similarity;
            for (size_t k = 0; k < sigmas.size(); ++k) {
              const double x = found[d]->keypoints[3 * k], y = found[d]->keypoints[3 * k + 1];
              double dx = x - truth[3 * k], dy = y - truth[3 * k + 1];
              if (flagged == 0) {
                const Box& b = people[g]->box;
                const auto above = [](double v) { return std::isnan(v) ? v : std::max(0.0, v); };
                dx = above(b.x - b.w - x) + above(x - (b.x + 2 * b.w));
                dy = above(b.y - b.h - y) + above(y - (b.y + 2 * b.h));
              }
              const double variance = (2 * sigmas[k]) * (2 * sigmas[k]);
              const double e = (dx * dx + dy * dy) / variance / (area_of(*people[g]) + eps) / 2;
              if (flagged == 0 || truth[3 * k + 2] > 0) similarity.push_back(std::exp(-e));
            }
            oks[d][g] = plain_sum(similarity) / static_cast<double>(similarity.size());
          }
        }
        for (const auto* d : found) all_scores.push_back(d->score);
        for (size_t t = 0; t < 10; ++t) {
          std::vector<int> taken(people.size());
          for (size_t d = 0; d < found.size(); ++d) {
            double bound = std::min(thresholds[t], 1 - 1e-10);
            int match = -1;
            for (size_t g = 0; g < people.size(); ++g) {
              if (taken[g] && !people[g]->iscrowd) continue;
              if (match > -1 && !ignored(people[match]) && ignored(people[g])) break;
              if (oks[d][g] < bound) continue;
              bound = oks[d][g];
              match = static_cast<int>(g);
            }
            bool real = false;
            bool ignore = false;
            if (match != -1) {
              taken[match] = 1;
              real = xt || people[match]->id != 0;
              ignore = ignored(people[match]);
            }
            double x0 = 1e300, x1 = -1e300, y0 = 1e300, y1 = -1e300;
            bool nan = false;
            for (size_t k = 0; k < sigmas.size(); ++k) {
              const double x = found[d]->keypoints[3 * k], y = found[d]->keypoints[3 * k + 1];
              nan = nan || std::isnan(x) || std::isnan(y);
              x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = std::max(y1, y);
            }
            if (!real && !nan && outside((x1 - x0) * (y1 - y0))) ignore = true;
            all_found[t].push_back(real);
            all_ignored[t].push_back(ignore);
          }
        }
      }
      if (to_find == 0) continue;
      std::vector<size_t> order(all_scores.size());
      for (size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::stable_sort(order.begin(), order.end(),
                       [&](size_t x, size_t y) { return falling(all_scores[x], all_scores[y]); });
      for (size_t t = 0; t < 10; ++t) {
        std::vector<double> recall, precision;
        double tp = 0, fp = 0;
        for (const size_t i : order) {
          tp += all_found[t][i] && !all_ignored[t][i];
          fp += !all_found[t][i] && !all_ignored[t][i];
          recall.push_back(tp / to_find);
          precision.push_back(tp / (fp + tp + eps));
        }
        r.recall[(t * C + c) * 3 + a] = recall.empty() ? 0.0 : recall.back();
        for (size_t i = precision.size(); i-- > 1;) {
          if (precision[i] > precision[i - 1]) precision[i - 1] = precision[i];
        }
        for (size_t i = 0; i < 101; ++i) {
          const size_t at = std::lower_bound(recall.begin(), recall.end(), recalls[i]) - recall.begin();
          const bool reached = at < recall.size();
          r.precision[((t * 101 + i) * C + c) * 3 + a] = reached ? precision[at] : 0.0;
          r.scores[((t * 101 + i) * C + c) * 3 + a] = reached ? all_scores[order[at]] : 0.0;
        }
      }
    }
    ++c;
  }

  const auto mean = [&](bool of_precision, int threshold, size_t a) {
    const auto& from = of_precision ? r.precision : r.recall;
    const size_t per_threshold = from.size() / 10;
    std::vector<double> used;
    for (size_t i = a; i < from.size(); i += 3) {
      if ((threshold < 0 || i / per_threshold == static_cast<size_t>(threshold)) && from[i] > -1)
        used.push_back(from[i]);
    }
    return used.empty() ? -1.0 : plain_sum(used) / static_cast<double>(used.size());
  };
  for (int half = 0; half < 2; ++half) {
    const bool p = half == 0;
    r.stats[half * 5 + 0] = mean(p, -1, 0);
    r.stats[half * 5 + 1] = mean(p, 0, 0);
    r.stats[half * 5 + 2] = mean(p, 5, 0);
    r.stats[half * 5 + 3] = mean(p, -1, 1);
    r.stats[half * 5 + 4] = mean(p, -1, 2);
  }
  return r;
}

}  // namespace hr::test
