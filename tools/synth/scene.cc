// A picture: background, people and things from far to near, then what the painter's canvas says about who is visible.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "tools/synth/figure.h"
#include "tools/synth/synth.h"

namespace hr {
namespace synth_detail {
namespace {

// How hard the pictures are.
constexpr double kFrontObject = 0.12;       // pictures with a thing before somebody
constexpr double kCloseUp = 0.08;           // people cut by the picture's lower edge
constexpr double kMayOverlap = 0.15;        // people who may stand well in front of another
constexpr double kLeastVisible = 0.40;      // part of a person that must show for joints to be labelled
constexpr double kLeastArea = 32.0 * 32.0;  // mask pixels, COCO's bound of "small": below it joints are not labelled
constexpr double kLeastMask = 60;           // mask pixels; below it the person is not annotated at all

float uniform(Philox& rng, double lo, double hi) { return static_cast<float>(rng.uniform(lo, hi)); }
bool chance(Philox& rng, double p) { return rng.uniform() < p; }
int whole(Philox& rng, int lo, int hi) {
  const int count = hi - lo + 1;
  return lo + static_cast<int>(rng.below(static_cast<uint64_t>(count)));
}

// ---- background ---------------------------------------------------------------------------------------------------

// Flat shapes of the background or of a thing; owner 0 leaves no trace in the mask. Each takes one struct because the
// arguments of a call are evaluated in an order that compilers choose, those in braces from left to right: most draw
// random numbers, and the pictures must not depend on the compiler.
struct Disc {
  Canvas& canvas;
  Point at;
  float radius;
  Rgb color;
  uint16_t owner;
};
void disc(const Disc& d) {
  Extent box;
  box.add(d.at, d.radius);
  paint(
      d.canvas, box, d.owner, [&](float x, float y) { return std::hypot(x - d.at.x, y - d.at.y) - d.radius; },
      [&](float x, float y) {
        return d.color * (1.0F - 0.16F * ((x - d.at.x) + 2 * (y - d.at.y)) / (2.2F * d.radius));
      });
}

struct Slab {
  Canvas& canvas;
  float x, y, w, h;  // left, top, width, height
  Rgb color;
  uint16_t owner;
};
void slab(const Slab& s) {
  Extent box;
  box.add({s.x, s.y}, 0);
  box.add({s.x + s.w, s.y + s.h}, 0);
  const float cx = s.x + s.w / 2, cy = s.y + s.h / 2;
  paint(
      s.canvas, box, s.owner,
      [&](float x, float y) { return std::max(std::abs(x - cx) - s.w / 2, std::abs(y - cy) - s.h / 2); },
      [&](float x, float) { return s.color * (1.06F - 0.16F * (x - s.x) / std::max(s.w, 1.0F)); });
}

struct Stick {
  Canvas& canvas;
  Point a, b;
  float radius_a, radius_b;
  Rgb color;
  uint16_t owner;
};
void stick(const Stick& s) {
  const CapsuleShape shape(s.a, s.b, s.radius_a, s.radius_b);
  paint(s.canvas, shape.extent(), s.owner, shape, [&](float x, float y) {
    return s.color * (1.0F - 0.22F * shape.across(x, y) / shape.radius(shape.along(x, y)));
  });
}

void gradient(Canvas& canvas, int y0, int y1, Rgb top, Rgb bottom) {
  y0 = std::max(y0, 0);
  y1 = std::min(y1, canvas.image.height);
  for (int y = y0; y < y1; ++y) {
    const Rgb c = mix(top, bottom, static_cast<float>(y - y0) / static_cast<float>(y1 - y0));
    const std::array<uint8_t, 3> byte{to_byte(c.r), to_byte(c.g), to_byte(c.b)};
    uint8_t* row = canvas.image.at(0, y);
    for (int x = 0; x < canvas.image.width; ++x)
      std::copy(byte.begin(), byte.end(), row + static_cast<ptrdiff_t>(x) * 3);
  }
}

// Smooth lattice noise multiplied into rows [y0, y1): mottled walls, grass, clouds.
struct Mottle {
  Canvas& canvas;
  Philox& rng;
  int y0, y1;
  float cell_x, cell_y;  // pixels
  float strength;
};
void mottle(const Mottle& m) {
  auto& [canvas, rng, first, last, cell_x, cell_y, strength] = m;
  int y0 = first, y1 = last;
  const int width = canvas.image.width;
  y0 = std::max(y0, 0);
  y1 = std::min(y1, canvas.image.height);
  if (y0 >= y1) return;
  const int columns = static_cast<int>(static_cast<float>(width) / cell_x) + 2;
  const int rows = static_cast<int>(static_cast<float>(y1 - y0) / cell_y) + 2;
  std::vector<float> lattice(static_cast<size_t>(columns) * rows);
  for (float& v : lattice) v = 256 * (1 + strength * (static_cast<float>(rng.u32() >> 8) * 0x1p-23F - 1));
  std::vector<float> line(static_cast<size_t>(columns));
  for (int y = y0; y < y1; ++y) {
    const float fy = static_cast<float>(y - y0) / cell_y;
    const int row = static_cast<int>(fy);
    const float ty = fy - static_cast<float>(row);
    const float* upper = &lattice[static_cast<size_t>(row) * columns];
    for (int c = 0; c < columns; ++c) line[static_cast<size_t>(c)] = upper[c] + (upper[columns + c] - upper[c]) * ty;
    uint8_t* pixel = canvas.image.at(0, y);
    for (int x = 0; x < width; ++x, pixel += 3) {
      const float fx = static_cast<float>(x) / cell_x;
      const int column = static_cast<int>(fx);
      const float a = line[static_cast<size_t>(column)], b = line[static_cast<size_t>(column) + 1];
      const int gain = static_cast<int>(a + (b - a) * (fx - static_cast<float>(column)));
      for (int c = 0; c < 3; ++c) pixel[c] = static_cast<uint8_t>(std::min(pixel[c] * gain >> 8, 255));
    }
  }
}

struct Tree {
  Canvas& canvas;
  Philox& rng;
  float x, ground, height;
};
void tree(const Tree& t) {
  auto& [canvas, rng, x, ground, height] = t;
  const Rgb bark{uniform(rng, 60, 110), uniform(rng, 45, 75), uniform(rng, 30, 55)};
  const Rgb leaf{uniform(rng, 30, 120), uniform(rng, 80, 160), uniform(rng, 25, 80)};
  stick({canvas, {x, ground}, {x, ground - 0.5F * height}, 0.05F * height, 0.03F * height, bark, 0});
  for (int i = 0; i < 7; ++i) {
    disc({canvas,
          {x + uniform(rng, -0.2, 0.2) * height, ground - uniform(rng, 0.5, 0.95) * height},
          uniform(rng, 0.10, 0.2) * height,
          leaf * uniform(rng, 0.75, 1.15),
          0});
  }
}

struct Building {
  Canvas& canvas;
  Philox& rng;
  float x, ground, w, h;
};
void building(const Building& b) {
  auto& [canvas, rng, x, ground, w, h] = b;
  const Rgb wall = mix(random_color(rng), {150, 140, 130}, 0.6F),
            glass{uniform(rng, 60, 230), uniform(rng, 80, 230), uniform(rng, 100, 240)};
  slab({canvas, x, ground - h, w, h, wall, 0});
  const float step = uniform(rng, 14, 34), size = step * uniform(rng, 0.4, 0.65);
  for (float wy = ground - h + step * 0.4F; wy + size < ground; wy += step) {
    for (float wx = x + step * 0.4F; wx + size < x + w; wx += step)
      slab({canvas, wx, wy, size, size, glass * uniform(rng, 0.7, 1.05), 0});
  }
}

// Each background returns the row where the ground begins.
float outdoors(Canvas& canvas, Philox& rng) {
  const int width = canvas.image.width, height = canvas.image.height;
  const auto w = static_cast<float>(width), h = static_cast<float>(height);
  const float horizon = h * uniform(rng, 0.3, 0.7);
  const int line = static_cast<int>(horizon);
  const Rgb sky{uniform(rng, 90, 220), uniform(rng, 140, 225), uniform(rng, 190, 250)};
  gradient(canvas, 0, line, sky * 0.85F, mix(sky, {250, 245, 235}, 0.6F));
  mottle({canvas, rng, 0, line, uniform(rng, 50, 140), uniform(rng, 20, 50), uniform(rng, 0.02, 0.16)});
  const bool town = chance(rng, 0.5);
  if (!town || chance(rng, 0.3)) {  // hills
    const Rgb hill{uniform(rng, 60, 130), uniform(rng, 90, 150), uniform(rng, 60, 130)};
    for (int i = 0, n = whole(rng, 2, 5); i < n; ++i) {
      const float r = w * uniform(rng, 0.2, 0.6);
      disc({canvas, {uniform(rng, 0, w), horizon + r * uniform(rng, 0.6, 0.9)}, r, hill * uniform(rng, 0.8, 1.15), 0});
    }
  }
  if (town) {
    for (int i = 0, n = whole(rng, 2, 6); i < n; ++i) {
      building({canvas, rng, uniform(rng, -0.1, 0.9) * w, horizon + 3, uniform(rng, 0.12, 0.35) * w,
                uniform(rng, 0.15, 0.6) * h});
    }
  }
  constexpr std::array<Rgb, 6> soils{
      {{96, 140, 70}, {150, 150, 148}, {196, 176, 130}, {110, 104, 100}, {160, 140, 116}, {230, 232, 238}}};
  const Rgb soil = soils[rng.below(soils.size())];
  gradient(canvas, line, height, mix(soil, sky, 0.25F), soil * uniform(rng, 0.75, 1.0));
  mottle({canvas, rng, line, height, uniform(rng, 3, 24), uniform(rng, 2, 8), uniform(rng, 0.05, 0.3)});
  for (int i = 0, n = whole(rng, 0, 4); i < n; ++i) {
    tree({canvas, rng, uniform(rng, 0, w), horizon + uniform(rng, 0, 0.1) * h, uniform(rng, 0.2, 0.7) * h});
  }
  if (chance(rng, 0.3)) {  // a fence
    const float y = horizon + uniform(rng, -0.05, 0.06) * h, gap = uniform(rng, 14, 40),
                tall = uniform(rng, 0.08, 0.2) * h;
    const Rgb color = random_color(rng);
    for (float x = uniform(rng, 0, gap); x < w; x += gap) stick({canvas, {x, y}, {x, y - tall}, 2.2F, 2.2F, color, 0});
    stick({canvas, {0, y - 0.7F * tall}, {w, y - 0.7F * tall}, 1.8F, 1.8F, color * 0.9F, 0});
  }
  return horizon;
}

float indoors(Canvas& canvas, Philox& rng) {
  const int width = canvas.image.width, height = canvas.image.height;
  const auto w = static_cast<float>(width), h = static_cast<float>(height);
  const float corner = h * uniform(rng, 0.5, 0.85);
  const int line = static_cast<int>(corner);
  const Rgb tint = random_color(rng), wall = mix(tint, {225, 220, 210}, uniform(rng, 0.2, 0.8)),
            paper = wall * uniform(rng, 0.82, 0.95);
  gradient(canvas, 0, line, wall * uniform(rng, 0.8, 1), wall);
  const int pattern = whole(rng, 0, 4);
  const float step = uniform(rng, 12, 48);
  if (pattern == 1) {  // striped wallpaper
    for (float x = uniform(rng, 0, step); x < w; x += 2 * step) slab({canvas, x, 0, step, corner, paper, 0});
  } else if (pattern == 2) {  // bricks
    const float row = step * 0.55F;
    int odd = 0;
    for (float y = 0; y < corner; y += row, odd ^= 1) {
      slab({canvas, 0, y, w, 1.5F, paper, 0});
      for (float x = odd != 0 ? step * 0.6F : 0; x < w; x += step * 1.2F)
        slab({canvas, x, y, 1.5F, std::min(row, corner - y), paper, 0});
    }
  } else if (pattern == 3) {  // tiles
    for (float x = uniform(rng, 0, step); x < w; x += step) slab({canvas, x, 0, 1.5F, corner, paper, 0});
    for (float y = uniform(rng, 0, step); y < corner; y += step) slab({canvas, 0, y, w, 1.5F, paper, 0});
  }
  mottle({canvas, rng, 0, line, uniform(rng, 20, 110), uniform(rng, 20, 110), uniform(rng, 0.03, 0.2)});
  const Rgb floor = mix(random_color(rng), {150, 110, 75}, 0.6F);
  gradient(canvas, line, height, floor * 0.75F, floor);
  if (chance(rng, 0.5)) {  // boards that run to a vanishing point
    for (float x = -w; x < 2 * w; x += uniform(rng, 20, 60)) {
      stick({canvas, {w / 2 + (x - w / 2) * 0.55F, corner}, {x, h}, 0.7F, 1.2F, floor * 0.6F, 0});
    }
  }
  mottle({canvas, rng, line, height, uniform(rng, 5, 60), uniform(rng, 3, 20), uniform(rng, 0.03, 0.2)});
  for (int i = 0, n = whole(rng, 1, 4); i < n; ++i) {  // pictures, windows, cupboards
    const float fw = uniform(rng, 0.08, 0.3) * w, fh = uniform(rng, 0.1, 0.45) * h;
    const float x = uniform(rng, -0.05, 0.9) * w, y = chance(rng, 0.6) ? uniform(rng, 0.02, 0.3) * h : corner - fh + 4;
    const Rgb frame = random_color(rng);
    slab({canvas, x, y, fw, fh, frame, 0});
    slab({canvas, x + 4, y + 4, fw - 8, fh - 8, random_color(rng), 0});
    if (chance(rng, 0.4)) slab({canvas, x + fw / 2 - 1.5F, y, 3, fh, frame, 0});
  }
  return corner;
}

float abstract(Canvas& canvas, Philox& rng) {
  const auto w = static_cast<float>(canvas.image.width), h = static_cast<float>(canvas.image.height);
  const Rgb top = random_color(rng), bottom = random_color(rng);
  gradient(canvas, 0, canvas.image.height, top, bottom);
  for (int i = 0, n = whole(rng, 3, 14); i < n; ++i) {
    const Point at{uniform(rng, 0, w), uniform(rng, 0, h)};
    const Rgb color = random_color(rng);
    switch (whole(rng, 0, 2)) {
      case 0:
        disc({canvas, at, uniform(rng, 5, 60), color, 0});
        break;
      case 1:
        slab({canvas, at.x, at.y, uniform(rng, 10, 120), uniform(rng, 10, 120), color, 0});
        break;
      default:
        stick({canvas,
               at,
               {at.x + uniform(rng, -100, 100), at.y + uniform(rng, -100, 100)},
               uniform(rng, 2, 12),
               uniform(rng, 2, 9),
               color,
               0});
    }
  }
  mottle({canvas, rng, 0, canvas.image.height, uniform(rng, 4, 90), uniform(rng, 4, 90), uniform(rng, 0.05, 0.35)});
  return 0.3F * h;
}

// ---- things -------------------------------------------------------------------------------------------------------

void contact_shadow(Canvas& canvas, const Figure& f) {
  const Extent e = f.extent();
  const float y = std::max({f.heels[0].y, f.heels[1].y, f.toes[0].y, f.toes[1].y}) + 0.015F * f.stature;
  const float cx = (e.x0 + e.x1) / 2, rx = std::max(0.30F * (e.x1 - e.x0), 0.12F * f.stature), ry = 0.028F * f.stature;
  Extent box;
  box.add({cx - rx, y - ry}, 0);
  box.add({cx + rx, y + ry}, 0);
  rasterise(
      canvas.image.width, canvas.image.height, box.x0, box.y0, box.x1, box.y1,
      [=](float x, float y2) {
        return std::hypot((x - cx) / rx, (y2 - y) / ry) - 0.5F;
      },  // 1 in the middle, 0 at the rim
      [&](int x, int y2, float coverage) {
        put(canvas.image.at(x, y2), {20, 20, 25}, 0.45F * coverage);
      });
}

// Something to sit on, behind the thighs. Shadows and seats belong to nobody, but they cover whoever is behind them.
void seat(Canvas& canvas, Philox& rng, const Figure& f, uint16_t owner) {
  const Rgb color = random_color(rng);
  const float s = f.stature, x = f.spine_bottom.x, y = f.spine_bottom.y + 0.05F * s;
  const float bottom = std::max({f.heels[0].y, f.heels[1].y, y + 0.2F * s}), half = uniform(rng, 0.13, 0.22) * s;
  if (chance(rng, 0.5))
    slab({canvas, x - half, y - uniform(rng, 0.2, 0.34) * s, 2 * half, 0.3F * s, color * 0.8F, owner});  // back rest
  slab({canvas, x - half, y, 2 * half, 0.05F * s, color, owner});
  if (chance(rng, 0.5)) {
    slab({canvas, x - half, y + 0.05F * s, 2 * half, bottom - y - 0.05F * s, color * 0.7F, owner});
  } else {
    for (const float side : {-1.0F, 0.85F})
      slab({canvas, x + side * half, y, 0.15F * half, bottom - y, color * 0.6F, owner});
  }
}

// A thing near a person, in front of it: hides a strip or the lower legs, seldom more.
void thing(Canvas& canvas, Philox& rng, const Figure& f) {
  const auto owner = static_cast<uint16_t>(kObject << 8);
  const Extent e = f.extent();
  const float s = f.stature, x = uniform(rng, e.x0, e.x1), h = e.y1 - e.y0;
  const Rgb color = random_color(rng);
  const auto below = static_cast<float>(canvas.image.height);
  switch (whole(rng, 0, 4)) {
    case 0:
      stick({canvas,
             {x, e.y0 - s * uniform(rng, 0.0, 0.3)},
             {x, e.y1 + 0.05F * s},
             uniform(rng, 0.012, 0.035) * s,
             uniform(rng, 0.015, 0.04) * s,
             color,
             owner});
      break;
    case 1: {  // a box or a low wall
      const float w = uniform(rng, 0.2, 0.5) * s, tall = uniform(rng, 0.08, 0.26) * h;
      slab({canvas, x - w / 2, e.y1 - tall, w, tall + 0.03F * s, color, owner});
      slab({canvas, x - w / 2, e.y1 - tall, w, 0.03F * s, color * 1.2F, owner});
      break;
    }
    case 2:
      disc({canvas, {x, e.y1 - uniform(rng, 0, 0.2) * h}, uniform(rng, 0.05, 0.12) * s, color, owner});
      break;
    case 3: {  // a table
      const float w = uniform(rng, 0.4, 0.8) * s, top = e.y1 - uniform(rng, 0.25, 0.42) * h,
                  thick = uniform(rng, 0.025, 0.05) * s;
      slab({canvas, x - w / 2, top, w, thick, color, owner});
      for (const float leg : {-0.46F, 0.42F})
        slab({canvas, x + leg * w, top + thick, 0.04F * w, std::min(e.y1, below) - top, color * 0.7F, owner});
      break;
    }
    default: {  // a bush
      const Rgb leaf{uniform(rng, 30, 110), uniform(rng, 80, 150), uniform(rng, 25, 80)};
      const float r = uniform(rng, 0.05, 0.1) * s;
      for (int i = 0; i < 6; ++i) {
        disc({canvas,
              {x + uniform(rng, -2, 2) * r, e.y1 - uniform(rng, 0, 1.5) * r},
              r * uniform(rng, 0.7, 1.1),
              leaf * uniform(rng, 0.8, 1.15),
              owner});
      }
    }
  }
}

// ---- people in the picture ----------------------------------------------------------------------------------------

float overlap(const Extent& a, const Extent& b) {  // intersection over the smaller box
  const float w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0), h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (w <= 0 || h <= 0) return 0;
  return w * h / std::min((a.x1 - a.x0) * (a.y1 - a.y0), (b.x1 - b.x0) * (b.y1 - b.y0));
}

std::vector<Figure> gather(Philox& rng, int width, int height, float ground) {
  const auto w = static_cast<float>(width), h = static_cast<float>(height);
  const double kind = rng.uniform();
  const int people = kind < 0.34 ? 1 : kind < 0.62 ? 2 : kind < 0.82 ? 3 : kind < 0.93 ? 4 : 5;
  std::vector<Figure> crowd;
  std::vector<Extent> taken;
  for (int i = 0; i < people; ++i) {
    const bool close_up = i == 0 && chance(rng, kCloseUp);
    // Log-uniform: as many small ones as large ones.
    const double least = people == 1 ? 0.42 : 0.28, most = people == 1 ? 1.0 : people < 4 ? 0.92 : 0.75;
    const double part = close_up ? rng.uniform(1.15, 1.9) : least * std::pow(most / least, rng.uniform());
    Figure f = make_figure(rng, static_cast<float>(part) * std::min(h, 1.25F * w));
    const Extent e = f.extent();
    const float fw = e.x1 - e.x0, fh = e.y1 - e.y0;
    const float tolerated = chance(rng, kMayOverlap) ? 0.55F : 0.18F;
    const float outside = chance(rng, 0.12) ? 0.4F * fw : 0.02F * fw;  // how far it may leave the picture sideways
    float best = 2, best_x = 0, best_y = 0;
    for (int attempt = 0; attempt < 14 && best > tolerated; ++attempt) {
      const float x0 = -outside, x1 = std::max(w - fw + outside, x0 + 1), y1 = std::max(h - fh - 2, 1.0F);
      const float x = uniform(rng, x0, x1);
      const float y = close_up ? uniform(rng, 0.02, 0.12) * h
                               : uniform(rng, std::min(std::max(ground + 0.03F * h - fh, 0.0F), y1 - 1), y1);
      float cost = 0;
      for (const Extent& other : taken) cost = std::max(cost, overlap(other, {x, y, x + fw, y + fh}));
      if (cost < best) {
        best = cost;
        best_x = x;
        best_y = y;
      }
    }
    if (best > 0.6F) continue;  // no room left
    f.move(best_x - e.x0, best_y - e.y0);
    taken.push_back(f.extent());
    crowd.push_back(f);
  }
  // Who is taller in the picture is nearer, mostly.
  std::vector<std::pair<float, size_t>> order;
  order.reserve(crowd.size());
  for (size_t i = 0; i < crowd.size(); ++i) order.emplace_back(crowd[i].stature * uniform(rng, 0.85, 1.15), i);
  std::sort(order.begin(), order.end());
  std::vector<Figure> sorted;
  sorted.reserve(crowd.size());
  for (const auto& [depth, i] : order) sorted.push_back(crowd[i]);
  return sorted;
}

// ---- camera -------------------------------------------------------------------------------------------------------

void soften(Image& image, int side_weight) {  // three taps each way, side_weight of 256 on either neighbour
  const int width = image.width, height = image.height, middle = 256 - 2 * side_weight, stride = width * 3;
  std::vector<uint8_t> above(static_cast<size_t>(stride)), here(static_cast<size_t>(stride));
  for (int y = 0; y < height; ++y) {
    uint8_t* row = image.at(0, y);
    std::copy_n(row, stride, here.begin());
    for (int i = 3; i + 3 < stride; ++i) {
      row[i] =
          static_cast<uint8_t>((here[static_cast<size_t>(i) - 3] * side_weight + here[static_cast<size_t>(i)] * middle +
                                here[static_cast<size_t>(i) + 3] * side_weight + 128) >>
                               8);
    }
  }
  std::copy_n(image.at(0, 0), stride, above.begin());
  for (int y = 1; y + 1 < height; ++y) {
    uint8_t* row = image.at(0, y);
    const uint8_t* next = image.at(0, y + 1);
    std::copy_n(row, stride, here.begin());
    for (int i = 0; i < stride; ++i) {
      row[i] = static_cast<uint8_t>((above[static_cast<size_t>(i)] * side_weight +
                                     here[static_cast<size_t>(i)] * middle + next[i] * side_weight + 128) >>
                                    8);
    }
    std::swap(above, here);
  }
}

void expose(Philox& rng, Image& image) {
  const int gain = static_cast<int>(256 * rng.uniform(0.78, 1.18)),
            offset = static_cast<int>(256 * rng.uniform(-14, 18));
  const int amplitude = chance(rng, 0.25) ? 0 : static_cast<int>(rng.uniform(1, 22));
  uint32_t state = rng.u32() | 1U;  // grain wants speed, not quality: xorshift, seeded by the picture's stream
  for (uint8_t& v : image.rgb) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    const int grain =
        (static_cast<int>(state & 255) + static_cast<int>(state >> 8 & 255) - 255) * amplitude;  // triangular
    v = static_cast<uint8_t>(std::clamp((v * gain + offset + grain + 128) >> 8, 0, 255));
  }
}

}  // namespace
}  // namespace synth_detail

SynthScene synth_scene(uint64_t seed, SynthSplit split, int64_t index, std::span<const PictureSize> sizes) {
  using namespace synth_detail;
  Philox rng(seed, static_cast<uint64_t>(split), static_cast<uint64_t>(index));
  const PictureSize size = sizes[rng.below(sizes.size())];
  Canvas canvas(size.width, size.height);
  const double where = rng.uniform();
  float ground = 0;
  if (where < 0.45) {
    ground = outdoors(canvas, rng);
  } else if (where < 0.82) {
    ground = indoors(canvas, rng);
  } else {
    ground = abstract(canvas, rng);
  }

  const std::vector<Figure> crowd = gather(rng, size.width, size.height, ground);
  const bool with_thing = chance(rng, kFrontObject);
  const size_t hidden = crowd.empty() ? 0 : rng.below(crowd.size());
  std::vector<int> painted(crowd.size());  // mask pixels of each person just after it was painted
  for (size_t i = 0; i < crowd.size(); ++i) {
    const int who = static_cast<int>(i) + 1;
    contact_shadow(canvas, crowd[i]);
    if (crowd[i].seated && chance(rng, 0.85)) seat(canvas, rng, crowd[i], static_cast<uint16_t>(kObject << 8));
    paint_figure(canvas, crowd[i], who);
    painted[i] = static_cast<int>(
        std::count_if(canvas.owner.begin(), canvas.owner.end(), [who](uint16_t o) { return o >> 8 == who; }));
    if (with_thing && i == hidden) thing(canvas, rng, crowd[i]);
  }

  SynthScene scene;
  for (size_t i = 0; i < crowd.size(); ++i) {
    const int who = static_cast<int>(i) + 1;
    int x0 = size.width, y0 = size.height, x1 = -1, y1 = -1, area = 0;
    for (int y = 0; y < size.height; ++y) {
      for (int x = 0; x < size.width; ++x) {
        if (canvas.owner_at(x, y) >> 8 != who) continue;
        ++area;
        x0 = std::min(x0, x);
        x1 = std::max(x1, x);
        y0 = std::min(y0, y);
        y1 = y;
      }
    }
    if (area < kLeastMask || area < 0.06 * painted[i]) continue;
    SynthPerson person;
    person.box = {static_cast<double>(x0), static_cast<double>(y0), static_cast<double>(x1 - x0 + 1),
                  static_cast<double>(y1 - y0 + 1)};
    person.area = area;
    person.mask_value = static_cast<uint8_t>(who);
    if (area >= kLeastArea && area >= kLeastVisible * painted[i]) {
      const std::array<int, kJoints> v = visibility(canvas, crowd[i], who);
      for (size_t k = 0; k < kJoints; ++k) {
        if (v[k] == 0) continue;
        person.keypoints[k * 3] = std::lround(crowd[i].joint[k].x);  // whole pixels, as annotators click
        person.keypoints[k * 3 + 1] = std::lround(crowd[i].joint[k].y);
        person.keypoints[k * 3 + 2] = v[k];
        ++person.num_keypoints;
      }
    }
    scene.people.push_back(person);
  }

  if (chance(rng, 0.5)) soften(canvas.image, static_cast<int>(rng.uniform(8, 70)));
  expose(rng, canvas.image);
  scene.jpeg_quality = whole(rng, 85, 95);
  scene.mask.resize(canvas.owner.size());
  std::transform(canvas.owner.begin(), canvas.owner.end(), scene.mask.begin(),
                 [](uint16_t o) { return static_cast<uint8_t>(o >> 8); });
  scene.image = std::move(canvas.image);
  return scene;
}

}  // namespace hr
