// A dataset in a few lines of text.
#pragma once
#include <string>

#include "data/dataset.h"

namespace hr {

// People, pictures, sizes, joints labelled and visible, what was dropped and why: plain text of several lines.
std::string summarize(const PoseDataset& dataset);

}  // namespace hr
