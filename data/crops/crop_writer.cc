#include "data/crops/crop_writer.h"

#include <cstring>

#include "core/error.h"

namespace hr {

void write_crop_source(const ImageView& picture, const Placement& placement, int w, int h,
                       const Augmentation& augmentation, bool bgr, std::span<uint8_t> slot) {
  check(slot.size() >= CropSource::slot_bytes(w, h),
        "crop slot: a slot of {} bytes is too small; a crop of {} x {} needs {}", slot.size(), w, h,
        CropSource::slot_bytes(w, h));
  const std::span<uint8_t> pixels = slot.subspan(CropSource::pixels_at(w, h));
  const std::span tables(reinterpret_cast<int32_t*>(slot.data() + sizeof(CropSource)),
                         2 * (static_cast<size_t>(w) + static_cast<size_t>(h)));
  const bool mirrored = placement.mirror_source;
  const Region part = warp_tables(picture, placement.image_to_crop, w, h, mirrored, tables);
  if (augmentation.recolours() || !augmentation.holes.empty() || static_cast<size_t>(part.area()) * 3 > pixels.size()) {
    write_crop_source(crop_image(picture, placement, w, h, augmentation), {}, w, h, {}, bgr, slot);
    return;
  }
  if (placement.mirror_crop) {
    std::reverse(tables.begin(), tables.begin() + w);
    std::reverse(tables.begin() + w, tables.begin() + 2 * static_cast<ptrdiff_t>(w));
  }
  const CropSource head{.left = mirrored ? picture.width - (part.x + part.w) : part.x,
                        .top = part.y,
                        .width = part.w,
                        .height = part.h,
                        .mirrored = mirrored,
                        .bgr = bgr};
  std::memcpy(slot.data(), &head, sizeof head);
  const size_t row = static_cast<size_t>(part.w) * 3;
  for (int y = 0; y < part.h; ++y)
    std::copy_n(picture.at(part.x, part.y + y), row, pixels.data() + static_cast<size_t>(y) * row);
}

const std::array<float, 3 * 256>& normal_table() {
  static const std::array<float, 3 * 256> table = [] {
    std::array<float, 3 * 256> made{};
    for (int v = 0; v < 256; ++v) {
      const auto byte = static_cast<uint8_t>(v);
      const uint8_t grey[3] = {byte, byte, byte};
      float normal[3];
      normalize_row(grey, 1, normal);
      for (size_t c = 0; c < 3; ++c) made[c * 256 + byte] = normal[c];
    }
    return made;
  }();
  return table;
}

}  // namespace hr
