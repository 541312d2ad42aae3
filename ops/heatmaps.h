// Ops on heatmaps before and after the network: the flip test and target heatmaps. They run on the device of the
// tensors and have no derivative. Heatmaps are decoded on the host (eval/decode.h); docs/design/gpu.md explains why.
#pragma once
#include <span>

#include "core/context.h"

namespace hr {

// Overwrites the second N of `images` [2 N, h, w, c] f32 with the mirror images of the first N.
void append_mirrored(Context& cx, const Tensor& images);

// Averages maps [2 N, h, w, K] f32 of pictures and of their mirror images; returns [N, h, w, K]. mirror [K] i32 is the
// joint that each joint becomes in a mirror. `shift` first moves the mirrored-back maps one column to the right (column
// 0 stays), which the published weights expect.
Tensor flip_average(Context& cx, const Tensor& maps, const Tensor& mirror, bool shift);

// Returns the products [N, h, w, K] f32 of profiles [N, w + h, K] f64, which are the factors of each heatmap's columns,
// then of its rows. All targets that data/crops/targets draws (quarter, dark, udp) are such products; the bits are the
// same.
Tensor gaussian_targets(Context& cx, const Tensor& profiles, int h, int w);
// Writes them to the existing tensor `targets` [N, h, w, K] f32.
void gaussian_targets(Context& cx, const Tensor& profiles, const Tensor& targets);

}  // namespace hr
