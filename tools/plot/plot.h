// Line plots: loss and learning rate over epochs, AP. As a drawing they become pixels or SVG (tools/plot/drawing.h);
// the same input gives the same bytes.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "data/draw/draw.h"
#include "tools/plot/drawing.h"

namespace hr {

struct Series {
  std::string name;          // Legend; empty: not listed.
  std::vector<double> x, y;  // Same length; a point that is not within +-1e300 (or y <= 0 under log_y) is a gap.
  bool right = false;        // Its numbers are those of the axis on the right.
};

struct Panel {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  bool log_y = false;
  bool y_from_zero = false;  // The axis begins at 0.
  bool whole_x = false;      // x counts something: its axis shows whole numbers only.
  // The ends of the axes, where they do not follow from the data. Points beyond them are gaps. The axis on the right
  // always has such ends, and `right_unit` stands behind its numbers.
  std::optional<std::array<double, 2>> y_range = {};
  std::array<double, 2> right_range = {0, 100};
  std::string right_unit = {};
  std::string empty = "no numbers";  // What stands in the panel if there is no point to show.
};

// Where a panel's data lie in the picture: x = left + (value - x_lo) / (x_hi - x_lo) * width, y downwards from the top.
// With log_y, y_lo and y_hi are log10 of the axis ends.
struct PlotFrame {
  double left = 0, top = 0, width = 0, height = 0;  // Pixels.
  double x_lo = 0, x_hi = 1, y_lo = 0, y_hi = 1;
  bool log_y = false;
  double right_lo = 0, right_hi = 1;
  Point at(double x, double y) const;
  Point at_right(double x, double y) const;  // y on the axis on the right.
};

// The numbers that stand at an axis, and where on it (log10 of the number on a logarithmic one).
struct Tick {
  double at = 0;
  std::string label;
};
// At most about `wanted` round numbers between the ends of an axis, with as many decimals as they need: 0.015 and
// 0.020, 1e-5. Of a logarithmic axis (its ends are log10) these are 1, 2 and 5 times powers of ten, or, where it spans
// less than a power of ten, round numbers of equal distance. `whole`: no fractions.
std::vector<Tick> linear_ticks(double lo, double hi, int wanted, bool whole = false);
std::vector<Tick> log_ticks(double lo, double hi, int wanted);

// Panels in rows and columns, as many columns as bring each panel closest to 3:2. `text` is the height of capital
// letters in pixels. Throws Error if there is no panel, if the x and y of a series differ in length, or if the picture
// is too small for its panels. `frames`, when given, receives one entry per panel.
Drawing draw_plot(const std::vector<Panel>& panels, int width, int height, float text = 8,
                  std::vector<PlotFrame>* frames = nullptr);
Image plot(const std::vector<Panel>& panels, int width, int height, std::vector<PlotFrame>* frames = nullptr);

// At most about `wanted` round numbers (1, 2, 5 times a power of ten) inside [lo, hi]. None if the ends are not finite,
// not in order, or so close that no round numbers lie between them.
std::vector<double> nice_ticks(double lo, double hi, int wanted);

}  // namespace hr
