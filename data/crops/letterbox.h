// How pictures are brought to a detector's input size.
#pragma once
#include "data/formats/image.h"

namespace hr {

// The picture in w x h pixels as OpenCV's resize with INTER_LINEAR makes it of 8-bit pixels, bit for bit (fixed point
// with 11 bits; exactly half the size in both directions is the mean of four pixels). `source` must be whole.
Image resized_bilinear(const ImageView& source, int w, int h);

// A picture in the top left corner of a canvas.
struct Letterbox {
  double scale = 1;              // canvas pixels per picture pixel
  int inner_w = 0, inner_h = 0;  // of the scaled picture, at least 1
};
// The largest scale at which a picture fits, sides rounded down as the official YOLOX code does.
Letterbox letterbox_for(int picture_w, int picture_h, int canvas_w, int canvas_h);

}  // namespace hr
