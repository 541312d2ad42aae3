// Target heatmaps: an unnormalised Gaussian (peak 1) per joint, cut off at 3 sigma.
#pragma once
#include <span>

#include "data/crops/augment.h"

namespace hr {

// Draws the targets of one person. `joints` is [K][x, y, v] in crop pixels, `heatmap` is [h, w, K] at a quarter of the
// crop's size, and `weight` is [K]; both outputs are overwritten. With s = sigma, a joint's Gaussian has its centre at
// mu = trunc(x/4 + 0.5) and is drawn in the window mu-3s..mu+3s as far as that overlaps the map, even if the joint
// itself is outside of the map.
// official: weight min(v, 1); a joint is dropped (weight 0) if mu-3s >= size or mu+3s+1 < 0.
// seed: weight v * joint_weights; dropped if mu-3s > size-1 or mu+3s < 0.
// The two recipes differ at mu = -3s-1, where the official one keeps the weight although nothing is drawn.
// Encoding::dark draws about x/4 itself, over the whole map; Encoding::udp about x (w-1)/(4w-1), in the window of the
// nearest whole pixel. Both drop joints by the same comparisons.
// An output that is an empty span is skipped. profiles [w + h, K], overwritten: the 1-D Gaussians along x, then along
// y. The heatmap is their outer product, computed in double and rounded to float; ops/heatmaps does that on the device.
void draw_targets(Recipe recipe, std::span<const double> joints, std::span<const float> joint_weights, double sigma,
                  int w, int h, std::span<float> heatmap, std::span<float> weight,
                  Encoding encoding = Encoding::quarter, std::span<double> profiles = {});

}  // namespace hr
