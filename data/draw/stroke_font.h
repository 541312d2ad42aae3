// The font of draw_text(), for printable ASCII. Letters are drawn as strokes of constant width with rounded ends. The
// outlines were made for this library, so no licence of a font applies.
#pragma once
#include <string_view>
#include <vector>

namespace hr {

// The y coordinates of the outlines, in their own units. y points downwards: the top of a capital letter is at 0, the
// baseline at kCapital, the top of a small x at kXHeight, and the bottom of letters such as g at kDescender. Lines of
// text are kLine apart.
struct StrokeFont {
  static constexpr float kCapital = 14, kXHeight = 4, kDescender = 18, kLine = 22;
};

struct StrokePoint {
  float x = 0, y = 0;
};

// A polyline. A stroke of one point is a dot.
using Stroke = std::vector<StrokePoint>;

struct Glyph {
  float advance = 0;  // The distance from the origin of this letter to that of the next one.
  std::vector<Stroke> strokes;
};

// Returns the glyph of a character, or the question mark for a character that is not printable ASCII. The reference
// stays valid. Thread-safe.
const Glyph& glyph_of(char character);

// Returns the width of one line of text, in the units of the outlines.
float stroke_text_width(std::string_view line);

}  // namespace hr
