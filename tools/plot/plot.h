// Draws line plots, for example the loss over epochs. A plot is a Drawing (tools/plot/drawing.h), which becomes pixels
// or SVG. The same input gives the same bytes.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "data/draw/draw.h"
#include "tools/plot/drawing.h"

namespace hr {

struct Series {
  std::string name;          // The entry in the legend; if empty, there is none.
  std::vector<double> x, y;  // Of the same length. A point beyond +-1e300, or with y <= 0 under log_y, is a gap.
  bool right = false;        // It belongs to the axis on the right.
};

struct Panel {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  bool log_y = false;
  bool y_from_zero = false;  // The axis begins at 0.
  bool whole_x = false;      // x counts something, so its axis shows whole numbers only.
  // Fixed ends of the axes; without y_range, the ends follow from the data. Points beyond them are gaps. The axis on
  // the right always has fixed ends, and `right_unit` is appended to its numbers.
  std::optional<std::array<double, 2>> y_range = {};
  std::array<double, 2> right_range = {0, 100};
  std::string right_unit = {};
  std::string empty = "no numbers";  // The text in the panel if there is no point to show.
};

// The position of a panel's data in the picture: x = left + (value - x_lo) / (x_hi - x_lo) * width, and y likewise,
// downwards from the top. With log_y, y_lo and y_hi are log10 of the ends of the axis.
struct PlotFrame {
  double left = 0, top = 0, width = 0, height = 0;  // Pixels.
  double x_lo = 0, x_hi = 1, y_lo = 0, y_hi = 1;
  bool log_y = false;
  double right_lo = 0, right_hi = 1;
  Point at(double x, double y) const;
  Point at_right(double x, double y) const;  // y belongs to the axis on the right.
};

// A number at an axis and its position on the axis (log10 of the number on a logarithmic axis).
struct Tick {
  double at = 0;
  std::string label;
};
// Return at most about `wanted` round numbers between the ends of an axis, with as many decimals as they need: 0.015
// and 0.020, or 1e-5. On a logarithmic axis, whose ends are given as log10, these are 1, 2 and 5 times powers of ten;
// if it spans less than one power of ten, they are round numbers at equal distances. With `whole`, only whole numbers
// are used.
std::vector<Tick> linear_ticks(double lo, double hi, int wanted, bool whole = false);
std::vector<Tick> log_ticks(double lo, double hi, int wanted);

// Draws panels in rows and columns, with the number of columns that makes their aspect ratio closest to 3:2. `text` is
// the height of capital letters in pixels. If `frames` is not null, it receives one entry per panel. Throws Error if
// there is no panel, if the x and y of a series differ in length, or if the picture is too small for its panels.
Drawing draw_plot(const std::vector<Panel>& panels, int width, int height, float text = 8,
                  std::vector<PlotFrame>* frames = nullptr);
Image plot(const std::vector<Panel>& panels, int width, int height, std::vector<PlotFrame>* frames = nullptr);

// Returns at most about `wanted` round numbers (multiples of 1, 2 or 5 times a power of ten) inside [lo, hi]. Returns
// none if the ends are not finite, not in order, or so close that no round number lies between them.
std::vector<double> nice_ticks(double lo, double hi, int wanted);

}  // namespace hr
