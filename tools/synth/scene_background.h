// The background behind synthetic people.
#pragma once
#include "core/philox.h"
#include "tools/synth/canvas.h"

namespace hr::synth_detail {

// Each function paints the whole canvas and returns the row where the ground begins.
float outdoors(Canvas& canvas, Philox& rng);
float indoors(Canvas& canvas, Philox& rng);
float abstract(Canvas& canvas, Philox& rng);

}  // namespace hr::synth_detail
