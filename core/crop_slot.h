// A crop that has not been made yet, in the form in which a device receives it: a part of a picture and the source
// coordinates of each pixel of the crop, in one slot of fixed size. data/crops/crop_writer writes slots, ops/crop makes
// crops from them. The bytes of a slot for a crop of w x h pixels are:
//   CropSource
//   int32 column_x[w], column_y[w], row_x[h], row_y[h]
//   pixels [height, width, 3], R, G, B
//   unused bytes up to slot_bytes(); they are not cleared
// Pixel (x, y) of the crop comes from row_x[y] + column_x[x], row_y[y] + column_y[x]. These are picture coordinates in
// units of 1/1024 px; the numbers of the rows include the rounding to 1/32 px from which the bilinear weights are made.
// The host computes the numbers in double. The device then only computes with integers, so that the result is the same
// everywhere.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace hr {

struct CropSource {
  // The part, in pixels of the (mirrored) picture. Outside of it everything is black.
  int32_t left = 0, top = 0, width = 0, height = 0;
  int32_t mirrored = 0;  // Not 0: the picture is mirrored, so that x is counted from its right edge.
  int32_t bgr = 0;       // Not 0: the channels of the crop are B, G, R.
  int32_t unused[2] = {0, 0};

  static constexpr int coordinate_bits = 10, weight_bits = 5;

  static constexpr size_t pixels_at(int w, int h) {
    return sizeof(CropSource) + (static_cast<size_t>(w) + static_cast<size_t>(h)) * 2 * sizeof(int32_t);
  }
  // 512 KiB hold a little more than half of a picture of 640 x 480, COCO's usual size. docs/measured/loading.md says
  // how many crops show less than that. At least the finished crop must fit, because the slot holds it when the part
  // does not fit.
  static constexpr size_t slot_bytes(int w, int h) {
    const size_t crop = pixels_at(w, h) + static_cast<size_t>(w) * static_cast<size_t>(h) * 3;
    return std::max(size_t{512} << 10, (crop + 255) / 256 * 256);
  }
};
static_assert(sizeof(CropSource) == 32);

}  // namespace hr
