// What happens around a network's heatmaps, on the device that has them: the flip test, target heatmaps. Nothing here
// has a derivative. Decoding is the host's (eval/decode.h): see docs/gpu.md.
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

// images [2 N, h, w, c] f32: writes the mirror images of the first N over the second N.
void append_mirrored(Context& cx, const Tensor& images);

// maps [2 N, h, w, K] f32 of pictures and their mirror images -> [N, h, w, K], the average of both. mirror [K] i32: the
// joint that each joint becomes in a mirror. `shift` moves the flipped-back maps one column to the right first (column
// 0 stays): the published weights expect it.
Tensor flip_average(Context& cx, const Tensor& maps, const Tensor& mirror, bool shift);

// profiles [N, w + h, K] f64: factors of each heatmap's columns, then of its rows -> their products [N, h, w, K] f32.
// Whatever data/crops/targets draws (quarter, dark, udp) is such a product; the same bits.
Tensor gaussian_targets(Context& cx, const Tensor& profiles, int h, int w);

}  // namespace hr
