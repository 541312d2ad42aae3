// Draws the pictures of the contact sheets: a crop with its joints, and a crop below its target heatmaps.
#pragma once
#include <string>

#include "data/dataset.h"

namespace hr {

// Draws the joints of a placement on its crop. Hidden joints are hollow.
Image with_joints(Image crop, const Skeleton& skeleton, const Placement& placement);

// Returns the crop in grey below its target heatmaps.
Image with_targets(const Image& crop, const Sample& sample, int joints);

// Returns the caption of an augmented crop, which lists its random values, such as "x1.12 -8 deg flip".
std::string what_was_drawn(const Augmentation& augmentation);

}  // namespace hr
