// Shows what a network makes of the samples on which it trains, and what it should make of them.
#pragma once
#include <vector>

#include "data/loader.h"
#include "eval/decode.h"

namespace hr {

// The target heatmaps [n, h/4, w/4, joints] of the first n samples of a batch. A batch for a GPU has only the profiles
// from which the device draws them; the numbers are the same. Throws Error if the batch has neither.
std::vector<float> target_heatmaps(const Batch& batch, int n);

// A picture with a row for each of the first samples, at most `most`. From left to right it shows the target joints
// that are labelled, the same joints as predicted (hollow if their score is at most 0.2), and the maximum over the
// joints of the target heatmaps and of the predicted ones, from 0 (blue) to 1 (red). `wanted` and `predicted` are the
// heatmaps of the whole batch. `bgr`: the images have blue first. Throws Error if sizes do not fit.
Image sample_picture(const Batch& batch, const Heatmaps& wanted, const Heatmaps& predicted, const Skeleton& skeleton,
                     const DecodeOptions& decoding, bool bgr, int most = 4);

}  // namespace hr
