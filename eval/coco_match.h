// The second part of the keypoint evaluation (eval/coco_eval.h): which detection finds which person.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "eval/coco_setup.h"
#include "eval/precision_recall.h"

namespace hr {

// Returns an integer that sorts in the order of falling scores: equal scores (both zeros too) are equal, NaN comes
// last.
uint64_t falling_score_key(double score);

// The buffers of one thread.
struct CocoMatchBuffers {
  std::vector<std::pair<uint64_t, int>> order;
  std::vector<double> x, y;                     // [detections, joints].
  std::vector<double> similarity, used, reach;  // [joints].
  std::vector<double> oks;                      // [detections, people].
  std::vector<int> joint;
  std::vector<int> people;  // Those that are not ignored come first.
  std::vector<uint8_t> ignore, taken;
};

// The part of the evaluation that is done picture by picture. Different pictures may be matched at the same time, each
// thread with its own buffers.
struct CocoMatcher {
  const CocoAnnotations& gt;
  const std::vector<CocoDetection>& dt;
  const CocoSetup& s;
  const CocoEntries& in;
  bool prune;                     // An OKS below every threshold need not be exact.
  std::vector<Outcome>& outcome;  // By detection.

  // Matches one picture, one category after the other. Sorts `people` and `detections` (of this picture) by category
  // and score, marks the best 20 in `counts`, and appends the matches to `keep` if it is not null.
  void match_image(int image, std::span<int> people, std::span<int> detections, std::vector<uint8_t>& counts,
                   CocoMatchBuffers& m, std::vector<CocoImageMatches>* keep) const;

 private:
  size_t sort_by_score(std::span<int> detections, CocoMatchBuffers& m) const;
  void compute_oks(std::span<const int> detections, std::span<const int> people, CocoMatchBuffers& m) const;
  void match(std::span<const int> detections, std::span<const int> people, int a, CocoMatchBuffers& m,
             CocoImageMatches* kept) const;
  int best_person(const double* oks, double threshold, const uint8_t* taken, std::span<const int> people,
                  const CocoMatchBuffers& m) const;
};

}  // namespace hr
