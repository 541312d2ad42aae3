// Drawing on pictures: anti-aliased lines, circles, polygons and text; people as skeletons; sheets of pictures.
//
// Coordinates are pixels with the centre of pixel (i, j) at x = i, y = j, as in annotations. Everything is clipped to
// the picture; a shape with a coordinate that is not finite is not drawn. The same input gives the same bytes.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats/image.h"
#include "data/formats/skeleton.h"
#include "data/pose.h"

namespace hr {

struct Point {
  float x = 0, y = 0;
};

struct Color {
  uint8_t r = 0, g = 0, b = 0;
  float a = 1;  // Opacity, 0 to 1.
};

inline void blend(uint8_t* pixel, Color color, float coverage) {
  const float a = color.a * coverage;
  const auto mix = [a](uint8_t below, uint8_t above) {
    // NOLINTNEXTLINE(bugprone-incorrect-roundings): never negative, and lround is a library call per byte
    return static_cast<uint8_t>(static_cast<float>(below) + (static_cast<float>(above) - below) * a + 0.5F);
  };
  pixel[0] = mix(pixel[0], color.r);
  pixel[1] = mix(pixel[1], color.g);
  pixel[2] = mix(pixel[2], color.b);
}

// The only rasteriser: calls put(x, y, coverage) for every pixel inside [x0, x1] x [y0, y1] whose signed distance
// (negative inside, in pixels) is below 1/2. The coverage falls linearly across an edge of one pixel.
template <class Distance, class Put>
void rasterise(int width, int height, float x0, float y0, float x1, float y1, const Distance& distance,
               const Put& put) {
  if (!(std::isfinite(x0) && std::isfinite(y0) && std::isfinite(x1) && std::isfinite(y1))) return;
  const auto low = [](float v) { return static_cast<int>(std::floor(std::clamp(v, -1.0F, 1e6F))); };
  const int left = std::max(0, low(x0 - 1)), right = std::min(width - 1, low(x1 + 2));
  const int top = std::max(0, low(y0 - 1)), bottom = std::min(height - 1, low(y1 + 2));
  for (int y = top; y <= bottom; ++y) {
    for (int x = left; x <= right; ++x) {
      const float coverage = 0.5F - distance(static_cast<float>(x), static_cast<float>(y));
      if (coverage > 0) put(x, y, std::min(coverage, 1.0F));
    }
  }
}

void fill(Image& image, Color color);
// (x, y) is the first pixel, w and h are in pixels. Fractions give partly covered edges.
void fill_rectangle(Image& image, float x, float y, float w, float h, Color color);
void draw_rectangle(Image& image, float x, float y, float w, float h, float line_width, Color color);
void fill_circle(Image& image, Point centre, float radius, Color color);
// A line with rounded ends. A different radius_b makes a tapered limb.
void fill_capsule(Image& image, Point a, Point b, float radius_a, float radius_b, Color color);
void draw_line(Image& image, Point a, Point b, float line_width, Color color);

// Draws text in printable ASCII (other characters become '?') with the strokes of data/draw/stroke_font.h. (x, y) is
// the top-left corner, which is rounded to whole pixels, `size` the height of capital letters in pixels, and `weight` a
// factor of the width of the strokes: 1.5 is bold.
struct TextSize {
  float width = 0, height = 0;
};
TextSize text_size(std::string_view text, float size);
void draw_text(Image& image, float x, float y, std::string_view text, float size, Color color, float weight = 1);
void draw_text_upwards(Image& image, float x, float y, std::string_view text, float size,
                       Color color);  // (x, y) is the start.

void paste(Image& image, const Image& part, int x, int y);
// Averages over the covered area when shrinking; bilinear when enlarging.
Image resized(const Image& image, int width, int height);

// Left and right are those of the person. `centre` is for limbs that join both sides (shoulder to shoulder) or neither.
struct PersonStyle {
  Color left{255, 140, 0}, right{30, 144, 255}, centre{80, 220, 100};
  float threshold = 0.2F;  // Joints with a score above it are drawn.
  float solid = 0;       // Joints with a score of at most this are hollow; {threshold 0, solid 1} is for visibilities.
  float line_width = 0;  // In pixels; 0 derives it from the size of the person.
};
// keypoints: x, y, score per joint, [joints * 3]. The side of a joint is taken from its name ("left_...", "right_...").
// A limb is drawn if both of its joints are. Throws Error if the length differs.
void draw_person(Image& image, const Skeleton& skeleton, std::span<const float> keypoints,
                 const PersonStyle& style = {});
// A pose with its own skeleton. Throws Error if the pose has none.
void draw_person(Image& image, const Pose& pose, const PersonStyle& style = {});

// Returns a grid of pictures, each shrunk or enlarged to fit its cell, with a caption below it. There may be fewer
// captions than pictures.
Image contact_sheet(std::span<const Image> images, std::span<const std::string> captions, int columns, int cell_width,
                    int cell_height);

}  // namespace hr
