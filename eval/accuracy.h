// The accuracy in the official training log: the share of joints whose predicted peak lies within half of a tenth of
// the map from the target's peak.
#pragma once
#include <vector>

#include "eval/decode.h"

namespace hr {

struct HeatmapAccuracy {
  std::vector<double> joints;  // The share of hits per joint; -1 if no target counts.
  double mean = 0;             // The mean over the joints that count, 0 if none does.
  int counted = 0;             // The number of joints that count.
};

// Targets whose peak has x <= 1 or y <= 1 do not count. Distances in x are divided by h/10 and those in y by w/10. The
// official code exchanges them, and the numbers must be comparable.
HeatmapAccuracy heatmap_accuracy(const Heatmaps& output, const Heatmaps& target, double threshold = 0.5);

}  // namespace hr
