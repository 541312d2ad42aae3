// Chooses the numbers at the axes of a plot.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/plot/plot.h"

namespace hr {
namespace {

// Removes the zeros of an exponent: 1e-05 becomes 1e-5.
std::string short_exponent(std::string text) {
  const size_t e = text.find('e');
  if (e == std::string::npos) return text;
  size_t digits = e + 2;
  while (digits + 1 < text.size() && text[digits] == '0') text.erase(digits, 1);
  if (text[e + 1] == '+') text.erase(e + 1, 1);
  return text;
}

// Formats a number with four significant digits, without regard to its neighbours: 0.001, 2.5, 40, 1e-5.
std::string tick_label(double value) {
  return short_exponent(fmt::format("{:.4g}", std::abs(value) < 1e-300 ? 0.0 : value));
}

// Formats a number with as many decimals as the step needs, so that all labels of an axis have the same number of them.
std::string tick_label(double value, double step) {
  const double largest = std::abs(value);
  if (!(step >= 1e-5 && largest < 1e6)) return tick_label(value);
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.starts_with('-') && text.find_first_not_of("-0.") == std::string::npos) text.erase(0, 1);  // -0.0
  return text;
}

double step_of(const std::vector<double>& values) { return values.size() < 2 ? 1 : values[1] - values[0]; }

}  // namespace

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

std::vector<Tick> linear_ticks(double lo, double hi, int wanted, bool whole) {
  std::vector<double> values = nice_ticks(lo, hi, wanted);
  if (whole && (values.empty() || step_of(values) < 1)) {
    values.clear();
    for (double v = std::ceil(lo - 1e-9); v <= hi + 1e-9 && values.size() < 100; ++v) values.push_back(v);
  } else if (values.size() < 3) {
    // One or two numbers hardly show the scale of an axis, so a smaller step is tried.
    values = nice_ticks(lo, hi, wanted + 2);
    if (whole) std::erase_if(values, [](double v) { return v != std::round(v); });
  }
  std::vector<Tick> ticks;
  ticks.reserve(values.size());
  for (const double v : values) ticks.push_back({v, tick_label(v, step_of(values))});
  return ticks;
}

std::vector<Tick> log_ticks(double lo, double hi, int wanted) {
  std::vector<Tick> ticks;
  if (!(std::isfinite(lo) && std::isfinite(hi) && hi > lo)) return ticks;
  const double first = std::pow(10.0, lo), last = std::pow(10.0, hi);
  if (hi - lo < 1 && std::isfinite(last) && first > 0) {
    for (const Tick& tick : linear_ticks(first, last, wanted)) {
      if (tick.at > 0) ticks.push_back({std::log10(tick.at), tick.label});
    }
    return ticks;
  }
  const int step = std::max(1, static_cast<int>(std::ceil((hi - lo) / wanted)));
  const bool between = hi - lo < 2.5;
  for (int e = static_cast<int>(std::floor(lo)); e <= static_cast<int>(std::ceil(hi)); ++e) {
    if (e % step != 0) continue;
    for (const double m : {1.0, 2.0, 5.0}) {
      if (m > 1 && !between) continue;
      const double at = e + std::log10(m);
      if (at >= lo - 1e-9 && at <= hi + 1e-9) ticks.push_back({at, tick_label(m * std::pow(10.0, e))});
    }
  }
  return ticks;
}

}  // namespace hr
