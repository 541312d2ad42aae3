#include "data/geometry.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <utility>

#include "core/error.h"

namespace hr {

Affine affine_from_points(const Point2f (&from)[3], const Point2f (&to)[3]) {
  // Unknowns m0..m5; rows 0..2 say x', rows 3..5 say y'.
  double a[6][6] = {}, b[6];
  for (int i = 0; i < 3; ++i) {
    const double row[3] = {from[i].x, from[i].y, 1};
    std::copy(row, row + 3, a[2 * i]);
    std::copy(row, row + 3, a[2 * i + 1] + 3);
    b[2 * i] = to[i].x;
    b[2 * i + 1] = to[i].y;
  }
  // Gaussian elimination with row pivoting, in the order of operations that OpenCV's solver has: its last bits decide
  // which way the crop's fixed-point coordinates round.
  for (int i = 0; i < 6; ++i) {
    int pivot = i;
    for (int j = i + 1; j < 6; ++j) {
      if (std::abs(a[j][i]) > std::abs(a[pivot][i])) pivot = j;
    }
    if (std::abs(a[pivot][i]) < 1e-13) return Affine{{0, 0, 0, 0, 0, 0}};
    std::swap(a[i], a[pivot]);
    std::swap(b[i], b[pivot]);
    const double minus_inverse = -1 / a[i][i];
    for (int j = i + 1; j < 6; ++j) {
      const double factor = a[j][i] * minus_inverse;
      for (int k = i + 1; k < 6; ++k) a[j][k] += factor * a[i][k];
      b[j] += factor * b[i];
    }
  }
  Affine map;
  for (int i = 5; i >= 0; --i) {
    double rest = b[i];
    for (int k = i + 1; k < 6; ++k) rest -= a[i][k] * map.m[k];
    map.m[i] = rest / a[i][i];
  }
  return map;
}

Affine invert(const Affine& map) {
  const double* m = map.m;
  double d = m[0] * m[4] - m[1] * m[3];
  d = d != 0 ? 1 / d : 0;
  Affine inverse;
  double* r = inverse.m;
  r[0] = m[4] * d;
  r[1] = m[1] * -d;
  r[3] = m[3] * -d;
  r[4] = m[0] * d;
  r[2] = -r[0] * m[2] - r[1] * m[5];
  r[5] = -r[3] * m[2] - r[4] * m[5];
  return inverse;
}

std::optional<Box> clean_box(const Box& box, int image_width, int image_height) {
  const double x1 = std::max(0.0, box.x), y1 = std::max(0.0, box.y);
  const double x2 = std::min(image_width - 1.0, x1 + std::max(0.0, box.w - 1));
  const double y2 = std::min(image_height - 1.0, y1 + std::max(0.0, box.h - 1));
  if (x2 < x1 || y2 < y1) return std::nullopt;
  return Box{x1, y1, x2 - x1, y2 - y1};
}

CenterScale center_scale(const Box& box, double aspect, float padding) {
  double w = box.w, h = box.h;
  CenterScale out;
  out.center[0] = static_cast<float>(box.x + w * 0.5);
  out.center[1] = static_cast<float>(box.y + h * 0.5);
  if (w > aspect * h) {
    h = w / aspect;
  } else if (w < aspect * h) {
    w = h * aspect;
  }
  // The reference takes a centre of exactly -1 for "no box" and leaves such a box without padding.
  if (out.center[0] == -1.0F) padding = 1;
  out.scale[0] = static_cast<float>(w / 200) * padding;
  out.scale[1] = static_cast<float>(h / 200) * padding;
  return out;
}

namespace {

struct ThreePoints {
  Point2f image[3], crop[3];
};

// The third point completes a right angle at the second: rotate the arm 0 - 1 by 90 degrees.
Point2f third_point(const Point2f& p, const Point2f& q) { return {q.x - (p.y - q.y), q.y + (p.x - q.x)}; }

ThreePoints official_points(double center_x, double center_y, double width, double degrees, int w, int h) {
  const double angle = std::numbers::pi * degrees / 180;
  const double arm = width * -0.5;  // straight up, then turned
  ThreePoints p;
  p.image[0] = {static_cast<float>(center_x), static_cast<float>(center_y)};
  p.image[1] = {static_cast<float>(center_x - arm * std::sin(angle)),
                static_cast<float>(center_y + arm * std::cos(angle))};
  p.crop[0] = {static_cast<float>(w * 0.5), static_cast<float>(h * 0.5)};
  p.crop[1] = {static_cast<float>(w * 0.5), static_cast<float>(h * 0.5 + w * -0.5)};
  p.image[2] = third_point(p.image[0], p.image[1]);
  p.crop[2] = third_point(p.crop[0], p.crop[1]);
  return p;
}

}  // namespace

Affine official_affine(double center_x, double center_y, double width, double degrees, int w, int h) {
  const ThreePoints p = official_points(center_x, center_y, width, degrees, w, h);
  return affine_from_points(p.image, p.crop);
}

Affine official_affine_inverse(double center_x, double center_y, double width, double degrees, int w, int h) {
  const ThreePoints p = official_points(center_x, center_y, width, degrees, w, h);
  return affine_from_points(p.crop, p.image);
}

Affine official_affine(const CenterScale& place, double degrees, int w, int h) {
  return official_affine(place.center[0], place.center[1], place.scale[0] * 200.0F, degrees, w, h);
}

Affine official_affine_inverse(const CenterScale& place, double degrees, int w, int h) {
  return official_affine_inverse(place.center[0], place.center[1], place.scale[0] * 200.0F, degrees, w, h);
}

Box seed_adjust_box(const Box& box, int h, int w) {
  const double ratio = static_cast<double>(h) / w;
  double x1 = box.x, y1 = box.y, x2 = box.x + box.w, y2 = box.y + box.h;
  if (box.h / box.w > ratio) {
    const double pad = (box.h / ratio - box.w) / 2;
    x1 -= pad;
    x2 += pad;
  } else {
    const double pad = (box.w * ratio - box.h) / 2;
    y1 -= pad;
    y2 += pad;
  }
  return {x1, y1, x2 - x1, y2 - y1};
}

Box seed_scale_box(const Box& box, double factor_x, double factor_y) {
  const double w = box.w * factor_x, h = box.h * factor_y;
  return {box.x - (w - box.w) / 2, box.y - (h - box.h) / 2, w, h};
}

SeedAffine seed_affine(const Box& box, double scale, double degrees, int h, int w) {
  const Box adjusted = seed_adjust_box(box, h, w);
  // Centre of the corners as the reference has it, xmax being xmin + width.
  const double cx = (adjusted.x + (adjusted.x + adjusted.w)) / 2, cy = (adjusted.y + (adjusted.y + adjusted.h)) / 2;
  const double half_w = adjusted.w * scale / 2, half_h = adjusted.h * scale / 2;
  const double angle = degrees / 180 * std::numbers::pi;
  const double sine = std::sin(angle), cosine = std::cos(angle);
  const auto point = [](double x, double y) { return Point2f{static_cast<float>(x), static_cast<float>(y)}; };
  const Point2f image[3] = {point(cx, cy), point(cx + half_h * sine, cy - half_h * cosine),
                            point(cx + half_w * cosine, cy + half_w * sine)};
  const double right = w - 1, bottom = h - 1;
  const Point2f crop[3] = {point(right / 2, bottom / 2), point(right / 2, 0), point(right, bottom / 2)};
  Point2f map[3];
  for (int i = 0; i < 3; ++i) map[i] = {crop[i].x / 4, crop[i].y / 4};
  return {affine_from_points(image, crop), affine_from_points(map, image)};
}

namespace {

// Fixed point: coordinates with 10 fractional bits, of which bilinear weights keep 5.
constexpr int coordinate_bits = 10, weight_bits = 5;
constexpr int weight_one = 1 << weight_bits;

int fixed(double coordinate) {
  // Far outside every picture, and two of them still add up within int.
  constexpr double limit = 1 << 30;
  return static_cast<int>(std::rint(std::clamp(coordinate * (1 << coordinate_bits), -limit, limit)));
}

// One output pixel from the 2x2 neighbourhood: weights are products of two 5-bit fractions, so the sum is exact in int
// and rounding it equals the reference's 15-bit weights.
inline void blend(const uint8_t* top_left, const uint8_t* top_right, const uint8_t* bottom_left,
                  const uint8_t* bottom_right, int fx, int fy, uint8_t* out) {
  const int gx = weight_one - fx, gy = weight_one - fy;
  for (int c = 0; c < 3; ++c) {
    const int top = top_left[c] * gx + top_right[c] * fx;
    const int bottom = bottom_left[c] * gx + bottom_right[c] * fx;
    out[c] = static_cast<uint8_t>((top * gy + bottom * fy + (1 << (2 * weight_bits - 1))) >> (2 * weight_bits));
  }
}

}  // namespace

Image warp_affine(const Image& source, const Affine& source_to_destination, int w, int h, bool mirrored) {
  check(!source.empty(), "warp_affine: empty picture");
  check(w > 0 && h > 0, "warp_affine: crop of {} x {} pixels", w, h);
  check(source.width <= 1 << 20 && source.height <= 1 << 20,
        "warp_affine: a picture of {} x {} pixels; at most 2^20 on a side, scale it down first", source.width,
        source.height);
  const Affine back = invert(source_to_destination);
  for (const double m : back.m) check(std::isfinite(m), "warp_affine: the map is not finite");

  Image out(w, h);
  std::vector<int> step_x(w), step_y(w), source_x(w), source_y(w);
  for (int x = 0; x < w; ++x) {
    step_x[x] = fixed(back.m[0] * x);
    step_y[x] = fixed(back.m[3] * x);
  }
  constexpr int shift = coordinate_bits - weight_bits;
  const int last_x = source.width - 1, last_y = source.height - 1;
  const size_t stride = static_cast<size_t>(source.width) * 3;
  const uint8_t* pixels = source.rgb.data();
  static constexpr uint8_t outside[3] = {0, 0, 0};

  for (int y = 0; y < h; ++y) {
    const int row_x = fixed(back.m[1] * y + back.m[2]) + (1 << (shift - 1));
    const int row_y = fixed(back.m[4] * y + back.m[5]) + (1 << (shift - 1));
    for (int x = 0; x < w; ++x) {
      source_x[x] = (row_x + step_x[x]) >> shift;
      source_y[x] = (row_y + step_y[x]) >> shift;
    }
    uint8_t* to = out.at(0, y);
    // Coordinates change monotonically along a row, so the pixels whose whole 2x2 neighbourhood lies inside the picture
    // are one interval.
    const auto inside = [&](int x) {
      const int sx = source_x[x] >> weight_bits, sy = source_y[x] >> weight_bits;
      return sx >= 0 && sx < last_x && sy >= 0 && sy < last_y;
    };
    int begin = 0, end = w;
    while (begin < w && !inside(begin)) ++begin;
    while (end > begin && !inside(end - 1)) --end;

    const auto careful = [&](int x) {
      const int sx = source_x[x] >> weight_bits, sy = source_y[x] >> weight_bits;
      if (sx < -1 || sx > last_x || sy < -1 || sy > last_y) return;  // stays 0
      const auto pixel = [&](int px, int py) {
        if (px < 0 || px > last_x || py < 0 || py > last_y) return outside;
        return pixels + py * stride + static_cast<size_t>(mirrored ? last_x - px : px) * 3;
      };
      blend(pixel(sx, sy), pixel(sx + 1, sy), pixel(sx, sy + 1), pixel(sx + 1, sy + 1), source_x[x] & (weight_one - 1),
            source_y[x] & (weight_one - 1), to + 3 * x);
    };
    for (int x = 0; x < begin; ++x) careful(x);
    for (int x = end; x < w; ++x) careful(x);

    for (int x = begin; x < end; ++x) {
      const int sx = source_x[x] >> weight_bits, sy = source_y[x] >> weight_bits;
      const int fx = source_x[x] & (weight_one - 1), fy = source_y[x] & (weight_one - 1);
      // In the mirrored picture the right neighbour lies one pixel to the left.
      const uint8_t* at = pixels + sy * stride + static_cast<size_t>(mirrored ? last_x - 1 - sx : sx) * 3;
      blend(at, at + 3, at + stride, at + stride + 3, mirrored ? weight_one - fx : fx, fy, to + 3 * x);
    }
  }
  return out;
}

}  // namespace hr
