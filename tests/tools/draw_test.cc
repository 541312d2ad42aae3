#include "data/draw/draw.h"

#include <gtest/gtest.h>

#include <limits>
#include <numbers>

#include "core/error.h"

namespace hr {
namespace {

Image canvas(int width, int height, Color color = {0, 0, 0}) {
  Image image(width, height);
  fill(image, color);
  return image;
}

bool is(const Image& image, int x, int y, Color color) {
  const uint8_t* p = image.at(x, y);
  return p[0] == color.r && p[1] == color.g && p[2] == color.b;
}

double brightness(const Image& image) {  // sum of the red channel in units of a white pixel
  double sum = 0;
  for (size_t i = 0; i < image.rgb.size(); i += 3) sum += image.rgb[i] / 255.0;
  return sum;
}

constexpr Color kWhite{255, 255, 255};

TEST(Draw, ARectangleCoversItsPixelsAndFractionsPartly) {
  Image image = canvas(7, 5);
  fill_rectangle(image, 2, 1, 3, 2, kWhite);
  for (int y = 0; y < 5; ++y) {
    for (int x = 0; x < 7; ++x)
      EXPECT_TRUE(is(image, x, y, x >= 2 && x < 5 && y >= 1 && y < 3 ? kWhite : Color{})) << x << ' ' << y;
  }
  image = canvas(7, 5);
  fill_rectangle(image, 2.5F, 1, 2, 1, kWhite);
  EXPECT_EQ(image.at(2, 1)[0], 128);
  EXPECT_EQ(image.at(3, 1)[0], 255);
  EXPECT_EQ(image.at(4, 1)[0], 128);
  EXPECT_EQ(image.at(5, 1)[0], 0);
}

TEST(Draw, CoverageAddsUpToTheArea) {
  for (const float radius : {2.0F, 5.5F, 17.3F}) {
    Image image = canvas(61, 61);
    fill_circle(image, {30.2F, 29.7F}, radius, kWhite);
    // The linear edge, integrated over the circle: pi (r^2 + 1/12).
    const double area = std::numbers::pi * (radius * radius + 1.0 / 12);
    EXPECT_NEAR(brightness(image), area, 0.005 * area) << radius;
  }
  Image image = canvas(61, 61);
  draw_line(image, {10, 12}, {50, 42}, 5, kWhite);  // 50 long, round ends
  EXPECT_NEAR(brightness(image), 50 * 5 + std::numbers::pi * 2.5 * 2.5, 3);
}

TEST(Draw, NothingLeavesThePictureAndNanDrawsNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), huge = 1e30F;
  Image image = canvas(9, 7);
  fill_circle(image, {nan, 3}, 4, kWhite);
  draw_line(image, {0, 0}, {std::numeric_limits<float>::infinity(), 5}, 2, kWhite);
  fill_rectangle(image, nan, 0, 4, 4, kWhite);
  fill_circle(image, {-50, -50}, 10, kWhite);
  fill_rectangle(image, 20, 20, 5, 5, kWhite);
  draw_text(image, huge, 3, "far", 9, kWhite);
  EXPECT_EQ(brightness(image), 0);
  fill_circle(image, {4, 3}, 100, kWhite);  // bigger than the picture
  EXPECT_EQ(brightness(image), 9 * 7);
}

TEST(Draw, OpacityMixes) {
  Image image = canvas(3, 3, {100, 100, 100});
  fill_rectangle(image, 0, 0, 3, 3, {200, 0, 100, 0.5F});
  EXPECT_TRUE(is(image, 1, 1, {150, 50, 100}));
}

TEST(Draw, TextLeavesInkInsideItsBox) {
  Image image = canvas(120, 30);
  const TextSize size = text_size("Loss 0.5", 10);
  EXPECT_GT(size.width, 30);
  EXPECT_LT(size.width, 100);
  draw_text(image, 5, 5, "Loss 0.5", 10, kWhite);
  EXPECT_GT(brightness(image), 40);
  for (int y = 0; y < 30; ++y) {
    for (int x = 0; x < 120; ++x) {
      if (x < 4 || static_cast<float>(x) > 6 + size.width || y < 4) {
        EXPECT_EQ(image.at(x, y)[0], 0) << x << ' ' << y;
      }
    }
  }
}

// Letters used to consist of rectangles, so that an oblique stroke was a staircase.
TEST(Draw, LettersHaveSmoothEdges) {
  Image image = canvas(60, 60);
  draw_text(image, 5, 5, "V", 40, kWhite);
  int grey = 0, white = 0;
  for (size_t i = 0; i < image.rgb.size(); i += 3) {
    white += image.rgb[i] > 230;
    grey += image.rgb[i] > 25 && image.rgb[i] <= 230;
  }
  EXPECT_GT(white, 150);
  EXPECT_GT(grey, 80);
}

TEST(Draw, EveryPrintableCharacterHasALetterOfItsOwn) {
  std::vector<std::vector<uint8_t>> seen;
  for (char c = '!'; c <= '~'; ++c) {
    Image image = canvas(40, 40);
    draw_text(image, 10, 8, std::string(1, c), 16, kWhite);
    EXPECT_GT(brightness(image), 2) << c;
    if (c == 'l' || c == '|') continue;  // These consist of the same stroke as I.
    for (const auto& other : seen) EXPECT_NE(image.rgb, other) << c;
    seen.push_back(image.rgb);
  }
  EXPECT_EQ(text_size("\xc3\xa9", 10).width, text_size("??", 10).width);
  EXPECT_EQ(text_size("a\nb", 10).height, text_size("b", 10).height + 16);
}

TEST(Draw, BoldLettersHaveMoreInkOnTheSamePlace) {
  Image plain = canvas(120, 30), bold = canvas(120, 30), again = canvas(120, 30);
  draw_text(plain, 5, 5, "Loss 0.5", 12, kWhite);
  draw_text(bold, 5, 5, "Loss 0.5", 12, kWhite, 1.5F);
  draw_text(again, 5, 5, "Loss 0.5", 12, kWhite);
  EXPECT_GT(brightness(bold), 1.25 * brightness(plain));
  EXPECT_EQ(plain.rgb, again.rgb);
}

TEST(Draw, ResizingKeepsAFlatColourAndTheMean) {
  const Image flat = resized(canvas(13, 7, {10, 200, 90}), 5, 17);
  for (int y = 0; y < 17; ++y) {
    for (int x = 0; x < 5; ++x) EXPECT_TRUE(is(flat, x, y, {10, 200, 90}));
  }
  Image dots = canvas(64, 64);
  for (int i = 0; i < 64; ++i) {
    for (int j = i % 2; j < 64; j += 2) blend(dots.at(j, i), kWhite, 1);
  }
  const Image small = resized(dots, 16, 16);
  for (int y = 1; y < 15; ++y) {
    for (int x = 1; x < 15; ++x) EXPECT_NEAR(small.at(x, y)[0], 128, 2);  // no moire
  }
}

Skeleton small_skeleton() {
  Skeleton s;
  s.names = {"nose", "left_shoulder", "right_shoulder", "left_wrist", "right_wrist"};
  s.limbs = {{0, 1}, {0, 2}, {1, 2}, {1, 3}, {2, 4}};
  return s;
}

TEST(DrawPerson, SidesHaveTheirColours) {
  Image image = canvas(200, 160, {90, 90, 90});
  const PersonStyle style;
  const std::vector<float> keypoints{100, 20, 1, 140, 60, 1, 60, 60, 1, 170, 130, 1, 30, 130, 1};
  draw_person(image, small_skeleton(), keypoints, style);
  EXPECT_TRUE(is(image, 170, 130, style.left));   // left_wrist
  EXPECT_TRUE(is(image, 30, 130, style.right));   // right_wrist
  EXPECT_TRUE(is(image, 100, 20, style.centre));  // nose
  EXPECT_TRUE(is(image, 155, 95, style.left));    // left forearm
  EXPECT_TRUE(is(image, 45, 95, style.right));
  EXPECT_TRUE(is(image, 100, 60, style.centre));  // shoulder to shoulder
  EXPECT_TRUE(is(image, 120, 40, style.left));    // nose to left shoulder
  EXPECT_TRUE(is(image, 100, 120, {90, 90, 90}));
}

TEST(DrawPerson, DoubtfulJointsAndTheirLimbsAreLeftOut) {
  Image image = canvas(200, 160, {90, 90, 90});
  const std::vector<float> keypoints{100, 20, 1, 140, 60, 1, 60, 60, 1, 170, 130, 0.2F, 30, 130, 0.21F};
  const PersonStyle style{.threshold = 0.2F};
  draw_person(image, small_skeleton(), keypoints, style);
  EXPECT_TRUE(is(image, 170, 130, {90, 90, 90}));
  EXPECT_TRUE(is(image, 155, 95, {90, 90, 90}));
  EXPECT_TRUE(is(image, 30, 130, style.right));
}

TEST(DrawPerson, HiddenJointsAreHollow) {
  Image image = canvas(400, 320, {90, 90, 90});
  std::vector<float> keypoints{200, 40, 2, 280, 120, 2, 120, 120, 2, 340, 260, 1, 60, 260, 2};
  draw_person(image, small_skeleton(), keypoints, {.threshold = 0, .solid = 1});
  EXPECT_TRUE(is(image, 340, 260, kWhite));
  EXPECT_TRUE(is(image, 60, 260, PersonStyle{}.right));
  // If nobody is there, nothing is drawn.
  Image empty = canvas(20, 20);
  for (float& v : keypoints) v = 0;
  draw_person(empty, small_skeleton(), keypoints, {});
  EXPECT_EQ(brightness(empty), 0);
}

TEST(DrawPerson, TheNumberOfJointsMustFit) {
  Image image = canvas(20, 20);
  EXPECT_THROW(draw_person(image, small_skeleton(), std::vector<float>(51), {}), Error);
}

TEST(ContactSheet, CellsHoldTheirPictures) {
  const std::vector<Image> images{canvas(40, 30, {255, 0, 0}), canvas(20, 60, {0, 255, 0}), Image()};
  const std::vector<std::string> captions{"a", "a caption that is far too long for its cell"};
  const Image sheet = contact_sheet(images, captions, 2, 80, 60);
  EXPECT_EQ(sheet.width, 2 * 80 + 3 * 6);
  EXPECT_TRUE(is(sheet, 6 + 40, 6 + 30, {255, 0, 0}));
  EXPECT_TRUE(is(sheet, 6 + 80 + 6 + 40, 6 + 30, {0, 255, 0}));
  EXPECT_FALSE(is(sheet, 6 + 80 + 6 + 2, 6 + 30, {0, 255, 0}));  // a tall picture is not stretched
  EXPECT_THROW(contact_sheet(images, captions, 0, 80, 60), Error);
}

}  // namespace
}  // namespace hr
