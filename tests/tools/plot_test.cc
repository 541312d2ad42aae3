#include "tools/plot/plot.h"

#include <gtest/gtest.h>

#include <fmt/ranges.h>

#include <algorithm>
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

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> texts;
  for (const Tick& tick : ticks) texts.push_back(tick.label);
  return texts;
}

using Texts = std::vector<std::string>;

TEST(Plot, WhatIsCountedHasNoFractionsOnItsAxis) {
  EXPECT_EQ(labels(linear_ticks(1, 2, 8, true)), (Texts{"1", "2"}));  // 1.5 is no epoch.
  EXPECT_EQ(labels(linear_ticks(1, 5, 8, true)), (Texts{"1", "2", "3", "4", "5"}));
  EXPECT_EQ(labels(linear_ticks(1, 210, 8, true)), (Texts{"50", "100", "150", "200"}));
  EXPECT_EQ(labels(linear_ticks(2.5, 3.5, 8, true)), (Texts{"3"}));
  for (const int last : {1, 2, 3, 4, 7, 12, 33}) {
    Panel panel{"", "epoch", "", {{"", {}, {}}}};
    panel.whole_x = true;
    for (int epoch = 1; epoch <= last; ++epoch) panel.series[0].x.push_back(epoch), panel.series[0].y.push_back(1);
    for (const Mark& mark : draw_plot({panel}, 460, 300).shapes) {
      if (mark.kind != Mark::Kind::text || mark.anchor != Anchor::middle) continue;
      EXPECT_EQ(mark.text.find('.'), std::string::npos) << mark.text;
    }
  }
}

TEST(Plot, LabelsHaveAsManyDecimalsAsTheyNeed) {
  EXPECT_EQ(labels(linear_ticks(0, 1, 5)), (Texts{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(labels(linear_ticks(0.012, 0.021, 4)), (Texts{"0.012", "0.014", "0.016", "0.018", "0.020"}));
  EXPECT_EQ(labels(linear_ticks(-10, 10, 4)), (Texts{"-10", "-5", "0", "5", "10"}));
  EXPECT_EQ(labels(linear_ticks(0, 4e-6, 2)), (Texts{"0", "2e-6", "4e-6"}));
}

// The loss of a short run lies within a power of ten: only the ends 0.02163 and 0.01304 stood at the axis.
TEST(Plot, ALogAxisHasRoundNumbersAtAnyLength) {
  EXPECT_EQ(labels(log_ticks(std::log10(0.01304), std::log10(0.02163), 5)),
            (Texts{"0.014", "0.016", "0.018", "0.020"}));
  EXPECT_EQ(labels(log_ticks(-5, -3, 5)), (Texts{"1e-5", "2e-5", "5e-5", "0.0001", "0.0002", "0.0005", "0.001"}));
  EXPECT_EQ(labels(log_ticks(-9, 1, 5)), (Texts{"1e-8", "1e-6", "0.0001", "0.01", "1"}));
  for (double width = 0.2; width < 12; width *= 1.3) {
    for (double lo = -6; lo < 3; lo += 0.37) EXPECT_GE(log_ticks(lo, lo + width, 5).size(), 2U) << lo << ' ' << width;
  }
}

// A flat AP was labelled from -4e-13 to 4e-13.
TEST(Plot, AFlatCurveHasASensibleAxis) {
  std::vector<PlotFrame> frames;
  Panel panel{"", "", "", {{"AP", {1, 2, 3}, {0, 0, 0}}}};
  draw_plot({panel}, 460, 300, 8, &frames);
  EXPECT_LE(frames[0].y_lo, -0.5);
  EXPECT_GE(frames[0].y_hi, 0.5);
  panel.y_from_zero = true;
  draw_plot({panel}, 460, 300, 8, &frames);
  EXPECT_EQ(frames[0].y_lo, 0);
  EXPECT_EQ(frames[0].y_hi, 1);
  panel.y_from_zero = false;
  panel.series[0].y = {0.001, 0.001, 0.001};
  panel.log_y = true;
  draw_plot({panel}, 460, 300, 8, &frames);
  const Texts found = labels(log_ticks(frames[0].y_lo, frames[0].y_hi, 5));
  EXPECT_GE(found.size(), 3U);
  EXPECT_NE(std::find(found.begin(), found.end(), "0.0010"), found.end()) << fmt::format("{}", fmt::join(found, " "));
}

TEST(Plot, AGivenRangeIsTheAxisAndWhatLiesBeyondIsAGap) {
  Panel panel{"", "", "", {{"AP", {1, 2, 3, 4, 5}, {0.2, 0.2, -1, 0.2, 0.2}}}};
  panel.y_range = {0, 1};
  std::vector<PlotFrame> frames;
  const Image image = plot({panel}, 500, 400, &frames);
  EXPECT_EQ(frames[0].y_lo, 0);
  EXPECT_EQ(frames[0].y_hi, 1);
  EXPECT_TRUE(is(image, frames[0].at(1.5, 0.2), kFirst));
  EXPECT_FALSE(is(image, frames[0].at(2.5, 0.2), kFirst));
}

TEST(Plot, TheAxisOnTheRightHasItsOwnScale) {
  Panel panel{"", "", "", {{"img/s", {1, 2}, {10, 30}}, {"wait", {1, 2}, {50, 50}, true}}};
  panel.y_from_zero = true;
  panel.right_unit = "%";
  std::vector<PlotFrame> frames;
  const Image image = plot({panel}, 500, 400, &frames);
  const PlotFrame& f = frames[0];
  EXPECT_NEAR(f.at_right(1, 50).y, f.top + f.height / 2, 1e-3);
  EXPECT_TRUE(is(image, f.at_right(1.5, 50), kSecond));
  EXPECT_LT(f.y_hi, 40);
}

TEST(Plot, PixelsAndSvgComeFromOneDrawing) {
  Panel panel = two_lines();
  panel.x_label = "epoch";
  const Drawing drawing = draw_plot({panel}, 460, 300);
  const std::string svg = svg_text(drawing, "a \"label\" & more");
  EXPECT_EQ(svg, svg_text(draw_plot({panel}, 460, 300), "a \"label\" & more"));
  EXPECT_NE(svg.find("aria-label=\"a &quot;label&quot; &amp; more\""), std::string::npos);
  for (const Mark& mark : drawing.shapes) {
    if (mark.kind == Mark::Kind::text) {
      EXPECT_NE(svg.find(">" + escaped(mark.text) + "</text>"), std::string::npos) << mark.text;
    }
  }
  // What a pointer over x = 2 is told: both series.
  EXPECT_NE(svg.find("<title>epoch 2\ntrain 2\ntraining 4</title>"), std::string::npos) << svg;
  EXPECT_EQ(paint(drawing).rgb, plot({panel}, 460, 300).rgb);
}

TEST(Plot, APanelWithoutPointsSaysSo) {
  Panel panel{"AP", "", "", {{"AP", {}, {}}}};
  panel.empty = "not validated yet";
  EXPECT_NE(svg_text(draw_plot({panel}, 460, 300), "").find("not validated yet"), std::string::npos);
  panel.series[0] = {"AP", {1}, {0.5}};
  EXPECT_EQ(svg_text(draw_plot({panel}, 460, 300), "").find("not validated yet"), std::string::npos);
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
