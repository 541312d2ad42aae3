// Resizing of pictures to the input size of a detector.
#pragma once
#include "data/formats/image.h"

namespace hr {

// Returns the picture in w x h pixels, equal bit for bit to OpenCV's resize with INTER_LINEAR for 8-bit pixels (fixed
// point with 11 bits; exactly half the size in both directions is the mean of four pixels). `source` must hold the
// whole picture. Throws Error otherwise.
Image resized_bilinear(const ImageView& source, int w, int h);

// The placement of a scaled picture in the top left corner of a canvas.
struct Letterbox {
  double scale = 1;              // Canvas pixels per picture pixel.
  int inner_w = 0, inner_h = 0;  // The size of the scaled picture, at least 1.
};
// Returns the largest scale at which a picture fits, with sides rounded down as in the official YOLOX code.
Letterbox letterbox_for(int picture_w, int picture_h, int canvas_w, int canvas_h);

}  // namespace hr
