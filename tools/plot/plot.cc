#include "tools/plot/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"

namespace hr {
namespace {

// The difference of two numbers up to this magnitude is finite even with the margins of an axis added.
constexpr double kLargest = 1e300;
// A series of more points than this is drawn as a line without a dot at each point.
constexpr size_t kDots = 40;

struct Range {
  double lo = std::numeric_limits<double>::infinity(), hi = -lo;
  void add(double v) {
    lo = std::min(lo, v);
    hi = std::max(hi, v);
  }
  bool empty() const { return lo > hi; }
};

bool within(double v, const std::array<double, 2>& range) { return v >= range[0] && v <= range[1]; }

// Tells whether point i of a series is shown.
bool usable(const Panel& panel, const Series& series, size_t i) {
  const double x = series.x[i], y = series.y[i];
  if (!(std::abs(x) <= kLargest && std::abs(y) <= kLargest)) return false;  // false for NaN too
  if (series.right) return within(y, panel.right_range);
  if (panel.y_range && !within(y, *panel.y_range)) return false;
  return !panel.log_y || y > 0;
}

void widen(Range& range, double least) {
  if (range.empty()) range = {0, 1};
  if (range.hi - range.lo < least) {
    const double middle = (range.lo + range.hi) / 2;
    range = {middle - least / 2, middle + least / 2};
  }
}

// Returns the ends of the axis on the left. The axis spans at least a tenth of the numbers, so that numbers that hardly
// differ appear as a nearly flat line and not as large fluctuations.
Range left_range(const Panel& panel) {
  Range y;
  for (const Series& series : panel.series) {
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!series.right && usable(panel, series, i)) y.add(panel.log_y ? std::log10(series.y[i]) : series.y[i]);
    }
  }
  if (panel.y_range) {
    const auto [lo, hi] = *panel.y_range;
    return panel.log_y ? Range{std::log10(lo), std::log10(hi)} : Range{lo, hi};
  }
  if (panel.log_y) {
    if (y.empty()) y = {-1, 0};
    widen(y, 0.2);
  } else {
    if (panel.y_from_zero && !y.empty()) y.add(0);
    const double size = y.empty() ? 0 : std::max(std::abs(y.lo), std::abs(y.hi));
    const bool flat_at_zero = size < 1e-300;
    if (flat_at_zero && panel.y_from_zero) return {0, 1};
    widen(y, flat_at_zero ? 1 : 0.1 * size);
  }
  const double margin = (y.hi - y.lo) * 0.05;
  return {panel.y_from_zero && !panel.log_y && y.lo == 0 ? 0 : y.lo - margin, y.hi + margin};
}

Range x_range(const Panel& panel) {
  Range x;
  for (const Series& series : panel.series) {
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (usable(panel, series, i)) x.add(series.x[i]);
    }
  }
  if (x.empty()) return {0, 1};
  if (panel.whole_x) {
    if (x.hi - x.lo < 1) x = {x.lo - 0.5, x.hi + 0.5};
    return x;
  }
  widen(x, std::max(1e-9, std::abs(x.lo) * 1e-9));
  if (x.hi - x.lo < 1e-6) x = {x.lo - 0.5, x.hi + 0.5};
  return x;
}

// Draws one panel into its part of the picture.
class PanelPlot {
 public:
  PanelPlot(Drawing& out, const Panel& panel, double x, double y, double w, double h, float text)
      : out_(out), panel_(panel), text_(text) {
    for (const Series& series : panel.series) has_right_ = has_right_ || series.right;
    place(x, y, w, h);
  }
  const PlotFrame& frame() const { return frame_; }

  void draw() {
    const float left = f(frame_.left), top = f(frame_.top), width = f(frame_.width), height = f(frame_.height);
    draw_title();
    draw_axes(left, top, width, height);
    bool any = false;
    for (size_t s = 0; s < panel_.series.size(); ++s) any = draw_series(panel_.series[s], tone_of(s)) || any;
    if (!any) out_.text(left + width / 2, top + height / 2, panel_.empty, text_, tone::faint, Anchor::middle);
    add_hover(left, top, width, height);
  }

 private:
  static float f(double v) { return static_cast<float>(v); }
  static Tone tone_of(size_t s) { return tone::series[s % std::size(tone::series)]; }

  size_t listed() const {
    size_t count = 0;
    for (const Series& series : panel_.series) count += series.name.empty() ? 0 : 1;
    return count > 1 ? count : 0;  // A single series needs no legend, because the title names it.
  }

  void place(double x, double y, double w, double h) {
    const Range xs = x_range(panel_), ys = left_range(panel_);
    frame_.log_y = panel_.log_y;
    frame_.x_lo = xs.lo, frame_.x_hi = xs.hi;
    frame_.y_lo = ys.lo, frame_.y_hi = ys.hi;
    frame_.right_lo = panel_.right_range[0], frame_.right_hi = panel_.right_range[1];
    const double line = 2.1 * text_;
    frame_.top = y + 3.1 * line + (listed() > 0 ? line : 0) - (panel_.title.empty() ? line : 0);
    frame_.height = y + h - 2.6 * line - (panel_.x_label.empty() ? 0 : line) - frame_.top + line;
    const int wanted = std::clamp(static_cast<int>(frame_.height / (3.6 * text_)), 2, 8);
    left_ticks_ = panel_.log_y ? log_ticks(ys.lo, ys.hi, wanted) : linear_ticks(ys.lo, ys.hi, wanted);
    if (has_right_) right_ticks_ = linear_ticks(frame_.right_lo, frame_.right_hi, wanted);
    for (Tick& tick : right_ticks_) tick.label += panel_.right_unit;
    const double before = widest(left_ticks_) + 1.6 * text_ + (panel_.y_label.empty() ? text_ : 2.6 * text_);
    const double after = has_right_ ? widest(right_ticks_) + 2.2 * text_ : 2 * text_;
    frame_.left = x + before;
    frame_.width = w - before - after;
    check(frame_.width >= 40 && frame_.height >= 30,
          "plot: {}x{} pixels is too small for a panel, use at least 160x120", w, h);
    x_ = f(x);
    y_ = f(y);
  }

  float widest(const std::vector<Tick>& ticks) const {
    float width = 0;
    for (const Tick& tick : ticks) width = std::max(width, text_size(tick.label, text_).width);
    return width;
  }

  void draw_title() {
    const float line = 2.1F * text_;
    float y = y_ + line;
    const float left = f(frame_.left);
    if (!panel_.title.empty()) {
      out_.text(left, y, panel_.title, text_ * 1.2F, tone::ink).bold = true;
      y += line;
    }
    if (listed() == 0) return;
    y += text_ * 0.3F;
    float x = left;
    for (size_t s = 0; s < panel_.series.size(); ++s) {
      const std::string& name = panel_.series[s].name;
      if (name.empty()) continue;
      const float middle = y + text_ / 2;
      out_.line({{x, middle}, {x + 1.6F * text_, middle}}, text_ / 4, tone_of(s));
      out_.text(x + 2.4F * text_, y, name, text_, tone::faint);
      x += 4.4F * text_ + text_size(name, text_).width * 1.08F;
    }
  }

  void draw_axes(float left, float top, float width, float height) {
    const float bottom = top + height;
    const auto y_of = [&](double at, double lo, double hi) {
      return f(frame_.top + (hi - at) / (hi - lo) * frame_.height);
    };
    for (const Tick& tick : left_ticks_) {
      const float y = std::round(y_of(tick.at, frame_.y_lo, frame_.y_hi));
      out_.rectangle(left, y, width, 1, tone::grid);
      out_.text(left - 0.9F * text_, y - text_ / 2 + 0.5F, tick.label, text_, tone::faint, Anchor::end);
    }
    for (const Tick& tick : right_ticks_) {
      const float y = std::round(y_of(tick.at, frame_.right_lo, frame_.right_hi));
      out_.rectangle(left + width, y, text_ / 2, 1, tone::axis);
      out_.text(left + width + 1.1F * text_, y - text_ / 2 + 0.5F, tick.label, text_, tone::faint);
    }
    const int wanted = std::clamp(static_cast<int>(frame_.width / (8.5 * text_)), 2, 10);
    for (const Tick& tick : linear_ticks(frame_.x_lo, frame_.x_hi, wanted, panel_.whole_x)) {
      const float x = std::round(frame_.at(tick.at, 1).x);
      out_.rectangle(x, bottom, 1, text_ / 2, tone::axis);
      out_.text(x, bottom + 0.9F * text_, tick.label, text_, tone::faint, Anchor::middle);
    }
    out_.rectangle(left, std::round(bottom), width + 1, 1, tone::axis);
    if (!panel_.x_label.empty()) {
      out_.text(left + width / 2, bottom + 2.8F * text_, panel_.x_label, text_, tone::faint, Anchor::middle);
    }
    if (!panel_.y_label.empty()) {
      Mark& label = out_.text(x_ + 0.5F * text_, top + height / 2, panel_.y_label, text_, tone::faint, Anchor::middle);
      label.upwards = true;
    }
  }

  // Draws lines between neighbouring points of which neither is a gap. Returns false if all points are gaps.
  bool draw_series(const Series& series, Tone tone) {
    std::vector<Point> joined;
    std::vector<Point> dots;
    const float line = text_ / 4;
    const auto end_of_line = [&] {
      if (joined.size() > 1) out_.line(joined, line, tone);
      // A point between two gaps has no line, so it gets a dot.
      if (joined.size() == 1 && series.x.size() > kDots) dots.push_back(joined[0]);
      joined.clear();
    };
    std::optional<Point> last;
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!usable(panel_, series, i)) {
        end_of_line();
        continue;
      }
      last = series.right ? frame_.at_right(series.x[i], series.y[i]) : frame_.at(series.x[i], series.y[i]);
      joined.push_back(*last);
      if (series.x.size() <= kDots) dots.push_back(*last);
    }
    end_of_line();
    if (last && series.x.size() > kDots) dots.push_back(*last);  // The dot shows where the series ends.
    for (const Point& dot : dots) out_.dot(dot, text_ * 0.38F, tone);
    return last.has_value();
  }

  std::string told(const Series& series, double y) const {
    const std::string number =
        std::isfinite(y) ? fmt::format("{:.4g}{}", y, series.right ? panel_.right_unit : "") : "not a number";
    return fmt::format("\n{} {}", series.name.empty() ? panel_.title : series.name, number);
  }

  // Adds one hover area for every x. It covers the places that are nearer to this x than to its neighbours.
  void add_hover(float left, float top, float width, float height) {
    std::map<double, std::string> columns;
    for (const Series& series : panel_.series) {
      for (size_t i = 0; i < series.x.size(); ++i) {
        if (!(series.x[i] >= frame_.x_lo && series.x[i] <= frame_.x_hi)) continue;
        std::string& text = columns[series.x[i]];
        if (text.empty()) text = fmt::format("{} {:.6g}", panel_.x_label, series.x[i]);
        text += told(series, series.y[i]);
      }
    }
    float from = left;
    for (auto column = columns.begin(); column != columns.end(); ++column) {
      const auto next = std::next(column);
      const float to = next == columns.end() ? left + width : frame_.at((column->first + next->first) / 2, 1).x;
      out_.hover(from, top, to - from, height, column->second);
      from = to;
    }
  }

  Drawing& out_;
  const Panel& panel_;
  float text_, x_ = 0, y_ = 0;
  bool has_right_ = false;
  PlotFrame frame_;
  std::vector<Tick> left_ticks_, right_ticks_;
};

// Returns the number of columns that makes the aspect ratio of the panels closest to 3:2.
int columns_for(int count, double width, double height) {
  int best = 1;
  double least = std::numeric_limits<double>::infinity();
  for (int columns = 1; columns <= count; ++columns) {
    const int rows = (count + columns - 1) / columns;
    const double off = std::abs(std::log(width / columns / (height / rows) / 1.5));
    if (off < least) {
      least = off;
      best = columns;
    }
  }
  return best;
}

}  // namespace

Point PlotFrame::at(double x, double y) const {
  const double value = log_y ? std::log10(y) : y;
  return {static_cast<float>(left + (x - x_lo) / (x_hi - x_lo) * width),
          static_cast<float>(top + (y_hi - value) / (y_hi - y_lo) * height)};
}

Point PlotFrame::at_right(double x, double y) const {
  return {static_cast<float>(left + (x - x_lo) / (x_hi - x_lo) * width),
          static_cast<float>(top + (right_hi - y) / (right_hi - right_lo) * height)};
}

Drawing draw_plot(const std::vector<Panel>& panels, int width, int height, float text, std::vector<PlotFrame>* frames) {
  check(!panels.empty(), "plot: no panel to draw");
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) {
      check(series.x.size() == series.y.size(), "plot '{}', series '{}': {} x values but {} y values", panel.title,
            series.name, series.x.size(), series.y.size());
    }
  }
  check(width > 0 && height > 0 && width <= 16384 && height <= 16384, "plot: bad picture size {}x{}", width, height);
  Drawing drawing{.width = width, .height = height, .shapes = {}};
  const auto count = static_cast<int>(panels.size());
  const int columns = columns_for(count, width, height), rows = (count + columns - 1) / columns;
  const double w = static_cast<double>(width) / columns, h = static_cast<double>(height) / rows;
  if (frames != nullptr) frames->clear();
  for (int i = 0; i < count; ++i) {
    PanelPlot panel(drawing, panels[static_cast<size_t>(i)], i % columns * w, i / columns * h, w, h, text);
    panel.draw();
    if (frames != nullptr) frames->push_back(panel.frame());
  }
  return drawing;
}

Image plot(const std::vector<Panel>& panels, int width, int height, std::vector<PlotFrame>* frames) {
  return paint(draw_plot(panels, width, height, 8, frames));
}

}  // namespace hr
