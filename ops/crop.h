// Crops of pictures, on the device that needs them: what data/crops/geometry's warp_affine and data/formats/image's
// normalize_row make on the host, bit for bit. It has no derivative.
#pragma once
#include "core/context.h"

namespace hr {

// sources [N, slot bytes] u8 as data/crops/crop_writer writes them (core/crop_slot.h; what they hold is trusted),
// normal [3, 256] f32: what each byte of each channel becomes. Writes images [N, h, w, 3] f32.
void crop(Context& cx, const Tensor& sources, const Tensor& normal, const Tensor& images);

}  // namespace hr
