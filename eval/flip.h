// The flip test: what the network says about the mirrored picture, mirrored back and averaged in.
#pragma once
#include <span>
#include <vector>

#include "eval/decode.h"

namespace hr {

// out[n, y, x, k] = maps[n, y, w-1-x, mirror[k]]. mirror: Skeleton::mirror(). out: [n, h, w, joints], not maps itself.
void flip_back(const Heatmaps& maps, std::span<const int> mirror, std::span<float> out);

// out = (maps + flip_back(flipped)) / 2. `shift` moves the flipped-back maps one column to the right first (column 0
// stays): a crop mirrored about (w-1)/2 lies one heatmap column off, and the published weights expect the correction.
// out may be the memory of maps.
void flip_average(const Heatmaps& maps, const Heatmaps& flipped, std::span<const int> mirror, bool shift,
                  std::span<float> out);

}  // namespace hr
