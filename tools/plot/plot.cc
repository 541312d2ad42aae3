#include "tools/plot/plot.h"

#include <fmt/format.h>

#include <array>
#include <limits>

#include "core/error.h"

namespace hr {
namespace {

constexpr std::array<Color, 6> kPalette{
    {{31, 119, 180}, {214, 90, 20}, {44, 140, 60}, {190, 40, 60}, {120, 90, 180}, {110, 110, 110}}};
constexpr Color kInk{50, 50, 50}, kGrid{226, 228, 232}, kFrame{130, 130, 130};
constexpr float kText = 8;

struct Range {
  double lo = std::numeric_limits<double>::infinity(), hi = -lo;
  void add(double v) {
    lo = std::min(lo, v);
    hi = std::max(hi, v);
  }
  bool empty() const { return lo > hi; }
};

// Up to this size, differences of numbers are finite, margins included.
constexpr double kLargest = 1e300;

bool usable(double x, double y, bool log_y) {
  return std::abs(x) <= kLargest && std::abs(y) <= kLargest && (!log_y || y > 0);  // false for NaN
}

// Formats a tick as short as is exact enough: 0.001, 2.5, 40, 1e-05.
std::string tick_label(double value) { return fmt::format("{:.4g}", std::abs(value) < 1e-300 ? 0.0 : value); }

struct Tick {
  double at;  // on the axis (log10 with log_y)
  std::string label;
};

std::vector<Tick> linear_ticks(double lo, double hi, int wanted) {
  std::vector<Tick> ticks;
  for (const double v : nice_ticks(lo, hi, wanted)) ticks.push_back({v, tick_label(v)});
  return ticks;
}

// Returns powers of ten and, if the range holds few of them, also 2 and 5 times those.
std::vector<Tick> log_ticks(double lo, double hi, int wanted) {
  std::vector<Tick> ticks;
  const int step = std::max(1, static_cast<int>(std::ceil((hi - lo) / wanted)));
  const bool between = hi - lo < 3;
  for (int e = static_cast<int>(std::floor(lo)); e <= static_cast<int>(std::ceil(hi)); ++e) {
    if (e % step != 0) continue;
    for (const double m : {1.0, 2.0, 5.0}) {
      if (m > 1 && !between) continue;
      const double at = e + std::log10(m);
      if (at >= lo - 1e-9 && at <= hi + 1e-9) ticks.push_back({at, tick_label(m * std::pow(10.0, e))});
    }
  }
  return ticks.size() >= 2
             ? ticks
             : std::vector<Tick>{{lo, tick_label(std::pow(10.0, lo))}, {hi, tick_label(std::pow(10.0, hi))}};
}

void widen(Range& range, double least) {
  if (range.empty()) range = {0, 1};
  if (range.hi - range.lo < least) {
    const double middle = (range.lo + range.hi) / 2;
    range = {middle - least / 2, middle + least / 2};
  }
}

PlotFrame frame_of(const Panel& panel, double x, double y, double w, double h) {
  PlotFrame frame;
  frame.log_y = panel.log_y;
  Range xs, ys;
  for (const Series& series : panel.series) {
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!usable(series.x[i], series.y[i], panel.log_y)) continue;
      xs.add(series.x[i]);
      ys.add(panel.log_y ? std::log10(series.y[i]) : series.y[i]);
    }
  }
  widen(xs, xs.empty() ? 1 : std::max(1e-9, std::abs(xs.lo) * 1e-9));
  if (xs.hi - xs.lo < 1e-6) xs = {xs.lo - 0.5, xs.hi + 0.5};
  if (panel.y_from_zero && !panel.log_y && !ys.empty()) ys.add(0);
  widen(ys, ys.empty() ? 1 : panel.log_y ? 0.2 : std::max(std::abs(ys.hi) * 0.02, 1e-12));
  const double margin = (ys.hi - ys.lo) * 0.05;
  frame.x_lo = xs.lo;
  frame.x_hi = xs.hi;
  frame.y_lo = panel.y_from_zero && ys.lo == 0 ? 0 : ys.lo - margin;
  frame.y_hi = ys.hi + margin;

  frame.left = x + 76;
  frame.top = y + 34;
  frame.width = w - 76 - 24;
  frame.height = h - 34 - 46;
  check(frame.width >= 40 && frame.height >= 30, "plot: {}x{} pixels is too small for a panel, use at least 160x120", w,
        h);
  return frame;
}

void draw_panel(Image& image, const Panel& panel, const PlotFrame& frame) {
  const auto left = static_cast<float>(frame.left), top = static_cast<float>(frame.top);
  const auto width = static_cast<float>(frame.width), height = static_cast<float>(frame.height);
  const float right = left + width, bottom = top + height;

  const TextSize title = text_size(panel.title, kText * 1.4F);
  draw_text(image, left + (width - title.width) / 2, top - 22, panel.title, kText * 1.4F, kInk);

  const int wanted_y = std::clamp(static_cast<int>(frame.height / 45), 2, 8);
  const std::vector<Tick> y_ticks =
      panel.log_y ? log_ticks(frame.y_lo, frame.y_hi, wanted_y) : linear_ticks(frame.y_lo, frame.y_hi, wanted_y);
  for (const Tick& tick : y_ticks) {
    const auto y = static_cast<float>(frame.top + (frame.y_hi - tick.at) / (frame.y_hi - frame.y_lo) * frame.height);
    fill_rectangle(image, left, y, width, 1, kGrid);
    const TextSize size = text_size(tick.label, kText);
    draw_text(image, left - 7 - size.width, y - kText / 2 + 0.5F, tick.label, kText, kInk);
  }
  for (const Tick& tick : linear_ticks(frame.x_lo, frame.x_hi, std::clamp(static_cast<int>(frame.width / 70), 2, 10))) {
    const auto x = static_cast<float>(frame.left + (tick.at - frame.x_lo) / (frame.x_hi - frame.x_lo) * frame.width);
    fill_rectangle(image, x, top, 1, height, kGrid);
    draw_text(image, x - text_size(tick.label, kText).width / 2, bottom + 7, tick.label, kText, kInk);
  }
  draw_rectangle(image, left, top, width + 1, height + 1, 1, kFrame);
  draw_text(image, left + (width - text_size(panel.x_label, kText).width) / 2, bottom + 24, panel.x_label, kText, kInk);
  draw_text_upwards(image, left - 68, top + (height + text_size(panel.y_label, kText).width) / 2, panel.y_label, kText,
                    kInk);

  for (size_t s = 0; s < panel.series.size(); ++s) {
    const Series& series = panel.series[s];
    const Color color = kPalette[s % kPalette.size()];
    bool joined = false;
    Point previous;
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!usable(series.x[i], series.y[i], panel.log_y)) {
        joined = false;
        continue;
      }
      const Point point = frame.at(series.x[i], series.y[i]);
      if (joined) draw_line(image, previous, point, 2, color);
      if (series.x.size() <= 40) fill_circle(image, point, 3, color);
      previous = point;
      joined = true;
    }
    if (series.x.size() > 40 && joined) fill_circle(image, previous, 3, color);  // marks the last point
  }

  // The legend is put into the upper corner that has fewer points behind it.
  std::vector<size_t> listed;
  float widest = 0;
  for (size_t s = 0; s < panel.series.size(); ++s) {
    if (panel.series[s].name.empty()) continue;
    listed.push_back(s);
    widest = std::max(widest, text_size(panel.series[s].name, kText).width);
  }
  if (listed.empty()) return;
  const float w = widest + 40, h = static_cast<float>(listed.size()) * 15 + 7;
  int at_left = 0, at_right = 0;
  for (const Series& series : panel.series) {
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!usable(series.x[i], series.y[i], panel.log_y)) continue;
      const Point p = frame.at(series.x[i], series.y[i]);
      if (p.y > top + h + 8) continue;
      at_left += p.x < left + w + 8;
      at_right += p.x > right - w - 8;
    }
  }
  const float x = at_left < at_right ? left + 8 : right - w - 8, y = top + 8;
  fill_rectangle(image, x, y, w, h, {255, 255, 255, 0.85F});
  draw_rectangle(image, x, y, w, h, 1, {205, 205, 205});
  for (size_t i = 0; i < listed.size(); ++i) {
    const float row = y + 5 + static_cast<float>(i) * 15;
    draw_line(image, {x + 8, row + 4}, {x + 26, row + 4}, 2, kPalette[listed[i] % kPalette.size()]);
    draw_text(image, x + 33, row, panel.series[listed[i]].name, kText, kInk);
  }
}

}  // namespace

Point PlotFrame::at(double x, double y) const {
  const double value = log_y ? std::log10(y) : y;
  return {static_cast<float>(left + (x - x_lo) / (x_hi - x_lo) * width),
          static_cast<float>(top + (y_hi - value) / (y_hi - y_lo) * height)};
}

std::vector<double> nice_ticks(double lo, double hi, int wanted) {
  std::vector<double> ticks;
  if (!(std::isfinite(lo) && std::isfinite(hi) && hi > lo) || wanted < 1) return ticks;
  const double raw = hi / wanted - lo / wanted, power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power * 10;
  for (const double m : {1.0, 2.0, 5.0}) {
    if (power * m >= raw * (1 - 1e-9)) {
      step = power * m;
      break;
    }
  }
  if (!(std::isfinite(step) && step > 0)) return ticks;
  // Each multiple of the step is computed anew, because adding up would drift and print 0.30000000000000004. In a range
  // that is much narrower than its numbers are large, multiples are not distinguishable (and from 2^53 on, counting
  // with doubles would not even advance), so there are no ticks.
  constexpr double kCountable = 1e12;
  const double first = std::ceil(lo / step - 1e-9), last = std::floor(hi / step + 1e-9);
  if (!(std::abs(first) < kCountable && std::abs(last) < kCountable)) return ticks;
  const int count = static_cast<int>(std::min(last - first, 2.0 * wanted + 2)) + 1;
  for (int i = 0; i < count; ++i) ticks.push_back((first + i) * step);
  return ticks;
}

Image plot(const std::vector<Panel>& panels, int width, int height, std::vector<PlotFrame>* frames) {
  check(!panels.empty(), "plot: no panel to draw");
  for (const Panel& panel : panels) {
    for (const Series& series : panel.series) {
      check(series.x.size() == series.y.size(), "plot '{}', series '{}': {} x values but {} y values", panel.title,
            series.name, series.x.size(), series.y.size());
    }
  }
  check(width > 0 && height > 0 && width <= 16384 && height <= 16384, "plot: bad picture size {}x{}", width, height);
  Image image(width, height);
  fill(image, {255, 255, 255});
  const auto count = static_cast<int>(panels.size());
  const bool beside = width * 3 > height * 4;
  const double w = beside ? width / count : width, h = beside ? height : height / count;
  if (frames != nullptr) frames->clear();
  for (int i = 0; i < count; ++i) {
    const PlotFrame frame = frame_of(panels[static_cast<size_t>(i)], beside ? i * w : 0, beside ? 0 : i * h, w, h);
    draw_panel(image, panels[static_cast<size_t>(i)], frame);
    if (frames != nullptr) frames->push_back(frame);
  }
  return image;
}

}  // namespace hr
