// People drawn on their picture.
#pragma once
#include "data/draw/draw.h"
#include "tools/predict/frame.h"

namespace hr {

// A colour that keeps people apart whose numbers are close: bright, and the same for a number in every frame.
Color track_color(int64_t track);

// Joints with a score above the threshold; people who are tracked have their own colour and their number at the head.
void draw_people(Frame& frame, double threshold);

}  // namespace hr
