#include "tools/synth/scene_shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "tools/synth/random.h"

namespace hr::synth_detail {

void disc(const Disc& d) {
  Extent box;
  box.add(d.at, d.radius);
  paint(
      d.canvas, box, d.owner, [&](float x, float y) { return std::hypot(x - d.at.x, y - d.at.y) - d.radius; },
      [&](float x, float y) {
        return d.color * (1.0F - 0.16F * ((x - d.at.x) + 2 * (y - d.at.y)) / (2.2F * d.radius));
      });
}

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

}  // namespace hr::synth_detail
