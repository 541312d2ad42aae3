#include "data/crops/geometry.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numbers>
#include <utility>

#if defined(__AVX2__) || defined(HR_CPU_DISPATCH)
#define HR_WITH_AVX2
#include <immintrin.h>
#endif

#include "core/cpu_level.h"
#include "core/crop_slot.h"
#include "core/error.h"

namespace hr {

Affine affine_from_points(const Point2f (&from)[3], const Point2f (&to)[3]) {
  // The unknowns are m0 to m5. Rows 0 to 2 are the equations of x', rows 3 to 5 those of y'.
  double a[6][6] = {}, b[6];
  for (int i = 0; i < 3; ++i) {
    const double row[3] = {from[i].x, from[i].y, 1};
    std::copy(row, row + 3, a[2 * i]);
    std::copy(row, row + 3, a[2 * i + 1] + 3);
    b[2 * i] = to[i].x;
    b[2 * i + 1] = to[i].y;
  }
  // Gaussian elimination with row pivoting, in OpenCV's order of operations, because the last bits decide in which
  // direction the fixed-point coordinates of the crop are rounded.
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
  // In the reference a centre of exactly -1 means "no box", and such a box gets no padding.
  if (out.center[0] == -1.0F) padding = 1;
  out.scale[0] = static_cast<float>(w / 200) * padding;
  out.scale[1] = static_cast<float>(h / 200) * padding;
  return out;
}

namespace {

struct ThreePoints {
  Point2f image[3], crop[3];
};

// The third point completes a right angle at the second one: the arm from point 0 to point 1, rotated by 90 degrees.
Point2f third_point(const Point2f& p, const Point2f& q) { return {q.x - (p.y - q.y), q.y + (p.x - q.x)}; }

ThreePoints official_points(double center_x, double center_y, double width, double degrees, int w, int h) {
  const double angle = std::numbers::pi * degrees / 180;
  const double arm = width * -0.5;  // Points straight up before it is rotated.
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

Affine udp_affine(const CenterScale& place, double degrees, int w, int h) {
  const double cx = place.center[0], cy = place.center[1];
  const double box_w = place.scale[0] * 200.0F, box_h = place.scale[1] * 200.0F;
  const double kx = (w - 1) / box_w, ky = (h - 1) / box_h;
  const double angle = degrees / 180 * std::numbers::pi;
  const double sine = std::sin(angle), cosine = std::cos(angle);
  return {{kx * cosine, -kx * sine, kx * (-cx * cosine + cy * sine + box_w / 2),  //
           ky * sine, ky * cosine, ky * (-cx * sine - cy * cosine + box_h / 2)}};
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
  // The centre of the corners, computed as in the reference, where xmax is xmin + width.
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

// Fixed point: coordinates have 10 fractional bits, of which the bilinear weights use 5.
constexpr int coordinate_bits = CropSource::coordinate_bits, weight_bits = CropSource::weight_bits;
constexpr int weight_one = 1 << weight_bits;
constexpr int max_side = 1 << 20;

int fixed(double coordinate) {
  // Lies far outside of every picture. Two such coordinates and the rounding still fit into an int.
  constexpr double limit = (1 << 30) - (1 << coordinate_bits);
  return static_cast<int>(std::rint(std::clamp(coordinate * (1 << coordinate_bits), -limit, limit)));
}

// Maps crop to source coordinates with 5 fractional bits. A coordinate is the sum of a part per column and a part per
// row. Both are monotonic, so that the extremes of a row, and of the whole crop, lie at its ends.
class FixedMap {
 public:
  FixedMap(const Affine& source_to_destination, int w) : back_(invert(source_to_destination)), step_x(w), step_y(w) {
    for (const double m : back_.m) check(std::isfinite(m), "warp_affine: the map is not finite");
    for (int x = 0; x < w; ++x) {
      step_x[x] = fixed(back_.m[0] * x);
      step_y[x] = fixed(back_.m[3] * x);
    }
  }
  int row_x(int y) const { return fixed(back_.m[1] * y + back_.m[2]) + rounding; }
  int row_y(int y) const { return fixed(back_.m[4] * y + back_.m[5]) + rounding; }
  static constexpr int shift = coordinate_bits - weight_bits;

 private:
  static constexpr int rounding = 1 << (shift - 1);
  Affine back_;

 public:
  std::vector<int> step_x, step_y;
};

// Computes one output pixel from its 2x2 neighbourhood. The weights are products of two 5-bit fractions. The sum is
// therefore exact in int, and rounding it gives the same result as the reference's 15-bit weights.
inline void blend(const uint8_t* top_left, const uint8_t* top_right, const uint8_t* bottom_left,
                  const uint8_t* bottom_right, int fx, int fy, uint8_t* out) {
  const int gx = weight_one - fx, gy = weight_one - fy;
  for (int c = 0; c < 3; ++c) {
    const int top = top_left[c] * gx + top_right[c] * fx;
    const int bottom = bottom_left[c] * gx + bottom_right[c] * fx;
    out[c] = static_cast<uint8_t>((top * gy + bottom * fy + (1 << (2 * weight_bits - 1))) >> (2 * weight_bits));
  }
}

// The source of each pixel in a row of the crop. weight_x is (32 - fx) | fx << 8; weight_y is (32 - fy) | fy << 16.
struct RowTable {
  std::vector<int> x, y, offset, weight_y;
  std::vector<uint16_t> weight_x;
  explicit RowTable(int w) : x(w), y(w), offset(w), weight_y(w), weight_x(w) {}
};

#ifdef HR_WITH_AVX2
#ifndef __AVX2__
#pragma GCC push_options
#pragma GCC target("avx2")
#define HR_AVX2_BY_PRAGMA
#endif
// Blends pixels from `begin` on, four at a time, and returns the first one that is left. Needs AVX2.
int blend_row_avx2(const uint8_t* pixels, size_t stride, size_t readable, const RowTable& table, int begin, int end,
                   uint8_t* out) {
  int i = begin;
  int last = 0;
  for (int k = begin; k < end; ++k) last = std::max(last, table.offset[k]);
  if (static_cast<size_t>(last) + stride + 8 <= readable) {
    // Turns two neighbouring pixels of a row, r g b R G B x x, into r R g G b B and two zeros. Products with the column
    // weights are then sums of neighbours (at most 255 * 32, which fits into 16 bits), and so are those with the row
    // weights.
    const __m256i pair = _mm256_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1,  //
                                          0, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1);
    const __m256i spread = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3,  //
                                            4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
    const __m256i first = _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2), second = _mm256_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3);
    const __m256i half = _mm256_set1_epi32(1 << (2 * weight_bits - 1));
    const __m256i pack = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                          0, 1, 2, 4, 5, 6, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const auto load = [](const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d) {
      const auto eight = [](const uint8_t* p) {
        long long v = 0;
        std::memcpy(&v, p, 8);
        return v;
      };
      return _mm256_set_epi64x(eight(d), eight(c), eight(b), eight(a));
    };
    for (; i + 4 <= end; i += 4) {
      const uint8_t* p[4];
      for (int k = 0; k < 4; ++k) p[k] = pixels + table.offset[i + k];
      const __m256i top = _mm256_shuffle_epi8(load(p[0], p[1], p[2], p[3]), pair);
      const __m256i bottom =
          _mm256_shuffle_epi8(load(p[0] + stride, p[1] + stride, p[2] + stride, p[3] + stride), pair);
      long long four = 0;
      std::memcpy(&four, table.weight_x.data() + i, 8);
      const __m256i wx = _mm256_shuffle_epi8(_mm256_set1_epi64x(four), spread);
      const __m256i t = _mm256_maddubs_epi16(top, wx), b = _mm256_maddubs_epi16(bottom, wx);
      const __m256i wy =
          _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table.weight_y.data() + i)));
      const __m256i even = _mm256_madd_epi16(_mm256_unpacklo_epi16(t, b), _mm256_permutevar8x32_epi32(wy, first));
      const __m256i odd = _mm256_madd_epi16(_mm256_unpackhi_epi16(t, b), _mm256_permutevar8x32_epi32(wy, second));
      const __m256i words = _mm256_packus_epi32(_mm256_srli_epi32(_mm256_add_epi32(even, half), 2 * weight_bits),
                                                _mm256_srli_epi32(_mm256_add_epi32(odd, half), 2 * weight_bits));
      const __m256i result = _mm256_shuffle_epi8(_mm256_packus_epi16(words, words), pack);
      uint8_t* to = out + 3 * static_cast<size_t>(i);
      const long long low = _mm256_extract_epi64(result, 0), high = _mm256_extract_epi64(result, 2);
      std::memcpy(to, &low, 8);
      std::memcpy(to + 6, &high, 8);
    }
  }
  return i;
}
#ifdef HR_AVX2_BY_PRAGMA
#pragma GCC pop_options
#endif
#endif

// Blends the pixels [begin, end), whose neighbourhoods are in memory. The vectors read eight bytes where six are
// needed; `readable` is the number of readable bytes from `pixels` on. `out` must have 4 spare bytes behind pixel end -
// 1.
void blend_row(const uint8_t* pixels, size_t stride, [[maybe_unused]] size_t readable, const RowTable& table, int begin,
               int end, uint8_t* out) {
  int i = begin;
#ifdef HR_WITH_AVX2
  if (cpu_level() >= CpuLevel::v3) i = blend_row_avx2(pixels, stride, readable, table, begin, end, out);
#endif
  for (; i < end; ++i) {
    const uint8_t* at = pixels + table.offset[i];
    blend(at, at + 3, at + stride, at + stride + 3, table.weight_x[i] >> 8, table.weight_y[i] >> 16,
          out + 3 * static_cast<size_t>(i));
  }
}

}  // namespace

Region warp_region(const Affine& source_to_destination, int w, int h, int picture_width, int picture_height,
                   bool mirrored) {
  check(w > 0 && h > 0, "warp_region: a crop of {} x {} pixels cannot be made", w, h);
  const FixedMap map(source_to_destination, w);
  const auto extent = [&](const std::vector<int>& step, int row_first, int row_last, int side) {
    const auto [step_low, step_high] = std::minmax(step.front(), step.back());
    const auto [row_low, row_high] = std::minmax(row_first, row_last);
    const int low = (row_low + step_low) >> (FixedMap::shift + weight_bits);
    const int high = (row_high + step_high) >> (FixedMap::shift + weight_bits);
    // The 1 is added for the right or lower neighbour.
    return std::pair(std::max(low, 0), std::min(high + 1, side - 1));
  };
  const auto [x0, x1] = extent(map.step_x, map.row_x(0), map.row_x(h - 1), picture_width);
  const auto [y0, y1] = extent(map.step_y, map.row_y(0), map.row_y(h - 1), picture_height);
  if (x1 < x0 || y1 < y0) return {};
  return {mirrored ? picture_width - 1 - x1 : x0, y0, x1 - x0 + 1, y1 - y0 + 1};
}

namespace {

// Checks that the view holds everything that the crop needs.
Region check_source(const ImageView& source, const Affine& source_to_destination, int w, int h, bool mirrored) {
  check(source.width > 0 && source.height > 0, "warp_affine: empty picture");
  check(w > 0 && h > 0, "warp_affine: a crop of {} x {} pixels cannot be made", w, h);
  check(source.width <= max_side && source.height <= max_side,
        "warp_affine: a picture of {} x {} pixels; at most 2^20 on a side, scale it down first", source.width,
        source.height);
  const Region part = source.region;
  const Region needed = warp_region(source_to_destination, w, h, source.width, source.height, mirrored);
  check(part.contains(needed),
        "warp_affine: needs {} x {} pixels at {}, {} of the picture; given are {} x {} at {}, {}", needed.w, needed.h,
        needed.x, needed.y, part.w, part.h, part.x, part.y);
  return needed;
}

}  // namespace

Region warp_tables(const ImageView& source, const Affine& source_to_destination, int w, int h, bool mirrored,
                   std::span<int32_t> tables) {
  const Region needed = check_source(source, source_to_destination, w, h, mirrored);
  check(tables.size() == 2 * (static_cast<size_t>(w) + static_cast<size_t>(h)),
        "warp_tables: memory for {} numbers does not fit a crop of {} x {}", tables.size(), w, h);
  const FixedMap map(source_to_destination, w);
  auto rows =
      std::copy(map.step_y.begin(), map.step_y.end(), std::copy(map.step_x.begin(), map.step_x.end(), tables.begin()));
  for (int y = 0; y < h; ++y, ++rows) {
    rows[0] = map.row_x(y);
    rows[h] = map.row_y(y);
  }
  return needed;
}

void warp_affine(const ImageView& source, const Affine& source_to_destination, int w, int h, bool mirrored,
                 const std::function<void(int y, const uint8_t* rgb)>& put) {
  check_source(source, source_to_destination, w, h, mirrored);
  const Region part = source.region;
  check(part.h * static_cast<int64_t>(source.stride) < int64_t{1} << 31, "warp_affine: a part of {} x {} pixels",
        part.w, part.h);

  const FixedMap map(source_to_destination, w);
  const int last_x = source.width - 1, last_y = source.height - 1;
  // The columns of the (mirrored) picture whose right neighbour is in memory too; the same for rows.
  const int left = mirrored ? last_x - (part.x + part.w - 1) : part.x, right = left + part.w - 2;
  const int top = part.y, bottom = part.y + part.h - 2;
  RowTable table(w);
  std::vector<uint8_t> row(static_cast<size_t>(w) * 3 + 4);
  static constexpr uint8_t outside[3] = {0, 0, 0};

  const auto whole = [](int v) { return v >> weight_bits; };
  const auto inside = [&](int x) {
    const int sx = whole(table.x[x]), sy = whole(table.y[x]);
    return sx >= left && sx <= right && sy >= top && sy <= bottom;
  };
  // For pixels whose neighbourhood is not complete in memory. Outside of the picture it is black.
  const auto careful = [&](int x) {
    const int sx = whole(table.x[x]), sy = whole(table.y[x]);
    if (sx < -1 || sx > last_x || sy < -1 || sy > last_y) return;  // The pixel stays 0.
    const auto pixel = [&](int px, int py) {
      if (px < 0 || px > last_x || py < 0 || py > last_y) return outside;
      return source.at(mirrored ? last_x - px : px, py);
    };
    blend(pixel(sx, sy), pixel(sx + 1, sy), pixel(sx, sy + 1), pixel(sx + 1, sy + 1), table.x[x] & (weight_one - 1),
          table.y[x] & (weight_one - 1), row.data() + 3 * static_cast<size_t>(x));
  };

  for (int y = 0; y < h; ++y) {
    const int row_x = map.row_x(y), row_y = map.row_y(y);
    for (int x = 0; x < w; ++x) table.x[x] = (row_x + map.step_x[x]) >> FixedMap::shift;
    for (int x = 0; x < w; ++x) table.y[x] = (row_y + map.step_y[x]) >> FixedMap::shift;
    // The inside is convex: if both ends of the row are inside, all of it is.
    int begin = 0, end = w;
    if (!inside(0) || !inside(w - 1)) {
      std::fill(row.begin(), row.end(), uint8_t{0});
      const auto beside = [&](int a, int b, int low, int high) {
        return std::max(a, b) < low || std::min(a, b) > high;
      };
      if (beside(whole(table.x[0]), whole(table.x[w - 1]), -1, last_x) ||
          beside(whole(table.y[0]), whole(table.y[w - 1]), -1, last_y)) {
        begin = end = 0;  // The whole row is black.
      } else {
        while (begin < w && !inside(begin)) ++begin;
        while (end > begin && !inside(end - 1)) --end;
        for (int x = 0; x < begin; ++x) careful(x);
        for (int x = end; x < w; ++x) careful(x);
      }
    }
    const int stride = static_cast<int>(source.stride);
    for (int x = begin; x < end; ++x) {
      const int sx = table.x[x] >> weight_bits, sy = table.y[x] >> weight_bits;
      const int fx = table.x[x] & (weight_one - 1), fy = table.y[x] & (weight_one - 1);
      // In the mirrored picture the right neighbour lies one pixel to the left.
      const int column = mirrored ? last_x - 1 - sx : sx;
      const int right_weight = mirrored ? weight_one - fx : fx;
      table.offset[x] = (sy - part.y) * stride + (column - part.x) * 3;
      table.weight_x[x] = static_cast<uint16_t>((weight_one - right_weight) | right_weight << 8);
      table.weight_y[x] = (weight_one - fy) | fy << 16;
    }
    // The vectors write up to 2 bytes too far. The bytes behind `end` are restored if they are not black.
    uint8_t behind[4] = {0, 0, 0, 0};
    if (end < w && begin < end) std::memcpy(behind, row.data() + 3 * static_cast<size_t>(end), 3);
    if (begin < end) {
      blend_row(source.pixels, source.stride, source.readable, table, begin, end, row.data());
      if (end < w) std::memcpy(row.data() + 3 * static_cast<size_t>(end), behind, 3);
    }
    put(y, row.data());
  }
}

Image warp_affine(const ImageView& source, const Affine& source_to_destination, int w, int h, bool mirrored) {
  Image out(std::max(w, 0), std::max(h, 0));
  warp_affine(source, source_to_destination, w, h, mirrored,
              [&](int y, const uint8_t* rgb) { std::memcpy(out.at(0, y), rgb, static_cast<size_t>(w) * 3); });
  return out;
}

}  // namespace hr
