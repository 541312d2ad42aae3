// The error analysis (eval/analysis.h) as a picture: one bar per joint and per range of sizes, divided into the kinds
// of error, and the AP that correcting each kind would give.
#pragma once
#include <string>

#include "data/draw/draw.h"
#include "eval/analysis.h"

namespace hr {

// Draws the analysis under the given title. The size of the picture follows from the number of joints.
Image analysis_picture(const PoseAnalysis& analysis, const std::string& title);

}  // namespace hr
