#include "tools/synth/scene_background.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tools/synth/figure.h"
#include "tools/synth/random.h"
#include "tools/synth/scene_shapes.h"

namespace hr::synth_detail {
namespace {

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

}  // namespace

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

}  // namespace hr::synth_detail
