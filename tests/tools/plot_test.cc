#include "tools/plot/plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "tests/support/child.h"

namespace hr {
namespace {

constexpr Color kFirst{31, 119, 180}, kSecond{214, 90, 20};

bool is(const Image& image, Point p, Color color) {
  const uint8_t* v = image.at(static_cast<int>(std::lround(p.x)), static_cast<int>(std::lround(p.y)));
  return v[0] == color.r && v[1] == color.g && v[2] == color.b;
}

Panel two_lines() {
  Panel panel{"training", "epoch", "loss", {}};
  panel.series = {{"train", {0, 1, 2, 3, 4}, {5, 3, 2, 1.5, 1}}, {"", {0, 2, 4}, {1, 4, 5}}};
  return panel;
}

TEST(Plot, PointsLieWhereTheAxesSay) {
  std::vector<PlotFrame> frames;
  const Image image = plot({two_lines()}, 640, 480, &frames);
  ASSERT_EQ(frames.size(), 1U);
  const PlotFrame& f = frames[0];
  EXPECT_EQ(f.x_lo, 0);
  EXPECT_EQ(f.x_hi, 4);
  EXPECT_LT(f.y_lo, 1);
  EXPECT_GT(f.y_hi, 5);
  // First the frame itself: the ends of the axes are the ends of the box.
  EXPECT_NEAR(f.at(0, 1).x, f.left, 1e-3);
  EXPECT_NEAR(f.at(4, 1).x, f.left + f.width, 1e-3);
  EXPECT_NEAR(f.at(0, f.y_hi).y, f.top, 1e-3);
  EXPECT_NEAR(f.at(0, f.y_lo).y, f.top + f.height, 1e-3);
  EXPECT_TRUE(is(image, f.at(1, 3), kFirst));
  EXPECT_TRUE(is(image, f.at(2, 2), kFirst));
  EXPECT_TRUE(is(image, f.at(2, 4), kSecond));
  EXPECT_TRUE(is(image, f.at(3, 4.5), kSecond));  // on the line between two points
  EXPECT_FALSE(is(image, f.at(1, 4.2), kFirst));
}

TEST(Plot, TheLogAxisIsLogarithmic) {
  Panel panel{"", "", "", {{"loss", {0, 1, 2}, {1e-4, 1e-2, 1}}}, true};
  std::vector<PlotFrame> frames;
  const Image image = plot({panel}, 500, 400, &frames);
  const PlotFrame& f = frames[0];
  EXPECT_NEAR(f.at(0, 1e-2).y, (f.at(0, 1e-4).y + f.at(0, 1).y) / 2, 1e-2);
  EXPECT_TRUE(is(image, f.at(1, 1e-2), kFirst));
  EXPECT_TRUE(is(image, f.at(0.5, 1e-3), kFirst));  // straight, because the axis is logarithmic
}

TEST(Plot, WhatIsNotFiniteIsAGap) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  Panel panel{"", "", "", {{"", {0, 1, 2, 3, 4}, {1, 1, nan, 1, 1}}, {"", {0, inf}, {2, 2}}, {"", {}, {}}}};
  std::vector<PlotFrame> frames;
  const Image image = plot({panel}, 500, 400, &frames);
  EXPECT_TRUE(is(image, frames[0].at(0.5, 1), kFirst));
  EXPECT_FALSE(is(image, frames[0].at(2, 1), kFirst));
  EXPECT_TRUE(is(image, frames[0].at(3.5, 1), kFirst));
  EXPECT_EQ(frames[0].x_hi, 4);

  panel.log_y = true;
  panel.series = {{"", {0, 1}, {0, -1}}, {"", {nan}, {1}}};  // there is nothing to show
  EXPECT_EQ(plot({panel}, 300, 200).width, 300);
}

TEST(Plot, PanelsStandSideBySideOrStacked) {
  std::vector<PlotFrame> wide, tall;
  plot({two_lines(), two_lines()}, 1200, 450, &wide);
  plot({two_lines(), two_lines()}, 600, 800, &tall);
  EXPECT_GT(wide[1].left, wide[0].left + wide[0].width);
  EXPECT_EQ(wide[1].top, wide[0].top);
  EXPECT_GT(tall[1].top, tall[0].top + tall[0].height);
  EXPECT_EQ(tall[1].left, tall[0].left);
}

TEST(Plot, SameInputSameBytes) {
  EXPECT_EQ(plot({two_lines()}, 640, 480).rgb, plot({two_lines()}, 640, 480).rgb);
  Panel other = two_lines();
  other.series[0].y[2] = 2.5;
  EXPECT_NE(plot({other}, 640, 480).rgb, plot({two_lines()}, 640, 480).rgb);
}

TEST(Plot, OddInputIsRefusedOrSurvived) {
  EXPECT_THROW(plot({}, 640, 480), Error);
  Panel panel = two_lines();
  panel.series[0].y.pop_back();
  EXPECT_THROW(plot({panel}, 640, 480), Error);
  EXPECT_THROW(plot({two_lines()}, 60, 40), Error);
  for (const double y : {0.0, 1e-300, 1e300, -5.0}) {
    Panel one{"", "", "", {{"point", {7}, {y}}}};
    EXPECT_EQ(plot({one}, 320, 240).height, 240) << y;
  }
}

// These numbers differ only in their last digits. Counting ticks with a double reached a number that ++ does not
// change, and did not end.
TEST(Plot, TicksOfRangesAtTheEdgeOfDoublesEnd) {
  const double huge = std::numeric_limits<double>::max(), tiny = std::numeric_limits<double>::denorm_min();
  const std::pair<double, double> ranges[] = {
      {1e17, 1e17 + 64}, {-1e17 - 64, -1e17}, {1, std::nextafter(1, 2)}, {-huge, huge},
      {-huge, -1e308},   {0, tiny},           {tiny, 3 * tiny},          {1e300, std::nextafter(1e300, huge)}};
  for (const auto& [lo, hi] : ranges) {
    const test::ChildResult r = test::in_child(int64_t{64} << 20, [lo = lo, hi = hi] {
      std::string bad;
      for (int wanted = 1; wanted <= 10; ++wanted) {
        const std::vector<double> ticks = nice_ticks(lo, hi, wanted);
        const double slack = (hi / 2 - lo / 2) * 1e-8;
        for (const double t : ticks) {
          if (!(t >= lo - slack && t <= hi + slack)) bad += fmt::format("{} of {} ", t, wanted);
        }
        if (ticks.size() > 3 * static_cast<size_t>(wanted) + 3) bad += fmt::format("{} of {} ", ticks.size(), wanted);
      }
      return bad;
    });
    EXPECT_TRUE(r.exited && !r.threw) << r.said;
    EXPECT_EQ(r.said, "") << lo << " to " << hi;
  }
}

TEST(Plot, HugeNumbersAreAGapToo) {
  const double huge = std::numeric_limits<double>::max();
  Panel panel{"", "", "", {{"", {0, 1, 2, 3, 4}, {1, 1, huge, 1, 1}}, {"", {0, 1, 2}, {2, -huge, 2}}}};
  std::vector<PlotFrame> frames;
  const Image image = plot({panel}, 500, 400, &frames);
  const PlotFrame& f = frames[0];
  EXPECT_LT(f.y_hi, 3);
  EXPECT_TRUE(is(image, f.at(0.5, 1), kFirst));
  EXPECT_FALSE(is(image, f.at(2, 1), kFirst));
  panel.series = {{"", {-1e300, 1e300}, {-1e300, 1e300}}};
  plot({panel}, 500, 400, &frames);
  EXPECT_TRUE(std::isfinite(frames[0].at(0, 0).x) && std::isfinite(frames[0].at(0, 0).y));
  panel.log_y = true;
  panel.series = {{"", {0, 1}, {std::numeric_limits<double>::denorm_min(), 1e300}}};
  plot({panel}, 500, 400, &frames);
  EXPECT_TRUE(std::isfinite(frames[0].at(0, 1).y));
}

TEST(Plot, TicksAreRoundNumbersInsideTheRange) {
  EXPECT_EQ(nice_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  const std::vector<double> small = nice_ticks(0.013, 0.049, 4);
  ASSERT_EQ(small.size(), 3U);
  EXPECT_NEAR(small[0], 0.02, 1e-15);
  EXPECT_NEAR(small[2], 0.04, 1e-15);
  EXPECT_TRUE(nice_ticks(1, 1, 5).empty());
  EXPECT_TRUE(nice_ticks(std::numeric_limits<double>::quiet_NaN(), 1, 5).empty());
}

}  // namespace
}  // namespace hr
