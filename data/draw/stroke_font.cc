#include "data/draw/stroke_font.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numbers>

namespace hr {
namespace {

constexpr float kGap = 3.5F;  // The distance between the outlines of two letters.
constexpr int kArcSteps = 8;  // The number of straight segments that approximate a curve.

// `width` is the width of the outline, without the gap to the next letter. `path` is a list of commands. Each command
// is a letter that is followed by the coordinates of its points; the last of them becomes the current point.
//   M x y                begins a new stroke at (x, y).
//   L x y                draws a straight line to (x, y).
//   h x y                draws a quarter of an ellipse that starts horizontally and ends vertically.
//   v x y                draws a quarter of an ellipse that starts vertically and ends horizontally.
//   C x y x y x y        draws a cubic Bezier curve with two control points and an end point.
struct Outline {
  float width;
  const char* path;
};

// The outlines of the characters from ' ' to '~'.
constexpr std::array<Outline, 95> kOutlines = {{
    {1.5F, ""},                                                        // space
    {0, "M0 0 L0 9.6 M0 14"},                                          // !
    {3, "M0 0 L0 4 M3 0 L3 4"},                                        // "
    {9, "M3 0 L1.6 14 M7.4 0 L6 14 M0.6 4.6 L9 4.6 M0 9.6 L8.4 9.6"},  // #
    {8,
     "M7.6 3.4 C7.1 1.7 5.9 0.8 4 0.8 C2 0.8 0.4 1.9 0.4 3.8 C0.4 8 8 5.9 8 10.4 C8 12.2 6.4 13.3 4.1 "  // $
     "13.3 C2 13.3 0.5 12.3 0 10.6 M4 -1 L4 15"},
    {12.4F, "M2.8 0 h5.6 3.3 v2.8 6.6 h0 3.3 v2.8 0 M9.6 7.4 h12.4 10.7 v9.6 14 h6.8 10.7 v9.6 7.4 M9.8 0 L2.6 14"},
    {10.4F,
     "M10.2 14 L2.6 4.6 C1 2.4 2 0 4.4 0 C6.8 0 7.6 2.6 5.8 4.2 L2 7.2 C-1 9.8 0 14 4 14 C7.4 14 9.4 11 9.6 7.6"},
    {0, "M0 0 L0 4"},                                                                                  // '
    {3, "M3 -1.4 C0.8 1.4 0 4.2 0 7.3 C0 10.4 0.8 13.2 3 16"},                                         // (
    {3, "M0 -1.4 C2.2 1.4 3 4.2 3 7.3 C3 10.4 2.2 13.2 0 16"},                                         // )
    {6, "M3 0.4 L3 7 M0.2 2.1 L5.8 5.3 M5.8 2.1 L0.2 5.3"},                                            // *
    {8, "M0 8.4 L8 8.4 M4 4.4 L4 12.4"},                                                               // +
    {0.6F, "M0.6 13.8 L-0.2 16.6"},                                                                    // ,
    {4.6F, "M0 8.8 L4.6 8.8"},                                                                         // -
    {0, "M0 14"},                                                                                      // .
    {5, "M0 15 L5 -0.6"},                                                                              // /
    {8, "M4 0 h8 7 v4 14 h0 7 v4 0"},                                                                  // 0
    {8, "M1.6 2.9 L5 0 L5 14"},                                                                        // 1
    {8, "M0.4 3.8 C0.6 1.4 2 0 4.1 0 C6.3 0 7.7 1.4 7.7 3.6 C7.7 5.4 6.8 6.6 5.4 8.1 L0.2 14 L8 14"},  // 2
    {8,
     "M0.5 2.7 C1.1 1 2.3 0 4 0 C6 0 7.4 1.3 7.4 3.3 C7.4 5.4 5.8 6.5 4 6.5 L2.8 6.5 M4 6.5 C6.4 6.5 8 7.9 8 10.2 C8 "
     "12.6 6.3 14 4 14 C2 14 0.5 12.9 0 11"},                                                                       // 3
    {8, "M6 14 L6 0 L0 9.9 L8.2 9.9"},                                                                              // 4
    {8, "M7.2 0 L1.2 0 L0.6 6.6 C1.5 5.6 2.7 5 4 5 C6.4 5 8 6.8 8 9.4 C8 12.2 6.3 14 3.9 14 C2 14 0.6 13 0 11.4"},  // 5
    {8, "M7.2 2.4 C6.6 0.9 5.5 0 4.2 0 C1.6 0 0 2.8 0 7.6 L0 9.4 v4 14 h8 9.4 v4 5 h0 9.4"},                        // 6
    {8, "M0 0 L8 0 L3 14"},                                                                                         // 7
    {8,
     "M4 0 C6 0 7.4 1.3 7.4 3.3 C7.4 5.3 6 6.5 4 6.5 C2 6.5 0.6 5.3 0.6 3.3 C0.6 1.3 2 0 4 0 M4 6.5 C6.4 6.5 8 8 8 "
     "10.2 C8 12.5 6.4 14 4 14 C1.6 14 0 12.5 0 10.2 C0 8 1.6 6.5 4 6.5"},                          // 8
    {8, "M0.8 11.6 C1.4 13.1 2.5 14 3.8 14 C6.4 14 8 11.2 8 6.4 L8 4.6 v4 0 h0 4.6 v4 9 h8 4.6"},   // 9
    {0, "M0 5.4 M0 14"},                                                                            // :
    {0.6F, "M0.4 5.4 M0.6 13.8 L-0.2 16.6"},                                                        // ;
    {7.6F, "M7.6 4.4 L0 8.4 L7.6 12.4"},                                                            // <
    {8, "M0 6.4 L8 6.4 M0 10.4 L8 10.4"},                                                           // =
    {7.6F, "M0 4.4 L7.6 8.4 L0 12.4"},                                                              // >
    {7.2F, "M0.2 3.4 C0.6 1.2 2 0 3.8 0 C5.8 0 7.2 1.3 7.2 3.2 C7.2 5.9 3.8 6.2 3.8 9.6 M3.8 14"},  // ?
    {13,
     "M9.6 9.8 h6.8 13 M9.6 5 L9.6 9.8 v11.4 11.4 h13 7.4 v6.6 0.6 h0 8 v6.6 15.6 L9 15.6 M9.6 7.6 v6.6 4.6 h3.6 7.8 "
     "v6.4 11 h9.6 8"},                                                                       // @
    {10, "M0 14 L5 0 L10 14 M1.7 9.4 L8.3 9.4"},                                              // A
    {8.8F, "M0 6.8 L4.6 6.8 M0 0 L4.6 0 h8 3.4 v4.6 6.8 L5 6.8 h8.8 10.4 v5 14 L0 14 L0 0"},  // B
    {9.7F, "M9.7 3.5 C8.9 1.2 7.3 0 5.2 0 h0 7 v5.2 14 C7.3 14 8.9 12.8 9.7 10.5"},           // C
    {9.6F, "M0 0 L3.8 0 h9.6 7 v3.8 14 L0 14 L0 0"},                                          // D
    {7.8F, "M7.8 0 L0 0 L0 14 L7.8 14 M0 6.8 L7.1 6.8"},                                      // E
    {7.5F, "M7.5 0 L0 0 L0 14 M0 6.8 L6.9 6.8"},                                              // F
    {10, "M9.7 3.5 C8.9 1.2 7.3 0 5.2 0 h0 7 v5.2 14 h10 9.6 L10 7.6 L5.8 7.6"},              // G
    {9.4F, "M0 0 L0 14 M9.4 0 L9.4 14 M0 6.8 L9.4 6.8"},                                      // H
    {0, "M0 0 L0 14"},                                                                        // I
    {6, "M6 0 L6 10.2 v3 14 h0 10.6"},                                                        // J
    {9, "M0 0 L0 14 M8.7 0 L0 8.7 M3.2 5.6 L9 14"},                                           // K
    {7.2F, "M0 0 L0 14 L7.2 14"},                                                             // L
    {11, "M0 14 L0 0 L5.5 12 L11 0 L11 14"},                                                  // M
    {9.2F, "M0 14 L0 0 L9.2 14 L9.2 0"},                                                      // N
    {10.8F, "M5.4 0 h10.8 7 v5.4 14 h0 7 v5.4 0"},                                            // O
    {8.6F, "M0 14 L0 0 L4.7 0 h8.6 3.9 v4.7 7.8 L0 7.8"},                                     // P
    {10.8F, "M5.4 0 h10.8 7 v5.4 14 h0 7 v5.4 0 M6.6 10.4 L10.6 14.8"},                       // Q
    {9, "M0 14 L0 0 L4.7 0 h8.6 3.9 v4.7 7.8 L0 7.8 M4.8 7.8 L9 14"},                         // R
    {8.7F,
     "M8.2 3.3 C7.7 1.2 6.4 0 4.3 0 C2 0 0.4 1.4 0.4 3.5 C0.4 6 2.4 6.4 4.4 6.9 C6.6 7.4 8.7 8 8.7 10.5 C8.7 12.6 7 "
     "14 4.5 14 C2.1 14 0.5 12.7 0 10.5"},            // S
    {9, "M0 0 L9 0 M4.5 0 L4.5 14"},                  // T
    {9.2F, "M0 0 L0 9.4 v4.6 14 h9.2 9.4 L9.2 0"},    // U
    {9.8F, "M0 0 L4.9 14 L9.8 0"},                    // V
    {13.6F, "M0 0 L3.4 14 L6.8 1 L10.2 14 L13.6 0"},  // W
    {9, "M0 0 L9 14 M9 0 L0 14"},                     // X
    {9.4F, "M0 0 L4.7 7.2 L9.4 0 M4.7 7.2 L4.7 14"},  // Y
    {8.8F, "M0.2 0 L8.6 0 L0 14 L8.8 14"},            // Z
    {3, "M3 -1.2 L0 -1.2 L0 15.8 L3 15.8"},           // [
    {5, "M0 -0.6 L5 15"},                             // backslash
    {3, "M0 -1.2 L3 -1.2 L3 15.8 L0 15.8"},           // ]
    {7, "M0 5.4 L3.5 0 L7 5.4"},                      // ^
    {8, "M0 16 L8 16"},                               // _
    {2, "M0 0 L2 2.6"},                               // `
    {7.2F,
     "M0.6 6 C1.3 4.7 2.5 4 3.9 4 h7.2 7.2 L7.2 14 M7.2 8.5 L3.4 8.5 C1.3 8.5 0 9.5 0 11.2 C0 13 1.3 14 3.1 14 C5.3 "
     "14 7.2 12.8 7.2 10.6"},                                                       // a
    {8, "M0 0 L0 14 M0 9 v4 4 h8 9 v4 14 h0 9"},                                    // b
    {7.2F, "M7.2 6.2 C6.5 4.8 5.4 4 4 4 h0 9 v4 14 C5.4 14 6.5 13.2 7.2 11.8"},     // c
    {8, "M8 0 L8 14 M8 9 v4 4 h0 9 v4 14 h8 9"},                                    // d
    {7.9F, "M0 8.9 L7.9 8.9 v4 4 h0 9 v4.1 14 C5.7 14 6.9 13.3 7.6 12"},            // e
    {4.8F, "M4.8 0 L4.4 0 h1.8 2.8 L1.8 14 M0 4 L4.6 4"},                           // f
    {8, "M8 9 v4 4 h0 9 v4 14 h8 9 M8 4 L8 13.8 v4 18 C2.5 18 1.3 17.4 0.7 16.3"},  // g
    {7.2F, "M0 0 L0 14 M0 8 v3.8 4 h7.2 8 L7.2 14"},                                // h
    {0, "M0 4 L0 14 M0 0.3"},                                                       // i
    {1.6F, "M1.6 4 L1.6 15.6 v-0.6 18 M1.6 0.3"},                                   // j
    {6.9F, "M0 0 L0 14 M6.6 4 L0 10.4 M2.6 8 L6.9 14"},                             // k
    {0, "M0 0 L0 14"},                                                              // l
    {12, "M0 4 L0 14 M0 7.6 v3.2 4 h6 7.4 L6 14 M6 7.6 v9.2 4 h12 7.4 L12 14"},     // m
    {7.2F, "M0 4 L0 14 M0 8 v3.8 4 h7.2 8 L7.2 14"},                                // n
    {8, "M4 4 h8 9 v4 14 h0 9 v4 4"},                                               // o
    {8, "M0 4 L0 18 M0 9 v4 4 h8 9 v4 14 h0 9"},                                    // p
    {8, "M8 4 L8 18 M8 9 v4 4 h0 9 v4 14 h8 9"},                                    // q
    {4.2F, "M0 4 L0 14 M0 8 v3.4 4 L4.2 4"},                                        // r
    {6.8F,
     "M6.4 6.1 C5.9 4.7 4.8 4 3.4 4 C1.6 4 0.3 5 0.3 6.5 C0.3 8.2 1.9 8.6 3.5 8.9 C5.2 9.3 6.8 9.7 6.8 11.4 C6.8 13 "
     "5.4 14 3.5 14 C1.7 14 0.5 13.2 0 11.8"},                        // s
    {4.8F, "M1.8 1 L1.8 11.4 v4.3 14 L4.8 14 M0 4 L4.6 4"},           // t
    {7.2F, "M0 4 L0 10 v3.4 14 h7.2 10 M7.2 4 L7.2 14"},              // u
    {7.6F, "M0 4 L3.8 14 L7.6 4"},                                    // v
    {11.4F, "M0 4 L2.9 14 L5.7 4.8 L8.5 14 L11.4 4"},                 // w
    {7, "M0 4 L7 14 M7 4 L0 14"},                                     // x
    {7.6F, "M0 4 L3.9 13.6 M7.6 4 L3.2 15.6 C2.7 17.2 2 18 0.5 18"},  // y
    {7, "M0.2 4 L6.8 4 L0 14 L7 14"},                                 // z
    {4,
     "M4 -1.2 C2.4 -1.2 2 -0.4 2 1 L2 5 C2 6.4 1.4 7.2 0 7.2 C1.4 7.2 2 8 2 9.4 L2 13.4 C2 14.8 2.4 15.8 4 15.8"},  // {
    {0, "M0 -2 L0 17"},                                                                                             // |
    {4,
     "M0 -1.2 C1.6 -1.2 2 -0.4 2 1 L2 5 C2 6.4 2.6 7.2 4 7.2 C2.6 7.2 2 8 2 9.4 L2 13.4 C2 14.8 1.6 15.8 0 15.8"},  // }
    {8, "M0 9.4 C0.4 7.9 1.2 7.2 2.2 7.2 C4 7.2 4 9.6 5.8 9.6 C6.8 9.6 7.6 8.9 8 7.4"},                             // ~
}};

class Flattener {
 public:
  explicit Flattener(const char* path) : at_(path) {
    while (*at_ != '\0') command();
  }
  std::vector<Stroke> strokes;

 private:
  void command() {
    const char name = *at_++;
    if (name == ' ') return;
    if (name == 'M') {
      strokes.push_back({point()});
    } else if (name == 'L') {
      strokes.back().push_back(point());
    } else if (name == 'C') {
      const StrokePoint a = point(), b = point();
      curve(a, b, point());
    } else {
      quarter(name == 'h', point());
    }
  }
  float number() {
    char* end = nullptr;
    const float value = std::strtof(at_, &end);
    at_ = end;
    return value;
  }
  StrokePoint point() {
    const float x = number();
    return {x, number()};
  }
  void quarter(bool horizontal, StrokePoint to) {
    const StrokePoint from = strokes.back().back();
    for (int i = 1; i <= kArcSteps; ++i) {
      const double angle = std::numbers::pi / 2 * i / kArcSteps;
      const auto early = static_cast<float>(std::sin(angle)), late = static_cast<float>(1 - std::cos(angle));
      strokes.back().push_back({from.x + (to.x - from.x) * (horizontal ? early : late),
                                from.y + (to.y - from.y) * (horizontal ? late : early)});
    }
  }
  void curve(StrokePoint a, StrokePoint b, StrokePoint to) {
    const StrokePoint from = strokes.back().back();
    for (int i = 1; i <= kArcSteps; ++i) {
      const float t = static_cast<float>(i) / kArcSteps, s = 1 - t;
      const auto at = [&](float p0, float p1, float p2, float p3) {
        return s * s * s * p0 + 3 * s * s * t * p1 + 3 * s * t * t * p2 + t * t * t * p3;
      };
      strokes.back().push_back({at(from.x, a.x, b.x, to.x), at(from.y, a.y, b.y, to.y)});
    }
  }

  const char* at_;
};

std::array<Glyph, kOutlines.size()> flattened() {
  std::array<Glyph, kOutlines.size()> glyphs;
  for (size_t i = 0; i < glyphs.size(); ++i) {
    glyphs.at(i) = {kOutlines.at(i).width + kGap, Flattener(kOutlines.at(i).path).strokes};
  }
  return glyphs;
}

}  // namespace

const Glyph& glyph_of(char character) {
  static const std::array<Glyph, kOutlines.size()> glyphs = flattened();
  const char shown = character >= ' ' && character <= '~' ? character : '?';
  return glyphs.at(static_cast<size_t>(shown - ' '));
}

float stroke_text_width(std::string_view line) {
  float width = 0;
  for (const char c : line) width += glyph_of(c).advance;
  return line.empty() ? 0 : width - kGap;
}

}  // namespace hr
