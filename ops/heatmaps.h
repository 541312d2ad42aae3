// What happens around a network's heatmaps, on the device that has them: the flip test, decoding, target heatmaps.
// Nothing here has a derivative. eval/decode decodes on the host, all codecs.
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

// maps [N, h, w, K] f32 -> [N, K, 3] f32: x, y in heatmap pixels and the maximum; the official decoder's quarter
// offset. (0, 0) where the maximum is <= 0.
Tensor decode_quarter(Context& cx, const Tensor& maps);

// profiles [N, w + h, K] f64: factors of each heatmap's columns, then of its rows -> their products [N, h, w, K] f32.
// Whatever data/targets draws (quarter, dark, udp) is such a product; the same bits.
Tensor gaussian_targets(Context& cx, const Tensor& profiles, int h, int w);

}  // namespace hr
