#include "tools/predict/overlay.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hr {
namespace {

Color from_hue(double hue, double saturation, double value) {
  const auto channel = [&](double shift) {
    const double k = std::fmod(shift + hue * 6, 6.0);
    return static_cast<uint8_t>(
        std::lround(255 * (value - value * saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0))));
  };
  return {channel(5), channel(3), channel(1)};
}

// Steps of the golden ratio spread any number of hues evenly.
double hue_of(int64_t track) { return std::fmod(0.08 + 0.6180339887498949 * static_cast<double>(track), 1.0); }

void draw_number(Image& image, const Pose& pose, double threshold) {
  Point top{0, std::numeric_limits<float>::infinity()};
  for (const Joint& j : pose.joints) {
    if (j.score > threshold && j.y < top.y) top = {j.x, j.y};
  }
  if (!std::isfinite(top.x) || !std::isfinite(top.y)) return;
  const float size = std::clamp(static_cast<float>(std::sqrt(pose.box.w * pose.box.h)) * 0.06F, 7.0F, 40.0F);
  const std::string text = fmt::format("{}", pose.track);
  const TextSize extent = text_size(text, size);
  const float x = top.x - extent.width / 2, y = std::max(0.0F, top.y - 3 * size), rim = size * 0.4F;
  fill_rectangle(image, x - rim, y - rim, extent.width + 2 * rim, size + 2 * rim, {20, 20, 20, 0.7F});
  draw_text(image, x, y, text, size, from_hue(hue_of(pose.track), 0.55, 1));
}

}  // namespace

Color track_color(int64_t track) { return from_hue(hue_of(track), 0.85, 1); }

void draw_people(Frame& frame, double threshold) {
  for (const Pose& pose : frame.poses) {
    PersonStyle style{.threshold = static_cast<float>(threshold)};
    if (pose.track > 0) {
      // A person's left and right sides differ only in lightness, so that the hue identifies the person.
      style.left = track_color(pose.track);
      style.right = from_hue(hue_of(pose.track), 0.85, 0.75);
      style.centre = from_hue(hue_of(pose.track), 0.5, 1);
    }
    draw_person(frame.image, pose, style);
    if (pose.track > 0) draw_number(frame.image, pose, threshold);
  }
}

}  // namespace hr
