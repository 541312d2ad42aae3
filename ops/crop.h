// Crops of pictures, made on the device that uses them. The result equals that of data/crops/geometry's warp_affine and
// data/formats/image's normalize_row on the host, bit for bit. It has no derivative.
#pragma once
#include "core/context.h"

namespace hr {

// Reads sources [N, slot bytes] u8 in the form of core/crop_slot.h, whose content is trusted, and normal [3, 256] f32,
// the value of each byte of each channel. Writes images [N, h, w, 3] f32, or bf16, rounded to nearest even. Throws
// Error if shapes or types do not fit.
void crop(Context& cx, const Tensor& sources, const Tensor& normal, const Tensor& images);

}  // namespace hr
