// Draws every parameter of the augmentation very often and checks moments, shares at the clip ends, and that the
// parameters are independent of each other. HR_DRAWS sets how often (ctest -L slow: ten million).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <numbers>
#include <string>
#include <vector>

#include "data/crops/augment.h"

namespace hr {
namespace {

int64_t draws() {
  const char* text = std::getenv("HR_DRAWS");
  return text != nullptr ? std::atoll(text) : 300000;
}

// The mean of a function of one draw, with its expected value.
struct Statistic {
  const char* name;
  double expected;
  double (*of)(const Augmentation&);
};

double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi); }
double normal_below(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }
// E[C^2] and E[C^4] of a unit normal clipped to [-c, c].
double clipped_2(double c) {
  return 2 * normal_below(c) - 1 - 2 * c * normal_density(c) + 2 * c * c * (1 - normal_below(c));
}
double clipped_4(double c) {
  return 3 * (2 * normal_below(c) - 1) - 2 * normal_density(c) * (c * c * c + 3 * c) +
         2 * c * c * c * c * (1 - normal_below(c));
}

void expect_means(Recipe recipe, const AugmentOptions& options, const std::vector<Statistic>& statistics) {
  const int64_t n = draws();
  std::vector<double> sum(statistics.size()), square(statistics.size());
  for (int64_t i = 0; i < n; ++i) {
    Philox random(2026, 11, static_cast<uint64_t>(i));
    const Augmentation a = draw_augmentation(recipe, random, options, 12);
    for (size_t k = 0; k < statistics.size(); ++k) {
      const double v = statistics[k].of(a) - statistics[k].expected;  // sums of small numbers stay exact
      sum[k] += v;
      square[k] += v * v;
    }
  }
  for (size_t k = 0; k < statistics.size(); ++k) {
    const double mean = sum[k] / static_cast<double>(n);
    const double error = std::sqrt(square[k] / static_cast<double>(n) / static_cast<double>(n));
    // One statistic in 1.7 million is off by 5 standard errors. A statistic without variance must be exact.
    EXPECT_LE(std::abs(mean), 5 * error + 1e-15)
        << statistics[k].name << ": expected " << statistics[k].expected << ", off by " << mean << ", which is "
        << mean / error << " standard errors of " << n << " draws";
  }
}

double square(double v) { return v * v; }
double fourth(double v) { return v * v * v * v; }

TEST(Moments, Official) {
  expect_means(
      Recipe::official, {},
      {
          {"scale - 1", 0, [](auto& a) { return a.scale - 1; }},
          {"(scale - 1)^2", square(0.35) * clipped_2(1), [](auto& a) { return square(a.scale - 1); }},
          {"(scale - 1)^3", 0, [](auto& a) { return square(a.scale - 1) * (a.scale - 1); }},
          {"(scale - 1)^4", fourth(0.35) * clipped_4(1), [](auto& a) { return fourth(a.scale - 1); }},
          {"scale at its low end", normal_below(-1), [](auto& a) { return static_cast<double>(a.scale == 1 - 0.35); }},
          {"scale at its high end", normal_below(-1), [](auto& a) { return static_cast<double>(a.scale == 1 + 0.35); }},
          // With the 1.25 of the padding. Parity: 28 % of the crops cut into the box, 41 % are looser than 1.35.
          {"cut into the box", normal_below((1 / 1.25 - 1) / 0.35),
           [](auto& a) { return static_cast<double>(1.25 * a.scale < 1); }},
          {"looser than 1.35", 1 - normal_below((1.35 / 1.25 - 1) / 0.35),
           [](auto& a) { return static_cast<double>(1.25 * a.scale > 1.35); }},
          {"rotation", 0, [](auto& a) { return a.rotation; }},
          {"rotation^2", 0.6 * square(45) * clipped_2(2), [](auto& a) { return square(a.rotation); }},
          {"rotation^4", 0.6 * fourth(45) * clipped_4(2), [](auto& a) { return fourth(a.rotation); }},
          {"upright", 0.4, [](auto& a) { return static_cast<double>(a.rotation == 0); }},
          {"rotation at its left end", 0.6 * normal_below(-2),
           [](auto& a) { return static_cast<double>(a.rotation == -90); }},
          {"rotation at its right end", 0.6 * normal_below(-2),
           [](auto& a) { return static_cast<double>(a.rotation == 90); }},
          // Parity: 45 % within 5 degrees, 19 % beyond 45.
          {"within 5 degrees", 0.4 + 0.6 * (2 * normal_below(5 / 45.0) - 1),
           [](auto& a) { return static_cast<double>(std::abs(a.rotation) < 5); }},
          {"beyond 45 degrees", 0.6 * 2 * normal_below(-1),
           [](auto& a) { return static_cast<double>(std::abs(a.rotation) > 45); }},
          {"flip", 0.5, [](auto& a) { return static_cast<double>(a.flip); }},
          {"half body", 0.3, [](auto& a) { return static_cast<double>(a.half_body); }},
          {"upper first", normal_below(0.5), [](auto& a) { return static_cast<double>(a.upper_first); }},
          {"scale and rotation", 0, [](auto& a) { return (a.scale - 1) * a.rotation; }},
          {"scale and |rotation|", 0, [](auto& a) { return (a.scale - 1) * std::abs(a.rotation); }},
          {"scale and flip", 0, [](auto& a) { return (a.scale - 1) * (a.flip ? 1 : -1); }},
          {"rotation and flip", 0, [](auto& a) { return a.rotation * (a.flip ? 1 : -1); }},
          {"flip and half body", 0.15, [](auto& a) { return static_cast<double>(a.flip && a.half_body); }},
          {"half body and scale", 0, [](auto& a) { return (a.scale - 1) * static_cast<double>(a.half_body); }},
          {"half body and upper", 0.3 * normal_below(0.5),
           [](auto& a) { return static_cast<double>(a.half_body && a.upper_first); }},
          {"brightness", 0, [](auto& a) { return a.brightness; }},
          {"holes", 0, [](auto& a) { return static_cast<double>(a.holes.size()); }},
      });
}

TEST(Moments, Seed) {
  const double degrees = (square(91) - 1) / 12;  // whole numbers from -45 to 45
  expect_means(
      Recipe::seed, {},
      {
          {"scale - 1", 0, [](auto& a) { return a.scale - 1; }},
          {"(scale - 1)^2", square(0.7) / 12, [](auto& a) { return square(a.scale - 1); }},
          {"(scale - 1)^4", fourth(0.35) / 5, [](auto& a) { return fourth(a.scale - 1); }},
          {"scale below 0.8", 0.15 / 0.7, [](auto& a) { return static_cast<double>(a.scale < 0.8); }},
          // Parity: 86 % of the crops are tighter than the 1.25 of the test, half cut into the box.
          {"tighter than the test", 0.6 / 0.7, [](auto& a) { return static_cast<double>(a.scale < 1.25); }},
          {"cut into the box", 0.5, [](auto& a) { return static_cast<double>(a.scale < 1); }},
          {"rotation", 0, [](auto& a) { return a.rotation; }},
          {"rotation^2", degrees, [](auto& a) { return square(a.rotation); }},
          {"rotation^4", degrees * (3 * square(91) - 7) / 20, [](auto& a) { return fourth(a.rotation); }},
          {"within 5 degrees", 11.0 / 91, [](auto& a) { return static_cast<double>(std::abs(a.rotation) <= 5); }},
          {"leftmost degree", 1.0 / 91, [](auto& a) { return static_cast<double>(a.rotation == -45); }},
          {"rightmost degree", 1.0 / 91, [](auto& a) { return static_cast<double>(a.rotation == 45); }},
          {"flip", 0.5, [](auto& a) { return static_cast<double>(a.flip); }},
          {"half body", 0.3, [](auto& a) { return static_cast<double>(a.half_body); }},
          {"upper", 0.5, [](auto& a) { return static_cast<double>(a.upper_first); }},
          {"scale and rotation", 0, [](auto& a) { return (a.scale - 1) * a.rotation; }},
          {"flip and rotation", 0, [](auto& a) { return a.rotation * (a.flip ? 1 : -1); }},
          {"half body and upper", 0.15, [](auto& a) { return static_cast<double>(a.half_body && a.upper_first); }},
      });
}

TEST(Moments, PhotometricAndDropout) {
  expect_means(Recipe::official, {.photometric = 0.5, .dropout = 0.4},
               {
                   {"brightness", 0, [](auto& a) { return a.brightness; }},
                   {"brightness^2", 0.5 * square(16) / 3, [](auto& a) { return square(a.brightness); }},
                   {"no brightness", 0.5, [](auto& a) { return static_cast<double>(a.brightness == 0); }},
                   {"contrast", 1, [](auto& a) { return a.contrast; }},
                   {"(contrast - 1)^2", 0.5 * square(0.25) / 3, [](auto& a) { return square(a.contrast - 1); }},
                   {"saturation", 1, [](auto& a) { return a.saturation; }},
                   {"(saturation - 1)^2", 0.5 * square(0.25) / 3, [](auto& a) { return square(a.saturation - 1); }},
                   {"hue", 0, [](auto& a) { return a.hue; }},
                   {"hue^2", 0.5 * square(9) / 3, [](auto& a) { return square(a.hue); }},
                   {"holes at all", 0.4, [](auto& a) { return static_cast<double>(!a.holes.empty()); }},
                   {"holes", 0.4 * 4.5, [](auto& a) { return static_cast<double>(a.holes.size()); }},
                   {"eight holes", 0.05, [](auto& a) { return static_cast<double>(a.holes.size() == 8); }},
                   {"first hole's width", 0.4 * 0.125, [](auto& a) { return a.holes.empty() ? 0 : a.holes[0].w; }},
                   {"first hole's middle", 0.4 * 0.5,
                    [](auto& a) { return a.holes.empty() ? 0 : a.holes[0].y + a.holes[0].h / 2; }},
                   {"brightness and contrast", 0, [](auto& a) { return a.brightness * (a.contrast - 1); }},
                   {"rotation and brightness", 0, [](auto& a) { return a.rotation * a.brightness; }},
                   // Parameters that are drawn last do not change those before them.
                   {"(scale - 1)^2", square(0.35) * clipped_2(1), [](auto& a) { return square(a.scale - 1); }},
               });
}

}  // namespace
}  // namespace hr
