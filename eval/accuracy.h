// The accuracy of the official training log: the share of joints whose predicted peak lies within half of a tenth of
// the map from the target's peak.
#pragma once
#include <vector>

#include "eval/decode.h"

namespace hr {

struct HeatmapAccuracy {
  std::vector<double> joints;  // share of hits per joint, -1 where no target counts
  double mean = 0;             // over the joints that count, 0 if none does
  int counted = 0;             // how many joints counted
};

// Targets whose peak has x <= 1 or y <= 1 do not count. Distances in x are divided by h/10 and those in y by w/10: the
// official code has them the wrong way round, and the numbers are to be comparable.
HeatmapAccuracy heatmap_accuracy(const Heatmaps& output, const Heatmaps& target, double threshold = 0.5);

}  // namespace hr
