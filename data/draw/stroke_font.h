// The letters of draw_text: strokes of even width with rounded ends, for printable ASCII. The outlines are our own.
#pragma once
#include <string_view>
#include <vector>

namespace hr {

// Units of the outlines: a capital letter is kCapital high, y points downwards from its top, and kXHeight is the top of
// a small x. Letters such as g reach down to kDescender.
struct StrokeFont {
  static constexpr float kCapital = 14, kXHeight = 4, kDescender = 18, kLine = 22;
};

struct StrokePoint {
  float x = 0, y = 0;
};

// A polyline; a dot is a stroke of one point.
using Stroke = std::vector<StrokePoint>;

struct Glyph {
  float advance = 0;  // From the origin of this letter to that of the next one.
  std::vector<Stroke> strokes;
};

// Any character that is not printable ASCII gives the question mark. Thread-safe.
const Glyph& glyph_of(char character);

// The width of one line of text, in units.
float stroke_text_width(std::string_view line);

}  // namespace hr
