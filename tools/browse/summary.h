// A summary of a dataset as text.
#pragma once
#include <string>

#include "data/dataset.h"

namespace hr {

// Describes people, pictures, sizes, joints labelled and visible, and what was dropped and why, as plain text of
// several lines.
std::string summarize(const PoseDataset& dataset);

}  // namespace hr
