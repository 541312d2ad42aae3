#include "tools/browse/sheet_pictures.h"

#include <algorithm>
#include <cmath>

#include "core/counted.h"
#include "data/draw/draw.h"

namespace hr {
namespace {

// Returns a different colour for each joint, around the colour wheel.
Color joint_color(int k, int joints) {
  const double hue = 6.0 * k / std::max(joints, 1);
  const auto channel = [&](double offset) {
    const double t = std::fmod(hue + offset, 6.0);
    const double v = t < 1 ? t : t < 3 ? 1 : t < 4 ? 4 - t : 0;
    return static_cast<uint8_t>(40 + 215 * v);
  };
  return {channel(2), channel(0), channel(4)};
}

// Returns the joints of a placement in the form that draw_person expects. Visibility takes the place of the score, so
// that hidden joints are drawn hollow.
std::vector<float> drawable(const Placement& placement) { return {placement.joints.begin(), placement.joints.end()}; }

}  // namespace

Image with_joints(Image crop, const Skeleton& skeleton, const Placement& placement) {
  if (!placement.joints.empty()) {
    draw_person(crop, skeleton, drawable(placement), {.threshold = 0, .solid = 1, .line_width = 2});
  }
  return crop;
}

Image with_targets(const Image& crop, const Sample& sample, int joints) {
  Image out(crop.width, crop.height);
  const int w = crop.width / 4, h = crop.height / 4;
  for (int y = 0; y < crop.height; ++y) {
    for (int x = 0; x < crop.width; ++x) {
      const uint8_t* from = crop.at(x, y);
      uint8_t* to = out.at(x, y);
      const int grey = (from[0] * 77 + from[1] * 150 + from[2] * 29) >> 9;  // at half brightness
      std::fill(to, to + 3, static_cast<uint8_t>(grey));
      const float* values =
          sample.target.data() + (static_cast<size_t>(std::min(y / 4, h - 1)) * w + std::min(x / 4, w - 1)) * joints;
      for (int k = 0; k < joints; ++k) {
        if (values[k] > 0.02F && sample.weight[k] > 0) blend(to, joint_color(k, joints), std::min(values[k], 1.0F));
      }
    }
  }
  return out;
}

std::string what_was_drawn(const Augmentation& a) {
  std::string text = fmt::format("x{:.2f} {:+.0f} deg", a.scale, a.rotation);
  if (a.flip) text += " flip";
  if (a.half_body) text += a.upper_first ? " half:upper" : " half:lower";
  if (a.brightness != 0 || a.contrast != 1 || a.saturation != 1 || a.hue != 0) text += " colour";
  if (!a.holes.empty()) text += fmt::format(" {}", counted(a.holes.size(), "hole"));
  return text;
}

}  // namespace hr
