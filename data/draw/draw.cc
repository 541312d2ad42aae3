#include "data/draw/draw.h"

#include <array>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "data/draw/stroke_font.h"

namespace hr {
namespace {

struct Bounds {
  float x0 = std::numeric_limits<float>::infinity(), y0 = x0, x1 = -x0, y1 = -x0;
  void add(Point p, float radius) {
    x0 = std::min(x0, p.x - radius);
    y0 = std::min(y0, p.y - radius);
    x1 = std::max(x1, p.x + radius);
    y1 = std::max(y1, p.y + radius);
  }
};

template <class Distance>
void paint(Image& image, const Bounds& box, Color color, const Distance& distance) {
  rasterise(image.width, image.height, box.x0, box.y0, box.x1, box.y1, distance,
            [&](int x, int y, float coverage) { blend(image.at(x, y), color, coverage); });
}

// Text as strokes, laid out: the letters' polylines in pixels, relative to the top-left corner of the text, x to the
// right along the line.
struct TextLayout {
  float width = 0, height = 0, line_width = 1;
  std::vector<Stroke> strokes;
};

// Puts the lines that most letters have in common (the top of capitals and of a small x, the baseline) onto whole
// pixels, so that their horizontal strokes are sharp.
class LineGrid {
 public:
  LineGrid(float size, float line_width) {
    const float inside = size - line_width, offset = std::lround(line_width) % 2 == 1 ? 0 : 0.5F;
    const auto snapped = [&](float unit) {
      const float at = line_width / 2 - 0.5F + unit / StrokeFont::kCapital * inside;
      return std::round(at - offset) + offset;
    };
    for (size_t i = 0; i < kUnits.size(); ++i) pixels_.at(i) = snapped(kUnits.at(i));
  }
  float operator()(float unit) const {
    size_t i = 1;
    while (i + 1 < kUnits.size() && unit > kUnits.at(i)) ++i;
    const float t = (unit - kUnits.at(i - 1)) / (kUnits.at(i) - kUnits.at(i - 1));
    return pixels_.at(i - 1) + t * (pixels_.at(i) - pixels_.at(i - 1));
  }

 private:
  static constexpr std::array<float, 4> kUnits = {0, StrokeFont::kXHeight, StrokeFont::kCapital,
                                                  StrokeFont::kDescender};
  std::array<float, 4> pixels_{};
};

TextLayout lay_out(std::string_view text, float size, float weight) {
  TextLayout layout;
  layout.line_width = std::max(1.0F, size * 0.125F) * weight;
  const float unit = size / StrokeFont::kCapital;
  const LineGrid grid(size, layout.line_width);
  float top = 0;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    float x = layout.line_width / 2 - 0.5F;
    for (const char c : line) {
      const Glyph& glyph = glyph_of(c);
      for (const Stroke& stroke : glyph.strokes) {
        Stroke& placed = layout.strokes.emplace_back();
        for (const StrokePoint p : stroke) placed.push_back({x + p.x * unit, top + grid(p.y)});
      }
      x += glyph.advance * unit;
    }
    if (!line.empty()) layout.width = std::max(layout.width, stroke_text_width(line) * unit + layout.line_width);
    const bool deep = line.find_first_of("gjpqy,;()[]{}@_|Q/\\") != std::string_view::npos;
    layout.height = top + size * (deep ? StrokeFont::kDescender / StrokeFont::kCapital : 1);
    top += std::round(size * StrokeFont::kLine / StrokeFont::kCapital);
    begin = end + 1;
  }
  return layout;
}

float squared_distance(float x, float y, const StrokePoint& a, const StrokePoint& b) {
  const float dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
  const float t = length2 > 0 ? std::clamp(((x - a.x) * dx + (y - a.y) * dy) / length2, 0.0F, 1.0F) : 0;
  const float ex = x - a.x - t * dx, ey = y - a.y - t * dy;
  return ex * ex + ey * ey;
}

// Paints one stroke as a whole, so that a translucent colour does not show where its segments meet.
void paint_stroke(Image& image, const Stroke& stroke, float radius, Color color) {
  Bounds box;
  for (const StrokePoint& p : stroke) box.add({p.x, p.y}, radius);
  paint(image, box, color, [&](float x, float y) {
    float nearest = squared_distance(x, y, stroke.front(), stroke.front());
    for (size_t i = 1; i < stroke.size(); ++i) {
      nearest = std::min(nearest, squared_distance(x, y, stroke[i - 1], stroke[i]));
    }
    return std::sqrt(nearest) - radius;
  });
}

enum class Side { left, right, centre };

Side side_of(const std::string& name) {
  if (name.starts_with("left")) return Side::left;
  if (name.starts_with("right")) return Side::right;
  return Side::centre;
}

}  // namespace

void fill(Image& image, Color color) {
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) blend(image.at(x, y), color, 1);
  }
}

void fill_rectangle(Image& image, float x, float y, float w, float h, Color color) {
  const float x0 = x - 0.5F, y0 = y - 0.5F, x1 = x0 + w, y1 = y0 + h;
  if (!(w > 0 && h > 0 && std::isfinite(x0 + x1 + y0 + y1))) return;
  const auto index = [](float v, int end) { return static_cast<int>(std::clamp(v, 0.0F, static_cast<float>(end))); };
  const int left = index(std::floor(x0 + 0.5F), image.width), right = index(std::ceil(x1), image.width - 1);
  const int top = index(std::floor(y0 + 0.5F), image.height), bottom = index(std::ceil(y1), image.height - 1);
  const auto overlap = [](float lo, float hi, int i) {
    const auto centre = static_cast<float>(i);
    return std::clamp(std::min(hi, centre + 0.5F) - std::max(lo, centre - 0.5F), 0.0F, 1.0F);
  };
  for (int j = top; j <= bottom; ++j) {
    const float row = overlap(y0, y1, j);
    for (int i = left; i <= right; ++i) blend(image.at(i, j), color, row * overlap(x0, x1, i));
  }
}

void draw_rectangle(Image& image, float x, float y, float w, float h, float line_width, Color color) {
  fill_rectangle(image, x, y, w, line_width, color);
  fill_rectangle(image, x, y + h - line_width, w, line_width, color);
  fill_rectangle(image, x, y + line_width, line_width, h - 2 * line_width, color);
  fill_rectangle(image, x + w - line_width, y + line_width, line_width, h - 2 * line_width, color);
}

void fill_circle(Image& image, Point centre, float radius, Color color) {
  fill_capsule(image, centre, centre, radius, radius, color);
}

void fill_capsule(Image& image, Point a, Point b, float radius_a, float radius_b, Color color) {
  Bounds box;
  box.add(a, radius_a);
  box.add(b, radius_b);
  const float dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
  const float inverse = length2 > 0 ? 1 / length2 : 0;
  paint(image, box, color, [=](float x, float y) {
    const float t = std::clamp(((x - a.x) * dx + (y - a.y) * dy) * inverse, 0.0F, 1.0F);
    const float ex = x - a.x - t * dx, ey = y - a.y - t * dy;
    return std::sqrt(ex * ex + ey * ey) - (radius_a + t * (radius_b - radius_a));
  });
}

void draw_line(Image& image, Point a, Point b, float line_width, Color color) {
  fill_capsule(image, a, b, line_width / 2, line_width / 2, color);
}

TextSize text_size(std::string_view text, float size) {
  const TextLayout layout = lay_out(text, size, 1);
  return {layout.width, layout.height};
}

void draw_text(Image& image, float x, float y, std::string_view text, float size, Color color, float weight) {
  const TextLayout layout = lay_out(text, size, weight);
  x = std::round(x);
  y = std::round(y);
  for (Stroke stroke : layout.strokes) {
    for (StrokePoint& p : stroke) p = {x + p.x, y + p.y};
    paint_stroke(image, stroke, layout.line_width / 2, color);
  }
}

void draw_text_upwards(Image& image, float x, float y, std::string_view text, float size, Color color) {
  const TextLayout layout = lay_out(text, size, 1);
  x = std::round(x);
  y = std::round(y);
  for (Stroke stroke : layout.strokes) {
    for (StrokePoint& p : stroke) p = {x + p.y, y - p.x};
    paint_stroke(image, stroke, layout.line_width / 2, color);
  }
}

void paste(Image& image, const Image& part, int x, int y) {
  const int x0 = std::max(x, 0), x1 = std::min(x + part.width, image.width);
  if (x0 >= x1) return;
  for (int row = std::max(y, 0); row < std::min(y + part.height, image.height); ++row) {
    std::memcpy(image.at(x0, row), part.at(x0 - x, row - y), static_cast<size_t>(x1 - x0) * 3);
  }
}

namespace {

// One axis of a resize: output i is the weighted sum of the inputs first .. first + weights.size() - 1.
struct Taps {
  int first = 0;
  std::vector<float> weights;
};

std::vector<Taps> resize_taps(int from, int to) {
  std::vector<Taps> taps(static_cast<size_t>(to));
  const double ratio = static_cast<double>(from) / to, reach = std::max(ratio, 1.0);
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * ratio - 0.5;
    const int lo = std::max(0, static_cast<int>(std::ceil(centre - reach)));
    const int hi = std::min(from - 1, static_cast<int>(std::floor(centre + reach)));
    double sum = 0;
    std::vector<double> weights;
    for (int k = lo; k <= hi; ++k) {
      // A tent as wide as the step: bilinear when enlarging, an average over the footprint when shrinking.
      const double weight = std::max(0.0, 1 - std::abs(k - centre) / reach) + 1e-9;
      weights.push_back(weight);
      sum += weight;
    }
    Taps& tap = taps[static_cast<size_t>(i)];
    tap.first = lo;
    for (const double weight : weights) tap.weights.push_back(static_cast<float>(weight / sum));
  }
  return taps;
}

}  // namespace

Image resized(const Image& image, int width, int height) {
  check(width > 0 && height > 0 && !image.empty(), "resized: cannot make {}x{} of {}x{}", width, height, image.width,
        image.height);
  const std::vector<Taps> across = resize_taps(image.width, width), down = resize_taps(image.height, height);
  std::vector<float> rows(static_cast<size_t>(width) * image.height * 3);  // [image.height, width, 3].
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < width; ++x) {
      const Taps& tap = across[static_cast<size_t>(x)];
      float* out = &rows[(static_cast<size_t>(y) * width + x) * 3];
      for (size_t k = 0; k < tap.weights.size(); ++k) {
        const uint8_t* in = image.at(tap.first + static_cast<int>(k), y);
        for (int c = 0; c < 3; ++c) out[c] += tap.weights[k] * in[c];
      }
    }
  }
  Image result(width, height);
  for (int y = 0; y < height; ++y) {
    const Taps& tap = down[static_cast<size_t>(y)];
    for (int x = 0; x < width; ++x) {
      std::array<float, 3> sum{};
      for (size_t k = 0; k < tap.weights.size(); ++k) {
        const float* in = &rows[((static_cast<size_t>(tap.first) + k) * width + x) * 3];
        for (size_t c = 0; c < 3; ++c) sum[c] += tap.weights[k] * in[c];
      }
      for (size_t c = 0; c < 3; ++c) result.at(x, y)[c] = static_cast<uint8_t>(std::clamp(sum[c] + 0.5F, 0.0F, 255.0F));
    }
  }
  return result;
}

void draw_person(Image& image, const Skeleton& skeleton, std::span<const float> keypoints, const PersonStyle& style) {
  const auto joints = static_cast<size_t>(skeleton.joints());
  check(keypoints.size() == joints * 3, "draw_person: the skeleton has {} joints, so {} numbers are needed, got {}",
        joints, joints * 3, keypoints.size());
  struct Mark {
    Point at;
    Side side;
    bool shown, solid;
  };
  std::vector<Mark> drawn(joints);
  Bounds box;
  for (size_t k = 0; k < joints; ++k) {
    const Point at{keypoints[k * 3], keypoints[k * 3 + 1]};
    const float score = keypoints[k * 3 + 2];
    const bool shown = score > style.threshold && std::isfinite(at.x) && std::isfinite(at.y);
    drawn[k] = {at, side_of(skeleton.names[k]), shown, score > style.solid};
    if (shown) box.add(at, 0);
  }
  if (box.x1 < box.x0) return;

  const float extent = std::max(box.x1 - box.x0, box.y1 - box.y0);
  const float width = style.line_width > 0 ? style.line_width : std::clamp(extent * 0.018F, 1.5F, 10.0F);
  const float rim = std::clamp(width * 0.3F, 0.6F, 2.0F);
  const auto color_of = [&](Side side) {
    return side == Side::left ? style.left : side == Side::right ? style.right : style.centre;
  };
  const Color dark{20, 20, 20, 0.6F};

  // A dark rim below everything separates the colours from any background.
  for (const bool rims : {true, false}) {
    for (const auto& [from, to] : skeleton.limbs) {
      const Mark &a = drawn[static_cast<size_t>(from)], &b = drawn[static_cast<size_t>(to)];
      if (!a.shown || !b.shown) continue;
      const bool left = a.side == Side::left || b.side == Side::left;
      const bool right = a.side == Side::right || b.side == Side::right;
      const Side side = left == right ? Side::centre : left ? Side::left : Side::right;
      if (rims) {
        draw_line(image, a.at, b.at, width + 2 * rim, dark);
      } else {
        draw_line(image, a.at, b.at, width, color_of(side));
      }
    }
  }
  const float radius = width * 0.95F + 0.4F;
  for (const Mark& joint : drawn) {
    if (!joint.shown) continue;
    fill_circle(image, joint.at, radius + rim, dark);
    fill_circle(image, joint.at, radius, color_of(joint.side));
    if (!joint.solid) fill_circle(image, joint.at, radius * 0.55F, {255, 255, 255});
  }
}

void draw_person(Image& image, const Pose& pose, const PersonStyle& style) {
  check(pose.skeleton != nullptr, "draw_person: the pose has no skeleton, so nobody knows which joints limbs connect");
  draw_person(image, *pose.skeleton, keypoints(pose), style);
}

Image contact_sheet(std::span<const Image> images, std::span<const std::string> captions, int columns, int cell_width,
                    int cell_height) {
  check(columns > 0 && cell_width > 0 && cell_height > 0,
        "contact_sheet: needs a positive grid, got {} columns of {}x{}", columns, cell_width, cell_height);
  const int gap = 6, caption = captions.empty() ? 0 : 16, count = static_cast<int>(images.size());
  const int rows = std::max(1, (count + columns - 1) / columns), shown = std::max(1, std::min(columns, count));
  Image sheet(shown * (cell_width + gap) + gap, rows * (cell_height + caption + gap) + gap);
  fill(sheet, {245, 245, 245});
  for (int i = 0; i < count; ++i) {
    const Image& image = images[static_cast<size_t>(i)];
    const int x = gap + i % columns * (cell_width + gap), y = gap + i / columns * (cell_height + caption + gap);
    if (!image.empty()) {
      const double scale =
          std::min(static_cast<double>(cell_width) / image.width, static_cast<double>(cell_height) / image.height);
      const int w = std::clamp(static_cast<int>(std::lround(image.width * scale)), 1, cell_width);
      const int h = std::clamp(static_cast<int>(std::lround(image.height * scale)), 1, cell_height);
      paste(sheet, w == image.width && h == image.height ? image : resized(image, w, h), x + (cell_width - w) / 2,
            y + (cell_height - h) / 2);
    }
    if (static_cast<size_t>(i) < captions.size()) {
      std::string text = captions[static_cast<size_t>(i)];
      while (text.size() > 1 && text_size(text, 7).width > static_cast<float>(cell_width)) text.pop_back();
      draw_text(sheet, static_cast<float>(x), static_cast<float>(y + cell_height + 4), text, 7, {40, 40, 40});
    }
  }
  return sheet;
}

}  // namespace hr
