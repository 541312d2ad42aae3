// The flat shapes of the surroundings of synthetic people.
#pragma once
#include "core/philox.h"
#include "tools/synth/canvas.h"

namespace hr::synth_detail {

// Flat shapes of the background or of an object; owner 0 leaves no trace in the mask. Each takes one struct, because
// compilers choose the order in which the arguments of a call are evaluated, while those in braces are evaluated from
// left to right. Most of them draw random numbers, and the pictures must not depend on the compiler.
struct Disc {
  Canvas& canvas;
  Point at;
  float radius;
  Rgb color;
  uint16_t owner;
};
void disc(const Disc& d);

struct Slab {
  Canvas& canvas;
  float x, y, w, h;  // left, top, width, height
  Rgb color;
  uint16_t owner;
};
void slab(const Slab& s);

struct Stick {
  Canvas& canvas;
  Point a, b;
  float radius_a, radius_b;
  Rgb color;
  uint16_t owner;
};
void stick(const Stick& s);

void gradient(Canvas& canvas, int y0, int y1, Rgb top, Rgb bottom);

// Multiplies rows [y0, y1) with smooth lattice noise: mottled walls, grass, clouds.
struct Mottle {
  Canvas& canvas;
  Philox& rng;
  int y0, y1;
  float cell_x, cell_y;  // pixels
  float strength;
};
void mottle(const Mottle& m);

}  // namespace hr::synth_detail
