#include "tools/plot/drawing.h"

#include <fmt/format.h>

namespace hr {

void Drawing::rectangle(float x, float y, float w, float h, Tone tone) {
  shapes.push_back({.kind = Mark::Kind::rectangle, .tone = tone, .points = {{x, y}, {w, h}}, .text = {}});
}

void Drawing::line(std::vector<Point> points, float thickness, Tone tone) {
  shapes.push_back(
      {.kind = Mark::Kind::line, .tone = tone, .points = std::move(points), .size = thickness, .text = {}});
}

void Drawing::dot(Point centre, float radius, Tone tone) {
  shapes.push_back({.kind = Mark::Kind::dot, .tone = tone, .points = {centre}, .size = radius, .text = {}});
}

Mark& Drawing::text(float x, float y, std::string text, float size, Tone tone, Anchor anchor) {
  shapes.push_back({.kind = Mark::Kind::text,
                    .tone = tone,
                    .points = {{x, y}},
                    .size = size,
                    .text = std::move(text),
                    .anchor = anchor});
  return shapes.back();
}

void Drawing::hover(float x, float y, float w, float h, std::string text) {
  shapes.push_back({.kind = Mark::Kind::hover, .points = {{x, y}, {w, h}}, .text = std::move(text)});
}

namespace {

constexpr float kBold = 1.35F;

void paint_text(Image& image, const Mark& s) {
  const float width = text_size(s.text, s.size).width;
  const float before = s.anchor == Anchor::start ? 0 : s.anchor == Anchor::middle ? width / 2 : width;
  const Point at = s.points[0];
  if (s.upwards) {
    draw_text_upwards(image, at.x, at.y + before, s.text, s.size, s.tone.color);
  } else {
    draw_text(image, at.x - before, at.y, s.text, s.size, s.tone.color, s.bold ? kBold : 1);
  }
}

std::string colour(Tone tone) {
  const Color c = tone.color;
  return fmt::format("var(--{},#{:02x}{:02x}{:02x})", tone.name, c.r, c.g, c.b);
}

// Formats a coordinate for SVG, where the centre of the first pixel is at 0.5 and not at 0.
std::string place(float v) {
  std::string text = fmt::format("{:.2f}", v + 0.5F);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string svg_line(const Mark& s) {
  std::string points;
  for (const Point p : s.points) points += fmt::format("{}{},{}", points.empty() ? "" : " ", place(p.x), place(p.y));
  return fmt::format(
      "<polyline points=\"{}\" style=\"fill:none;stroke:{};stroke-width:{};stroke-linejoin:round;"
      "stroke-linecap:round\"/>",
      points, colour(s.tone), s.size);
}

std::string svg_words(const Mark& s) {
  // In common fonts, the height of capitals is about 0.72 of the font size.
  const Point at = s.points[0];
  const float x = s.upwards ? at.x + s.size : at.x, y = s.upwards ? at.y : at.y + s.size;
  const char* anchor = s.anchor == Anchor::start ? "start" : s.anchor == Anchor::middle ? "middle" : "end";
  const std::string turn = s.upwards ? fmt::format(" transform=\"rotate(-90 {} {})\"", place(x), place(y)) : "";
  return fmt::format("<text x=\"{}\" y=\"{}\" style=\"fill:{};font-size:{:.1f}px;text-anchor:{}{}\"{}>{}</text>",
                     place(x), place(y), colour(s.tone), s.size / 0.72F, anchor, s.bold ? ";font-weight:600" : "", turn,
                     escaped(s.text));
}

std::string svg_shape(const Mark& s) {
  const auto box = [&] {
    return fmt::format("x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\"", s.points[0].x, s.points[0].y,
                       s.points[1].x, s.points[1].y);
  };
  switch (s.kind) {
    case Mark::Kind::rectangle:
      return fmt::format("<rect {} style=\"fill:{}\"/>", box(), colour(s.tone));
    case Mark::Kind::line:
      return svg_line(s);
    case Mark::Kind::dot:
      return fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" style=\"fill:{}\"/>", place(s.points[0].x),
                         place(s.points[0].y), s.size, colour(s.tone));
    case Mark::Kind::text:
      return svg_words(s);
    case Mark::Kind::hover:
      return fmt::format("<rect class=\"hit\" {} style=\"fill:transparent\"><title>{}</title></rect>", box(),
                         escaped(s.text));
  }
  return {};
}

}  // namespace

Image paint(const Drawing& drawing) {
  Image image(drawing.width, drawing.height);
  fill(image, tone::paper.color);
  for (const Mark& s : drawing.shapes) {
    switch (s.kind) {
      case Mark::Kind::rectangle:
        fill_rectangle(image, s.points[0].x, s.points[0].y, s.points[1].x, s.points[1].y, s.tone.color);
        break;
      case Mark::Kind::line:
        for (size_t i = 1; i < s.points.size(); ++i) {
          draw_line(image, s.points[i - 1], s.points[i], s.size, s.tone.color);
        }
        break;
      case Mark::Kind::dot:
        fill_circle(image, s.points[0], s.size, s.tone.color);
        break;
      case Mark::Kind::text:
        paint_text(image, s);
        break;
      case Mark::Kind::hover:
        break;
    }
  }
  return image;
}

std::string svg_text(const Drawing& drawing, std::string_view label) {
  std::string text = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" "
      "style=\"font-family:system-ui,sans-serif\">\n",
      drawing.width, drawing.height, escaped(label));
  for (const Mark& s : drawing.shapes) text += svg_shape(s) + "\n";
  return text + "</svg>\n";
}

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default: {
        const bool control = static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t';
        out += control || c == '\x7f' ? '?' : c;
      }
    }
  }
  return out;
}

}  // namespace hr
