// The accuracy that the official HRNet project reports while it trains: how many heatmap peaks lie near the peaks of
// the target heatmaps.
#pragma once
#include "eval/decode.h"

namespace hr {

// Returns the mean over the joints of the share of samples whose peak is near the target's peak (PCK). As in accuracy()
// of the official lib/core/evaluate.py, a peak is near if its distance is below 1/2 after x is divided by h/10 and y by
// w/10; samples count for a joint only if both coordinates of the target's peak are above 1, and a joint without such
// samples is left out. NaN if no joint is left; the official code returns 0. Throws Error if the shapes differ.
// Thread-safe.
double heatmap_accuracy(const Heatmaps& predicted, const Heatmaps& target);

}  // namespace hr
