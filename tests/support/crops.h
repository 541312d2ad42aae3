// Crops of every kind as slots for a device, with the images that the host makes of them; batches of people in both
// forms.
#pragma once
#include <cstring>

#include "data/crops/crop_writer.h"
#include "data/loader.h"
#include "tests/data/made_set.h"

namespace hr::test {

struct Crops {
  int n = 0, w = 0, h = 0;
  std::vector<uint8_t> sources;  // [n] slots
  std::vector<float> images;     // [n, h, w, 3] made by the host
  // How many were mirrored, showed something beyond the picture, showed nothing of it, or were made by the host.
  int mirrored = 0, border = 0, beside = 0, made = 0;
};

inline CropSource head_of(std::span<const uint8_t> slot) {
  CropSource head;
  std::memcpy(&head, slot.data(), sizeof head);
  return head;
}

// Returns the bytes of a slot that have a meaning.
inline std::vector<uint8_t> meaning(std::span<const uint8_t> slot, int w, int h) {
  const CropSource head = head_of(slot);
  const size_t size = CropSource::pixels_at(w, h) + static_cast<size_t>(head.width) * head.height * 3;
  return {slot.begin(), slot.begin() + static_cast<ptrdiff_t>(size)};
}

// Makes crops of small pictures and large ones, of whole pictures or only the part that is needed, turned by any angle,
// mirrored before or after the warp, near, across and beyond the picture's borders, recoloured, with holes, R G B and B
// G R.
inline Crops random_crops(int n, int w, int h, uint64_t seed) {
  const size_t slot = CropSource::slot_bytes(w, h), pixels = static_cast<size_t>(w) * h;
  Crops out{n, w, h, std::vector<uint8_t>(n * slot, 0xA5), std::vector<float>(n * pixels * 3), 0, 0, 0, 0};
  Philox random(seed, 0, 0);
  for (int i = 0; i < n; ++i) {
    const bool large = i % 8 == 7;
    const Image picture =
        large ? made_picture(701, 503, i)
              : made_picture(1 + static_cast<int>(random.below(90)), 1 + static_cast<int>(random.below(70)), i);
    const double side = std::max(picture.width, picture.height);
    const CenterScale place{{static_cast<float>(random.uniform(-0.3, 1.3) * picture.width),
                             static_cast<float>(random.uniform(-0.3, 1.3) * picture.height)},
                            {static_cast<float>(random.uniform(0.1, 1.2) * side / 200), 1}};
    Placement placement;
    placement.image_to_crop = official_affine(place, random.uniform(-180, 180), w, h);
    placement.mirror_source = random.below(2) == 0;
    placement.mirror_crop = random.below(3) == 0;
    Augmentation augmentation;
    if (i % 10 == 3) augmentation.contrast = 1.2;
    if (i % 10 == 5) augmentation.holes = {{0.1, 0.2, 0.3, 0.3}};
    const bool bgr = random.below(2) == 0;

    const Region part =
        warp_region(placement.image_to_crop, w, h, picture.width, picture.height, placement.mirror_source);
    ImageView view = picture;
    std::vector<uint8_t> bytes;
    if (random.below(2) == 0) {
      for (int y = 0; y < part.h; ++y) {
        const uint8_t* row = picture.at(part.x, part.y + y);
        bytes.insert(bytes.end(), row, row + static_cast<size_t>(part.w) * 3);
      }
      view.region = part;
      view.pixels = bytes.data();
      view.stride = static_cast<size_t>(part.w) * 3;
      view.readable = bytes.size();
    }
    const std::span to = std::span(out.sources).subspan(i * slot, slot);
    write_crop_source(view, placement, w, h, augmentation, bgr, to);
    const Image crop = crop_image(picture, placement, w, h, augmentation);
    normalize(crop, std::span(out.images).subspan(i * pixels * 3, pixels * 3), bgr);

    out.mirrored += placement.mirror_source;
    out.beside += part.empty();
    out.border += !part.empty() && std::any_of(crop.rgb.begin(), crop.rgb.end(), [](uint8_t v) { return v == 0; });
    out.made += head_of(to).width == w && head_of(to).height == h && !part.empty() && !(part == Region{0, 0, w, h});
  }
  return out;
}

// Returns an epoch of a dataset, as images and targets or as sources and profiles.
inline std::vector<Batch> batches_of(const PoseDataset& data, bool sources, int batch_size, int workers = 1) {
  Loader loader(data, {.batch_size = batch_size,
                       .workers = workers,
                       .shuffle = true,
                       .images = !sources,
                       .targets = !sources,
                       .sources = sources,
                       .profiles = sources});
  loader.start_epoch(1);
  std::vector<Batch> out;
  for (Batch batch; loader.next(batch);) out.push_back(batch);
  return out;
}

}  // namespace hr::test
