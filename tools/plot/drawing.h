// A picture as a list of shapes, from which both pixels and SVG are made.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "data/draw/draw.h"

namespace hr {

// A colour with a role. In SVG it is the CSS variable `--name`, so that a page can define light and dark colours. In
// pixels, and on a page that does not define the variable, it is `color`.
struct Tone {
  std::string_view name;
  Color color;
};

namespace tone {
inline constexpr Tone paper{"paper", {255, 255, 255}}, ink{"ink", {38, 40, 46}}, faint{"faint", {112, 117, 127}},
    grid{"grid", {228, 230, 235}}, axis{"axis", {150, 154, 163}};
inline constexpr Tone series[] = {{"series-1", {31, 119, 180}}, {"series-2", {214, 90, 20}},
                                  {"series-3", {44, 140, 60}},  {"series-4", {190, 40, 60}},
                                  {"series-5", {120, 90, 180}}, {"series-6", {110, 110, 110}}};
}  // namespace tone

enum class Anchor { start, middle, end };

// Coordinates are those of data/draw/draw.h: the centre of pixel (i, j) is at x = i, y = j.
struct Mark {
  enum class Kind {
    rectangle,  // points: top-left corner, width and height
    line,       // points: a polyline; size: its width
    dot,        // points: the centre; size: the radius
    text,       // points: the top of the capitals, at the anchor; size: the height of the capitals
    hover       // points: top-left corner, width and height; text: shown by a page when the pointer is there
  };
  Kind kind = Kind::rectangle;
  Tone tone = tone::ink;
  std::vector<Point> points;
  float size = 1;
  std::string text;
  Anchor anchor = Anchor::start;
  bool bold = false, upwards = false;  // upwards: the text runs from bottom to top, and its top is towards the left.
};

struct Drawing {
  int width = 0, height = 0;
  std::vector<Mark> shapes;

  void rectangle(float x, float y, float w, float h, Tone tone);
  void line(std::vector<Point> points, float thickness, Tone tone);
  void dot(Point centre, float radius, Tone tone);
  Mark& text(float x, float y, std::string text, float size, Tone tone, Anchor anchor = Anchor::start);
  void hover(float x, float y, float w, float h, std::string text);
};

// Paints the drawing on a white background. Hover areas are not painted. The same drawing gives the same bytes.
Image paint(const Drawing& drawing);

// Returns an <svg> element for an HTML page, which scales with its container. `label` describes the drawing in words,
// for screen readers. Hover areas become invisible rectangles of class "hit" with a <title>, which browsers show as a
// tooltip. The same drawing gives the same text.
std::string svg_text(const Drawing& drawing, std::string_view label);

// Escapes a text for HTML and XML, including their attributes: & < > " ' become entities, and control characters that
// XML does not allow become '?'.
std::string escaped(std::string_view text);

}  // namespace hr
