#include "tools/plot/analysis_picture.h"

#include <fmt/format.h>

namespace hr {
namespace {

constexpr std::array<Color, kPoseErrors> kColors = {
    {{120, 170, 110}, {240, 200, 90}, {90, 140, 210}, {160, 100, 190}, {205, 80, 70}}};
constexpr Color kInk{40, 40, 45}, kFaint{150, 150, 155}, kRule{225, 225, 228};
constexpr float kText = 11, kSmall = 9, kBar = 16, kRow = 24;

void right_text(Image& image, float x, float y, const std::string& text, float size, Color color) {
  draw_text(image, x - text_size(text, size).width, y, text, size, color);
}

// Draws vertical lines at every quarter, with labels below.
void scale(Image& image, float x, float width, float top, float bottom) {
  for (int i = 0; i <= 4; ++i) {
    const float at = x + width * static_cast<float>(i) / 4;
    fill_rectangle(image, at, top, 1, bottom - top, kRule);
    const std::string text = fmt::format("{}%", 25 * i);
    draw_text(image, at - text_size(text, kSmall).width / 2, bottom + 5, text, kSmall, kFaint);
  }
}

void bar(Image& image, float x, float y, float width, const ErrorRow& row) {
  right_text(image, x - 10, y + (kBar - kText) / 2, row.name, kText, kInk);
  float at = x;
  for (int k = 0; k < kPoseErrors; ++k) {
    const auto share = static_cast<float>(row.share(static_cast<PoseError>(k)));
    fill_rectangle(image, at, y, width * share, kBar, kColors.at(k));
    const std::string text = fmt::format("{:.0f}", 100 * share);
    const TextSize size = text_size(text, kSmall);
    if (size.width + 6 < width * share) {
      draw_text(image, at + (width * share - size.width) / 2, y + (kBar - kSmall) / 2, text, kSmall, {255, 255, 255});
    }
    at += width * share;
  }
  draw_text(image, x + width + 8, y + (kBar - kSmall) / 2, fmt::format("{}", row.joints()), kSmall, kFaint);
}

float bars(Image& image, float x, float y, float width, const std::vector<ErrorRow>& rows, const std::string& title) {
  draw_text(image, x, y, title, 12, kInk);
  y += 26;
  size_t shown = 0;
  for (const ErrorRow& row : rows) shown += row.joints() > 0 ? 1 : 0;
  const float bottom = y + kRow * static_cast<float>(shown);
  scale(image, x, width, y - 4, bottom);
  for (const ErrorRow& row : rows) {
    if (row.joints() == 0) continue;
    bar(image, x, y, width, row);
    y += kRow;
  }
  return bottom + 36;
}

}  // namespace

Image analysis_picture(const PoseAnalysis& a, const std::string& title) {
  float names = 0;
  for (const ErrorRow& row : a.joints) names = std::max(names, text_size(row.name, kText).width);
  const float left = names + 40, width = 380, right_names = 150, second = left + width + 70 + right_names, narrow = 330;
  std::vector<ErrorRow> joints = a.joints;
  joints.push_back(a.all);
  size_t sizes = 0, shown = 0;
  for (const ErrorRow& row : a.sizes) sizes += row.joints() > 0 ? 1 : 0;
  for (const ErrorRow& row : joints) shown += row.joints() > 0 ? 1 : 0;
  const float rows = std::max(static_cast<float>(shown), static_cast<float>(sizes) + 9);
  Image image;
  image.width = static_cast<int>(second + narrow + 70);
  image.height = static_cast<int>(110 + 26 + kRow * rows + 46);
  image.rgb.resize(static_cast<size_t>(image.width) * image.height * 3);
  fill(image, {255, 255, 255});

  draw_text(image, 24, 20, title, 15, kInk);
  float at = 24;
  for (int k = 0; k < kPoseErrors; ++k) {
    const std::string text = pose_error_name(static_cast<PoseError>(k));
    fill_rectangle(image, at, 53, 14, 14, kColors.at(k));
    draw_text(image, at + 20, 54, text, kText, kInk);
    at += 44 + text_size(text, kText).width;
  }
  draw_text(image, at + 6, 54,
            fmt::format("{} of {} people found; {} detections: {} duplicates, {} background", a.people_found, a.people,
                        a.detections, a.duplicates, a.background),
            kText, kFaint);

  constexpr float top = 92;
  bars(image, left, top, width, joints, "Labelled joints of people that were found");
  float y = bars(image, second, top, narrow, a.sizes, "By the person's size, sqrt(area)");

  draw_text(image, second, y, "AP without one kind of error", 12, kInk);
  y += 26;
  scale(image, second, narrow, y - 4, y + 6 * kRow);
  const auto ap = [&](const std::string& name, double value, Color color) {
    right_text(image, second - 10, y + (kBar - kText) / 2, name, kText, kInk);
    const float known = static_cast<float>(std::max(0.0, std::min(value, a.stats[0])));
    const float whole = static_cast<float>(std::max(0.0, value));
    fill_rectangle(image, second, y, narrow * whole, kBar, color);
    fill_rectangle(image, second, y, narrow * known, kBar, kFaint);
    draw_text(image, second + narrow + 8, y + (kBar - kSmall) / 2, fmt::format("{:.3f}", value), kSmall, kInk);
    y += kRow;
  };
  ap("as it is", a.stats[0], kFaint);
  for (size_t k = 0; k < a.corrected.size(); ++k) {
    ap("no " + pose_error_name(static_cast<PoseError>(k + 1)), a.corrected.at(k)[0], kColors.at(k + 1));
  }
  ap("none of them", a.corrected_all[0], kColors[0]);
  return image;
}

}  // namespace hr
