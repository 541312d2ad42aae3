#include "hrnet/train/sample_picture.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/crop_slot.h"
#include "core/error.h"
#include "data/crops/crop_writer.h"
#include "data/draw/draw.h"
#include "ops/crop.h"
#include "ops/heatmaps.h"

namespace hr {
namespace {

constexpr int kMostHeight = 256;  // Of a panel, in pixels.
constexpr int kGap = 4, kTitle = 22;
constexpr float kLetters = 10;

template <class T>
Tensor on_cpu(const Context& cx, const HostBuffer<T>& from, const Shape& shape, DType dtype) {
  Tensor tensor = cx.empty(shape, dtype);
  const auto size = static_cast<size_t>(numel(shape));
  check(from.size() >= size, "sample picture: {} values were expected, the batch has {}", size, from.size());
  cx.upload(tensor, std::as_bytes(std::span(from.data(), size)));
  return tensor;
}

// The images of the first n samples [n, h, w, 3], normalised.
std::vector<float> images_of(const Batch& b, int n) {
  const size_t size = static_cast<size_t>(n) * static_cast<size_t>(b.h) * static_cast<size_t>(b.w) * 3;
  if (!b.images.empty()) {
    check(b.images.size() >= size, "sample picture: the batch has fewer than {} images", n);
    return {b.images.begin(), b.images.begin() + size};
  }
  Context cx;
  const auto bytes = static_cast<int64_t>(CropSource::slot_bytes(b.w, b.h));
  const Tensor sources = on_cpu(cx, b.sources, {n, bytes}, DType::u8);
  const Tensor normal = cx.empty({3, 256}, DType::f32), images = cx.empty({n, b.h, b.w, 3}, DType::f32);
  cx.upload(normal, std::as_bytes(std::span(normal_table())));
  crop(cx, sources, normal, images);
  return to_host(cx, images);
}

// Reverts normalize() (data/formats/image.h).
Image picture_of(const float* normalised, int h, int w, bool bgr) {
  constexpr std::array<float, 3> mean{0.485F, 0.456F, 0.406F}, deviation{0.229F, 0.224F, 0.225F};
  Image image(w, h);
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    const size_t channel = i % 3;
    const float value = 255 * (normalised[i] * deviation[channel] + mean[channel]);
    image.rgb[i - channel + (bgr ? 2 - channel : channel)] =
        static_cast<uint8_t>(std::lround(std::clamp(value, 0.0F, 255.0F)));
  }
  return image;
}

// Blue, cyan, yellow, red for 0 to 1.
std::array<float, 3> heat(float value) {
  const auto ramp = [value](float centre) { return 255 * std::clamp(1.5F - std::abs(4 * value - centre), 0.0F, 1.0F); };
  return {ramp(3), ramp(2), ramp(1)};
}

// The picture below the maximum over the joints of one sample's heatmaps.
Image with_heat(const Image& picture, const Heatmaps& maps, int sample) {
  Image image = picture;
  const auto joints = static_cast<size_t>(maps.joints);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const size_t row = static_cast<size_t>(sample) * maps.h + static_cast<size_t>(y * maps.h / image.height);
      const float* cell = maps.data + (row * maps.w + static_cast<size_t>(x * maps.w / image.width)) * joints;
      const float most = *std::max_element(cell, cell + joints);
      const std::array<float, 3> colour = heat(std::isfinite(most) ? std::clamp(most, 0.0F, 1.0F) : 0.0F);
      uint8_t* pixel = image.at(x, y);
      for (size_t c = 0; c < 3; ++c) {
        pixel[c] = static_cast<uint8_t>(std::lround(0.4F * static_cast<float>(pixel[c]) + 0.6F * colour.at(c)));
      }
    }
  }
  return image;
}

// The joints of one sample in pixels of the panel; joints without a weight have score 0.
std::vector<float> joints_of(const Heatmaps& maps, int sample, const Batch& batch, const DecodeOptions& decoding,
                             const Image& panel, bool target) {
  const auto joints = static_cast<size_t>(maps.joints);
  const size_t map = static_cast<size_t>(maps.h) * static_cast<size_t>(maps.w) * joints;
  const Heatmaps one{maps.data + static_cast<size_t>(sample) * map, 1, maps.h, maps.w, maps.joints};
  std::vector<float> found = decode(one, decoding);
  // UDP's grids of picture and heatmap have their first and last pixels in common; otherwise the first pixels agree.
  const bool udp = decoding.codec == Codec::udp;
  const auto scale = [udp](int to, int from) {
    return udp ? static_cast<float>(to - 1) / static_cast<float>(from - 1)
               : static_cast<float>(to) / static_cast<float>(from);
  };
  const float by_x = scale(panel.width, maps.w), by_y = scale(panel.height, maps.h);
  for (size_t k = 0; k < joints; ++k) {
    float* joint = &found[3 * k];
    joint[0] *= by_x, joint[1] *= by_y;
    const bool labelled = batch.weights[static_cast<size_t>(sample) * joints + k] > 0;
    // A labelled joint is shown however weak its peak is.
    joint[2] = !labelled ? 0 : target ? 1 : std::max(joint[2], 1e-6F);
  }
  return found;
}

}  // namespace

std::vector<float> target_heatmaps(const Batch& b, int n) {
  check(n >= 0 && n <= b.size, "target heatmaps: {} of {} samples were asked for", n, b.size);
  const int h = b.h / 4, w = b.w / 4;
  const size_t size = static_cast<size_t>(n) * static_cast<size_t>(h) * static_cast<size_t>(w) * b.joints;
  if (!b.targets.empty()) return {b.targets.begin(), b.targets.begin() + size};
  check(!b.profiles.empty(), "target heatmaps: the batch has neither targets nor profiles");
  Context cx;
  const Tensor profiles = on_cpu(cx, b.profiles, {n, w + h, b.joints}, DType::f64);
  return to_host(cx, gaussian_targets(cx, profiles, h, w));
}

Image sample_picture(const Batch& b, const Heatmaps& wanted, const Heatmaps& predicted, const Skeleton& skeleton,
                     const DecodeOptions& decoding, bool bgr, int most) {
  const int n = std::min(most, b.size);
  for (const Heatmaps* maps : {&wanted, &predicted}) {
    check(maps->n >= n && maps->joints == b.joints && skeleton.joints() == b.joints,
          "sample picture: {} samples of {} joints, heatmaps of {} with {}, skeleton of {}", n, b.joints, maps->n,
          maps->joints, skeleton.joints());
  }
  const int h = std::min(b.h, kMostHeight), w = std::max(1, b.w * h / b.h);
  constexpr std::array<const char*, 4> titles{"target", "predicted", "target heatmaps", "predicted heatmaps"};
  Image sheet(4 * (w + kGap) - kGap, kTitle + n * (h + kGap) - kGap);
  fill(sheet, {32, 34, 40});
  for (size_t i = 0; i < titles.size(); ++i) {
    const float room = static_cast<float>(w) - 8, needed = text_size(titles.at(i), kLetters).width;
    draw_text(sheet, static_cast<float>(i * static_cast<size_t>(w + kGap) + 4), 6, titles.at(i),
              kLetters * std::min(1.0F, room / needed), {235, 235, 235});
  }
  const std::vector<float> images = images_of(b, n);
  const PersonStyle solid{.threshold = 0};
  const PersonStyle scored{.threshold = 0, .solid = 0.2F};
  for (int i = 0; i < n; ++i) {
    const size_t size = static_cast<size_t>(b.h) * static_cast<size_t>(b.w) * 3;
    Image picture = picture_of(images.data() + static_cast<size_t>(i) * size, b.h, b.w, bgr);
    if (h != b.h || w != b.w) picture = resized(picture, w, h);
    std::array<Image, 4> panels{picture, picture, with_heat(picture, wanted, i), with_heat(picture, predicted, i)};
    draw_person(panels[0], skeleton, joints_of(wanted, i, b, decoding, picture, true), solid);
    draw_person(panels[1], skeleton, joints_of(predicted, i, b, decoding, picture, false), scored);
    for (int k = 0; k < 4; ++k)
      paste(sheet, panels.at(static_cast<size_t>(k)), k * (w + kGap), kTitle + i * (h + kGap));
  }
  return sheet;
}

}  // namespace hr
