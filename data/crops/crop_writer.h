// Crops left to a device: the slots of core/crop_slot.h.
#pragma once
#include <array>
#include <span>

#include "core/crop_slot.h"
#include "data/crops/augment.h"

namespace hr {

// The slot of the crop that crop_image makes. Where the part of the picture that it needs does not fit, or pixels
// change after the warp (colours, holes), the crop is made here and the slot holds it with the map that changes
// nothing. slot: at least CropSource::slot_bytes(w, h), aligned to 4 bytes. bgr: the device shall put blue first.
void write_crop_source(const ImageView& picture, const Placement& placement, int w, int h,
                       const Augmentation& augmentation, bool bgr, std::span<uint8_t> slot);

// [3, 256]: what normalize_row makes of each byte in each channel.
const std::array<float, 3 * 256>& normal_table();

}  // namespace hr
