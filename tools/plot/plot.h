// Line plots as pictures, for loss, learning rate and AP over epochs. They need no fonts or libraries beyond draw.h,
// and the same input gives the same bytes.
#pragma once
#include <string>
#include <vector>

#include "data/draw/draw.h"

namespace hr {

struct Series {
  std::string name;          // in the legend; empty: not listed
  std::vector<double> x, y;  // same length; a point that is not within +-1e300 (or y <= 0 under log_y) is a gap
};

struct Panel {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  bool log_y = false;
  bool y_from_zero = false;  // the axis begins at 0 (for AP and similar scores)
};

// Where the data of a panel lie in the picture: x = left + (value - x_lo) / (x_hi - x_lo) * width; y goes downwards
// from the top. With log_y, y_lo and y_hi are log10 of the axis ends.
struct PlotFrame {
  double left = 0, top = 0, width = 0, height = 0;  // pixels
  double x_lo = 0, x_hi = 1, y_lo = 0, y_hi = 1;
  bool log_y = false;
  Point at(double x, double y) const;
};

// Draws the panels side by side if the picture is wide (each panel would be wider than 4:3 otherwise), else one above
// the other. Throws Error if there is no panel, if x and y of a series differ in length, or if the picture is too small
// for its panels. If `frames` is given, it receives one entry per panel.
Image plot(const std::vector<Panel>& panels, int width, int height, std::vector<PlotFrame>* frames = nullptr);

// Returns about `wanted` round numbers at most (1, 2, 5 times a power of ten) inside [lo, hi]. Returns none if the ends
// are not finite, not in order, or so close that no round numbers lie between them.
std::vector<double> nice_ticks(double lo, double hi, int wanted);

}  // namespace hr
