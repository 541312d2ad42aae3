// Draws people on their picture.
#pragma once
#include "data/draw/draw.h"
#include "tools/predict/frame.h"

namespace hr {

// Returns a bright colour for a track number. The colour is the same in every frame, and close numbers have clearly
// different colours.
Color track_color(int64_t track);

// Draws the joints with a score above the threshold. People who are tracked have their own colour and their number at
// the head.
void draw_people(Frame& frame, double threshold);

}  // namespace hr
