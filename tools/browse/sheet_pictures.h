// The pictures of the contact sheets: a crop with its joints, and one under its target heatmaps.
#pragma once
#include <string>

#include "data/dataset.h"

namespace hr {

// The crop with the joints of its placement drawn on it; hollow ones are hidden.
Image with_joints(Image crop, const Skeleton& skeleton, const Placement& placement);

// The crop in grey under its target heatmaps.
Image with_targets(const Image& crop, const Sample& sample, int joints);

// A caption: "x1.12 -8 deg flip".
std::string what_was_drawn(const Augmentation& augmentation);

}  // namespace hr
