// Boxes, centre and scale, and the affine maps between picture, crop and heatmap, in the reference's own arithmetic.
// Which numbers are float32 and which are double matters, because crops must be equal bit for bit. Coordinates are [x,
// y]; the centre of pixel (i, j) is at x = i, y = j. All functions are thread-safe.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "data/formats/coco.h"
#include "data/formats/image.h"

namespace hr {

// Two rows of three: x' = m[0] x + m[1] y + m[2],  y' = m[3] x + m[4] y + m[5].
struct Affine {
  double m[6] = {1, 0, 0, 0, 1, 0};

  void apply(double& x, double& y) const {
    const double moved = m[0] * x + m[1] * y + m[2];
    y = m[3] * x + m[4] * y + m[5];
    x = moved;
  }
};

struct Point2f {
  float x = 0, y = 0;
};

// Returns the map that takes from[i] to to[i], the solution of a 6x6 system in double. All zeros if the points lie on
// one line.
Affine affine_from_points(const Point2f (&from)[3], const Point2f (&to)[3]);

// Inverts by determinant and adjugate. All zeros for a singular map.
Affine invert(const Affine& map);

// The place of a person in the official recipe: a centre in pixels and a size in units of 200 px.
struct CenterScale {
  float center[2] = {0, 0};
  float scale[2] = {0, 0};

  double area() const { return static_cast<double>(scale[0] * 200.0F) * static_cast<double>(scale[1] * 200.0F); }
};

// Clips to the picture as the official reader does: x2 = min(W-1, x1 + max(0, w-1)), so that width and height shrink by
// 1. Empty if nothing is left, because the box lies outside of the picture.
std::optional<Box> clean_box(const Box& box, int image_width, int image_height);

// Returns the centre, and the size enlarged on the short side to width:height = aspect, divided by 200, times padding
// (1.25 in the recipe). A centre at exactly x = -1, which the reference uses as a sentinel, gets no padding.
CenterScale center_scale(const Box& box, double aspect, float padding = 1.25F);

// Maps the picture to a w x h map (crop or heatmap) as in the official recipe: the centre goes to (w/2, h/2), the width
// 200*scale[0] becomes w, rotated by `degrees`. It is isotropic; scale[1] is not used. Solved from three float32
// points.
Affine official_affine(const CenterScale& place, double degrees, int w, int h);
// The map back. It is solved from the same points, because inverting would differ in the last bits.
Affine official_affine_inverse(const CenterScale& place, double degrees, int w, int h);
// The same with the centre and width in pixels in double, for data sets (MPII) whose numbers are never float32.
Affine official_affine(double center_x, double center_y, double width, double degrees, int w, int h);
Affine official_affine_inverse(double center_x, double center_y, double width, double degrees, int w, int h);

// UDP (Huang et al. 2020, "The devil is in the details"): the borders of the box are mapped to the centres of the first
// and last pixels, on each axis separately. scale * 200 is the size of the box.
Affine udp_affine(const CenterScale& place, double degrees, int w, int h);

// Seed recipe: enlarges the short side to the h:w of the input, without clipping.
Box seed_adjust_box(const Box& box, int h, int w);
// Enlarges about the centre.
Box seed_scale_box(const Box& box, double factor_x, double factor_y);
// Seed recipe: picture -> crop maps the centre, the top middle and the right middle of the adjusted box to ((w-1)/2,
// (h-1)/2), ((w-1)/2, 0) and (w-1, (h-1)/2). Also holds heatmap (a quarter of the crop's coordinates) -> picture.
struct SeedAffine {
  Affine crop, heatmap_to_image;
};
SeedAffine seed_affine(const Box& box, double scale, double degrees, int h, int w);

// Makes the crop [h, w, 3] that OpenCV's warpAffine (bilinear, constant border 0) makes of `source`, bit for bit:
// source coordinates in 1/1024 px, bilinear fractions in 1/32 px, rounding to nearest. With `mirrored` the map refers
// to the picture mirrored left-right; the mirror image itself is not made. Throws Error if a side of the source exceeds
// 2^20 px, or if the view lacks a part of the picture that is needed (see warp_region).
Image warp_affine(const ImageView& source, const Affine& source_to_destination, int w, int h, bool mirrored = false);
// Makes the same crop row by row: put(y, rgb) receives rgb [w, 3], which is valid during the call.
void warp_affine(const ImageView& source, const Affine& source_to_destination, int w, int h, bool mirrored,
                 const std::function<void(int y, const uint8_t* rgb)>& put);

// For a device that makes the same crop (core/crop_slot.h): writes the sources of its pixels as tables [w] column_x,
// [w] column_y, [h] row_x, [h] row_y. Returns the part of the picture that is needed. Throws the same errors.
Region warp_tables(const ImageView& source, const Affine& source_to_destination, int w, int h, bool mirrored,
                   std::span<int32_t> tables);

// Returns the part of a picture of this size that warp_affine reads; empty if the crop lies beside the picture.
Region warp_region(const Affine& source_to_destination, int w, int h, int picture_width, int picture_height,
                   bool mirrored = false);

}  // namespace hr
