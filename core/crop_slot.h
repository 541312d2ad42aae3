// A crop that has not been made yet, as a device gets it: part of a picture and where each pixel of the crop comes
// from, in one slot of fixed size. data/crops/crop_writer writes slots, ops/crop makes crops of them. A slot [bytes],
// of a crop of w x h pixels:
//   CropSource
//   int32 column_x[w], column_y[w], row_x[h], row_y[h]
//   pixels [height, width, 3], R, G, B
//   whatever was there before
// Pixel (x, y) of the crop comes from row_x[y] + column_x[x], row_y[y] + column_y[x]: picture coordinates in 1/1024 px
// (the rows' hold the rounding to 1/32 px, of which bilinear weights are made). The host makes these numbers in double,
// so what is left is arithmetic in whole numbers, which has one result everywhere.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace hr {

struct CropSource {
  int32_t left = 0, top = 0, width = 0, height = 0;  // the part, in the (mirrored) picture; beyond it all is black
  int32_t mirrored = 0;                              // the coordinates count from the right
  int32_t bgr = 0;                                   // the crop's channels are B, G, R
  int32_t unused[2] = {0, 0};

  static constexpr int coordinate_bits = 10, weight_bits = 5;

  static constexpr size_t pixels_at(int w, int h) {
    return sizeof(CropSource) + (static_cast<size_t>(w) + static_cast<size_t>(h)) * 2 * sizeof(int32_t);
  }
  // 512 KiB hold a little more than half of a picture of 640 x 480, COCO's usual size: see docs/data.md for how many
  // crops show less. At least the crop itself must fit, which is what a slot holds when the part does not.
  static constexpr size_t slot_bytes(int w, int h) {
    const size_t crop = pixels_at(w, h) + static_cast<size_t>(w) * static_cast<size_t>(h) * 3;
    return std::max(size_t{512} << 10, (crop + 255) / 256 * 256);
  }
};
static_assert(sizeof(CropSource) == 32);

}  // namespace hr
