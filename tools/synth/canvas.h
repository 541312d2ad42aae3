// The canvas on which the sample dataset is painted: colours and, for every pixel, the person or object that was
// painted there last.
#pragma once
#include <cstdint>
#include <vector>

#include "data/draw/draw.h"

namespace hr::synth_detail {

struct Rgb {
  float r = 0, g = 0, b = 0;  // 0..255
};
inline Rgb operator*(Rgb c, float s) { return {c.r * s, c.g * s, c.b * s}; }
inline Rgb mix(Rgb a, Rgb b, float t) { return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t}; }

// The owner of a pixel is who << 8 | part. who: 0 background, 1.. people, 255 objects in front of people.
constexpr int kObject = 255;

struct Canvas {
  Image image;
  std::vector<uint16_t> owner;  // [height, width]

  Canvas(int width, int height) : image(width, height), owner(static_cast<size_t>(width) * height) {}
  uint16_t& owner_at(int x, int y) { return owner[static_cast<size_t>(y) * image.width + x]; }
  uint16_t owner_at(int x, int y) const { return owner[static_cast<size_t>(y) * image.width + x]; }
};

inline uint8_t to_byte(float v) {
  // NOLINTNEXTLINE(bugprone-incorrect-roundings): never negative, and lround is a library call per byte
  return static_cast<uint8_t>(std::min(std::max(v, 0.0F), 255.0F) + 0.5F);
}

inline void put(uint8_t* pixel, Rgb color, float alpha) {
  pixel[0] = to_byte(static_cast<float>(pixel[0]) + (color.r - static_cast<float>(pixel[0])) * alpha);
  pixel[1] = to_byte(static_cast<float>(pixel[1]) + (color.g - static_cast<float>(pixel[1])) * alpha);
  pixel[2] = to_byte(static_cast<float>(pixel[2]) + (color.b - static_cast<float>(pixel[2])) * alpha);
}

struct Extent {
  float x0 = 1e30F, y0 = 1e30F, x1 = -1e30F, y1 = -1e30F;
  void add(Point p, float radius) {
    x0 = std::min(x0, p.x - radius);
    y0 = std::min(y0, p.y - radius);
    x1 = std::max(x1, p.x + radius);
    y1 = std::max(y1, p.y + radius);
  }
};

// Paints a shape. distance(x, y) is in pixels and negative inside; color(x, y) is called for covered pixels only.
template <class Distance, class Shade>
void paint(Canvas& canvas, const Extent& box, uint16_t owner, const Distance& distance, const Shade& color) {
  rasterise(canvas.image.width, canvas.image.height, box.x0, box.y0, box.x1, box.y1, distance,
            [&](int x, int y, float coverage) {
              put(canvas.image.at(x, y), color(static_cast<float>(x), static_cast<float>(y)), coverage);
              if (coverage >= 0.5F) canvas.owner_at(x, y) = owner;
            });
}

// Locates a point along the limb a..b (0..1) and across it (-1..1 of the radius there).
struct CapsuleShape {
  Point a, b;
  float radius_a, radius_b, dx, dy, inverse, inverse_length;

  CapsuleShape(Point from, Point to, float ra, float rb)
      : a(from), b(to), radius_a(ra), radius_b(rb), dx(b.x - a.x), dy(b.y - a.y) {
    const float length2 = dx * dx + dy * dy;
    inverse = length2 > 0 ? 1 / length2 : 0;
    inverse_length = length2 > 0 ? 1 / std::sqrt(length2) : 0;
  }
  Extent extent() const {
    Extent e;
    e.add(a, radius_a);
    e.add(b, radius_b);
    return e;
  }
  float along(float x, float y) const { return std::clamp(((x - a.x) * dx + (y - a.y) * dy) * inverse, 0.0F, 1.0F); }
  float radius(float t) const { return radius_a + t * (radius_b - radius_a); }
  float across(float x, float y) const { return ((x - a.x) * dy - (y - a.y) * dx) * inverse_length; }
  float operator()(float x, float y) const {
    const float t = along(x, y), ex = x - a.x - t * dx, ey = y - a.y - t * dy;
    return std::sqrt(ex * ex + ey * ey) - radius(t);
  }
};

// The signed distance to a polygon of at most 16 corners, convex or not (even-odd inside).
struct PolygonShape {
  std::array<Point, 16> corner{};
  int count = 0;
  void add(Point p) { corner[static_cast<size_t>(count++)] = p; }
  Extent extent(float radius) const {
    Extent e;
    for (int i = 0; i < count; ++i) e.add(corner[static_cast<size_t>(i)], radius);
    return e;
  }
  float operator()(float x, float y) const {
    float nearest2 = 1e30F;
    bool inside = false;
    for (int i = 0, j = count - 1; i < count; j = i++) {
      const Point p = corner[static_cast<size_t>(i)], q = corner[static_cast<size_t>(j)];
      const float ex = q.x - p.x, ey = q.y - p.y, wx = x - p.x, wy = y - p.y, length2 = ex * ex + ey * ey;
      const float t = length2 > 0 ? std::clamp((wx * ex + wy * ey) / length2, 0.0F, 1.0F) : 0;
      const float bx = wx - ex * t, by = wy - ey * t;
      nearest2 = std::min(nearest2, bx * bx + by * by);
      if ((p.y > y) != (q.y > y) && x < ex * (y - p.y) / ey + p.x) inside = !inside;
    }
    const float distance = std::sqrt(nearest2);
    return inside ? -distance : distance;
  }
};

}  // namespace hr::synth_detail
