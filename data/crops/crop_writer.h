// Writes crops that a device will make, in the form of core/crop_slot.h.
#pragma once
#include <array>
#include <span>

#include "core/crop_slot.h"
#include "data/crops/augment.h"

namespace hr {

// Writes the slot of the crop that crop_image would make. If the part of the picture does not fit into the slot, or if
// pixels change after the warp (colours, holes), the crop is made here and the slot holds it with an identity map.
// `slot` has at least CropSource::slot_bytes(w, h) bytes and is aligned to 4 bytes. `bgr` makes the device put blue
// first.
void write_crop_source(const ImageView& picture, const Placement& placement, int w, int h,
                       const Augmentation& augmentation, bool bgr, std::span<uint8_t> slot);

// [3, 256]: the result of normalize_row for each byte in each channel.
const std::array<float, 3 * 256>& normal_table();

}  // namespace hr
