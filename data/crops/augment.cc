#include "data/crops/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace hr {
namespace {

bool labelled(std::span<const double> joints, size_t k) { return joints[3 * k + 2] > 0; }

void check_joints(std::span<const double> joints, const Skeleton& skeleton) {
  check(joints.empty() || joints.size() == static_cast<size_t>(skeleton.joints()) * 3,
        "augmentation: got {} joint numbers for a skeleton of {} joints, expected 3 per joint", joints.size(),
        skeleton.joints());
}

// Mirrors: x becomes width - 1 - x, and left joints become right ones.
void mirror_joints(std::vector<double>& joints, const Skeleton& skeleton, int width) {
  for (size_t i = 0; i < joints.size(); i += 3) joints[i] = width - 1 - joints[i];
  if (joints.empty()) return;
  for (const auto& [a, b] : skeleton.flip_pairs) {
    std::swap_ranges(joints.begin() + 3 * a, joints.begin() + 3 * a + 3, joints.begin() + 3 * b);
  }
}

}  // namespace

Augmentation draw_augmentation(Recipe recipe, Philox& random, const AugmentOptions& options, int labelled_joints) {
  Augmentation out;
  const bool half = random.uniform() < options.half_body;
  if (recipe == Recipe::official) {
    out.half_body = half && labelled_joints > options.half_body_min_joints;
    out.upper_first =
        // The published recipe draws from a normal distribution here, so it prefers the upper half in 69 % of cases.
        random.normal() < 0.5;
    out.scale = std::clamp(random.normal(1, options.scale), 1 - options.scale, 1 + options.scale);
    const double rotation = std::clamp(random.normal(0, options.rotation), -2 * options.rotation, 2 * options.rotation);
    out.rotation = random.uniform() <= 0.6 ? rotation : 0;
  } else {
    out.half_body = half;
    out.upper_first = random.uniform() < 0.5;
    out.scale = random.uniform(1 - options.scale, 1 + options.scale);
    const auto degrees = static_cast<int64_t>(options.rotation);
    out.rotation = static_cast<double>(static_cast<int64_t>(random.below(2 * degrees + 1)) - degrees);
  }
  out.flip = random.uniform() < 0.5 && options.flip;
  if (options.photometric > 0) {
    const double s = options.photometric;
    const auto sometimes = [&](double neutral, double spread) {
      const bool now = random.uniform() < 0.5;
      const double value = random.uniform(neutral - spread, neutral + spread);
      return now ? value : neutral;
    };
    out.brightness = sometimes(0, 32 * s);
    out.contrast = sometimes(1, 0.5 * s);
    out.saturation = sometimes(1, 0.5 * s);
    out.hue = sometimes(0, 18 * s);
  }
  if (options.dropout > 0) {
    constexpr size_t most = 8;
    const bool now = random.uniform() < options.dropout;
    const size_t count = 1 + random.below(most);
    for (size_t i = 0; i < most; ++i) {
      Augmentation::Hole hole;
      hole.w = random.uniform(0.05, 0.2);
      hole.h = random.uniform(0.05, 0.2);
      hole.x = random.uniform() * (1 - hole.w);
      hole.y = random.uniform() * (1 - hole.h);
      if (now && i < count) out.holes.push_back(hole);
    }
  }
  return out;
}

std::string_view encoding_name(Encoding encoding) {
  static constexpr std::string_view names[] = {"quarter", "dark", "udp"};
  return names[static_cast<size_t>(encoding)];
}

Encoding parse_encoding(std::string_view name) {
  for (const Encoding encoding : {Encoding::quarter, Encoding::dark, Encoding::udp}) {
    if (encoding_name(encoding) == name) return encoding;
  }
  fail("codec \"{}\": targets can be made for quarter, dark and udp", name);
}

std::optional<CenterScale> official_half_body(std::span<const double> joints, const Skeleton& skeleton,
                                              bool upper_first, double aspect) {
  check_joints(joints, skeleton);
  std::vector<bool> is_upper(skeleton.names.size());
  for (const int k : skeleton.upper_ids) is_upper[k] = true;
  std::vector<size_t> upper, lower;
  for (size_t k = 0; k < joints.size() / 3; ++k) {
    if (labelled(joints, k)) (is_upper[k] ? upper : lower).push_back(k);
  }
  const std::vector<size_t>& chosen = (upper_first && upper.size() > 2) || lower.size() <= 2 ? upper : lower;
  if (chosen.size() < 2) return std::nullopt;

  // Everything is float32, like the reference's array of chosen joints.
  float sum[2] = {0, 0}, low[2], high[2];
  for (int axis = 0; axis < 2; ++axis) {
    low[axis] = high[axis] = static_cast<float>(joints[3 * chosen[0] + axis]);
    for (const size_t k : chosen) {
      const auto v = static_cast<float>(joints[3 * k + axis]);
      sum[axis] += v;
      low[axis] = std::min(low[axis], v);
      high[axis] = std::max(high[axis], v);
    }
  }
  const auto n = static_cast<float>(chosen.size());
  // If all joints lie at one point there is no extent to crop to. The reference would divide by zero.
  if (high[0] <= low[0] && high[1] <= low[1]) return std::nullopt;
  CenterScale out = center_scale({0, 0, high[0] - low[0], high[1] - low[1]}, aspect, 1.5F);
  out.center[0] = sum[0] / n;
  out.center[1] = sum[1] / n;
  return out;
}

std::optional<Box> seed_half_body(std::span<const double> joints, const Skeleton& skeleton, bool upper) {
  check_joints(joints, skeleton);
  std::vector<bool> is_upper(skeleton.names.size());
  for (const int k : skeleton.upper_ids) is_upper[k] = true;
  int count = 0;
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  for (size_t k = 0; k < joints.size() / 3; ++k) {
    if (!labelled(joints, k) || is_upper[k] != upper) continue;
    const double x = joints[3 * k], y = joints[3 * k + 1];
    x1 = count == 0 ? x : std::min(x1, x);
    x2 = count == 0 ? x : std::max(x2, x);
    y1 = count == 0 ? y : std::min(y1, y);
    y2 = count == 0 ? y : std::max(y2, y);
    ++count;
  }
  if (count < 3 || x2 - x1 <= 1 || y2 - y1 <= 1) return std::nullopt;
  return seed_scale_box({x1, y1, x2 - x1, y2 - y1}, 1.5, 1.5);
}

namespace {

// Computes the parts of the official placement that follow from the maps: the way back from a mirrored crop, and the
// joints.
void finish_official(Placement& out, const Augmentation& augmentation, int image_width) {
  if (augmentation.flip) {  // Adds x -> width - 1 - x after the map.
    double* m = out.heatmap_to_image.m;
    m[0] = -m[0];
    m[1] = -m[1];
    m[2] = image_width - 1 - m[2];
  }
  for (size_t i = 0; i < out.joints.size(); i += 3) {
    if (out.joints[i + 2] > 0) {
      out.image_to_crop.apply(out.joints[i], out.joints[i + 1]);
    } else if (augmentation.flip) {
      out.joints[i] = out.joints[i + 1] = 0;
    }
  }
}

void place_udp(Placement& out, double degrees, int w, int h) {
  out.image_to_crop = udp_affine(out.place, degrees, w, h);
  out.heatmap_to_image = invert(udp_affine(out.place, degrees, w / 4, h / 4));
}

}  // namespace

Placement place_official(const CenterScale& whole, std::span<const double> joints, const Skeleton& skeleton,
                         const Augmentation& augmentation, int image_width, int w, int h, Encoding encoding) {
  check_joints(joints, skeleton);
  Placement out;
  out.place = whole;
  out.joints.assign(joints.begin(), joints.end());
  if (augmentation.half_body) {
    if (const auto half = official_half_body(joints, skeleton, augmentation.upper_first, static_cast<double>(w) / h)) {
      out.place = *half;
    }
  }
  for (float& s : out.place.scale) s *= static_cast<float>(augmentation.scale);
  if (augmentation.flip) {
    out.mirror_source = true;
    out.place.center[0] = static_cast<float>(image_width) - out.place.center[0] - 1;
    mirror_joints(out.joints, skeleton, image_width);
  }
  if (encoding == Encoding::udp) {
    place_udp(out, augmentation.rotation, w, h);
  } else {
    out.image_to_crop = official_affine(out.place, augmentation.rotation, w, h);
    out.heatmap_to_image = official_affine_inverse(out.place, augmentation.rotation, w / 4, h / 4);
  }
  finish_official(out, augmentation, image_width);
  return out;
}

Placement place_official(const MpiiPlace& place, std::span<const double> joints, const Skeleton& skeleton,
                         const Augmentation& augmentation, int image_width, int w, int h, Encoding encoding) {
  check_joints(joints, skeleton);
  Placement out;
  out.joints.assign(joints.begin(), joints.end());
  double x = place.center[0];
  const double y = place.center[1], scale = place.scale * augmentation.scale;
  if (augmentation.flip) {
    out.mirror_source = true;
    x = image_width - x - 1;
    mirror_joints(out.joints, skeleton, image_width);
  }
  out.place = {{static_cast<float>(x), static_cast<float>(y)}, {static_cast<float>(scale), static_cast<float>(scale)}};
  if (encoding == Encoding::udp) {
    place_udp(out, augmentation.rotation, w, h);
  } else {
    out.image_to_crop = official_affine(x, y, scale * 200, augmentation.rotation, w, h);
    out.heatmap_to_image = official_affine_inverse(x, y, scale * 200, augmentation.rotation, w / 4, h / 4);
  }
  finish_official(out, augmentation, image_width);
  return out;
}

Placement place_seed(const Box& box, std::span<const double> joints, const Skeleton& skeleton,
                     const Augmentation& augmentation, int w, int h) {
  check_joints(joints, skeleton);
  Placement out;
  out.joints.assign(joints.begin(), joints.end());
  Box place = box;
  if (augmentation.half_body) {
    if (const auto half = seed_half_body(joints, skeleton, augmentation.upper_first)) place = *half;
  }
  const SeedAffine maps = seed_affine(place, augmentation.scale, augmentation.rotation, h, w);
  out.image_to_crop = maps.crop;
  out.heatmap_to_image = maps.heatmap_to_image;
  const auto scale = static_cast<float>(augmentation.scale);
  out.place = center_scale(place, static_cast<double>(w) / h, scale);

  const bool whole_numbers = std::all_of(joints.begin(), joints.end(), [](double v) { return v == std::floor(v); });
  for (size_t i = 0; i < out.joints.size(); i += 3) {
    double &x = out.joints[i], &y = out.joints[i + 1];
    if (x == 0 || y == 0) continue;
    maps.crop.apply(x, y);
    if (whole_numbers) {
      x = std::trunc(x);
      y = std::trunc(y);
    }
  }
  if (augmentation.flip) {
    out.mirror_crop = true;
    mirror_joints(out.joints, skeleton, w);
    // Adds x -> (w - 1) / 4 - x before the map.
    double* m = out.heatmap_to_image.m;
    for (const int row : {0, 3}) {
      m[row + 2] += m[row] * (w - 1) / 4;
      m[row] = -m[row];
    }
  }
  return out;
}

namespace {

// Brightness, contrast, saturation and hue are each linear in R, G, B. Together they are one matrix, applied in that
// order. Hue rotates colours about the grey axis; the weights of each of its rows add up to 1, so that greys do not
// change.
struct Colours {
  float m[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, t[3] = {0, 0, 0};

  explicit Colours(const Augmentation& a) {
    const auto c = static_cast<float>(a.contrast);
    for (int i = 0; i < 3; ++i) {
      m[i][i] = c;
      t[i] = static_cast<float>(a.brightness) * c;
    }
    constexpr float luma[3] = {0.299F, 0.587F, 0.114F};
    const auto s = static_cast<float>(a.saturation);
    float saturate[3][3];
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) saturate[i][j] = (1 - s) * luma[j] + (i == j ? s : 0);
    }
    multiply(saturate);
    const double angle = a.hue / 180 * std::numbers::pi;
    const auto cosine = static_cast<float>(std::cos(angle)), sine = static_cast<float>(std::sin(angle));
    const float third = (1 - cosine) / 3, root = sine / std::sqrt(3.0F);
    const float turn[3][3] = {{cosine + third, third - root, third + root},
                              {third + root, cosine + third, third - root},
                              {third - root, third + root, cosine + third}};
    multiply(turn);
  }
  void apply(const uint8_t* from, size_t n, uint8_t* to) const {
    for (size_t i = 0; i < n; ++i, from += 3, to += 3) {
      const float r = from[0], g = from[1], b = from[2];
      for (int c = 0; c < 3; ++c) {
        const float v = m[c][0] * r + m[c][1] * g + m[c][2] * b + t[c];
        to[c] = static_cast<uint8_t>(std::clamp(v, 0.0F, 255.0F) + 0.5F);  // NOLINT: never negative
      }
    }
  }

 private:
  void multiply(const float (&by)[3][3]) {
    float product[3][3], moved[3];
    for (int i = 0; i < 3; ++i) {
      moved[i] = by[i][0] * t[0] + by[i][1] * t[1] + by[i][2] * t[2];
      for (int j = 0; j < 3; ++j) product[i][j] = by[i][0] * m[0][j] + by[i][1] * m[1][j] + by[i][2] * m[2][j];
    }
    std::copy(&product[0][0], &product[0][0] + 9, &m[0][0]);
    std::copy(moved, moved + 3, t);
  }
};

}  // namespace

void crop_image(const ImageView& picture, const Placement& placement, int w, int h, const Augmentation& augmentation,
                const std::function<void(int y, const uint8_t* rgb)>& put) {
  const bool recoloured = augmentation.recolours();
  if (!placement.mirror_crop && !recoloured && augmentation.holes.empty()) {
    warp_affine(picture, placement.image_to_crop, w, h, placement.mirror_source, put);
    return;
  }
  const Colours colours(augmentation);
  std::vector<uint8_t> row(static_cast<size_t>(w) * 3);
  warp_affine(picture, placement.image_to_crop, w, h, placement.mirror_source, [&](int y, const uint8_t* rgb) {
    std::copy_n(rgb, row.size(), row.data());
    if (placement.mirror_crop) {
      for (int x = 0; x < w; ++x)
        std::copy_n(rgb + 3 * static_cast<size_t>(x), 3, row.data() + 3 * (w - 1 - static_cast<size_t>(x)));
    }
    if (recoloured) colours.apply(row.data(), static_cast<size_t>(w), row.data());
    for (const Augmentation::Hole& hole : augmentation.holes) {
      const auto pixel = [](double part, int side) {
        return std::clamp(static_cast<int>(std::lround(part * side)), 0, side);
      };
      if (y < pixel(hole.y, h) || y >= pixel(hole.y + hole.h, h)) continue;
      std::fill(row.begin() + 3 * pixel(hole.x, w), row.begin() + 3 * pixel(hole.x + hole.w, w), uint8_t{0});
    }
    put(y, row.data());
  });
}

Image crop_image(const ImageView& picture, const Placement& placement, int w, int h, const Augmentation& augmentation) {
  Image crop(w, h);
  crop_image(picture, placement, w, h, augmentation,
             [&](int y, const uint8_t* rgb) { std::copy_n(rgb, static_cast<size_t>(w) * 3, crop.at(0, y)); });
  return crop;
}

namespace {

// Returns the region that a w x h rectangle about (x, y) covers when it is rotated by any angle up to `degrees` in
// either direction. It is a little larger, for the rounding of fixed-point and float32 numbers and for the neighbours
// of bilinear interpolation.
Region swept(double x, double y, double w, double h, double degrees, int picture_width, int picture_height) {
  const double most = std::min(degrees, 90.0) / 180 * std::numbers::pi;
  // Half of w |cos a| + h |sin a|, which grows up to the angle at which the diagonal lies flat.
  const auto half = [most](double along, double across) {
    const double a = std::min(most, std::atan2(across, along));
    return (along * std::cos(a) + across * std::sin(a)) / 2;
  };
  constexpr double slack = 3;
  const double half_w = half(w, h) + slack, half_h = half(h, w) + slack;
  // NaN (from a box with infinite edges) becomes pixel 0.
  const auto pixel = [](double v, int side) { return v > 0 ? static_cast<int>(std::min<double>(v, side)) : 0; };
  const int x0 = pixel(std::floor(x - half_w), picture_width), x1 = pixel(std::ceil(x + half_w) + 1, picture_width);
  const int y0 = pixel(std::floor(y - half_h), picture_height), y1 = pixel(std::ceil(y + half_h) + 1, picture_height);
  if (x1 <= x0 || y1 <= y0) return {};
  return {x0, y0, x1 - x0, y1 - y0};
}

}  // namespace

Region reach_official(const CenterScale& place, std::span<const double> joints, const Skeleton& skeleton,
                      const AugmentOptions* augment, int picture_width, int picture_height, int w, int h) {
  const double aspect = static_cast<double>(w) / h;
  const double grown = augment != nullptr ? 1 + augment->scale : 1;
  const double degrees = augment != nullptr ? 2 * augment->rotation : 0;
  // scale[0] and scale[1] describe the same crop and differ only by rounding. The larger one is large enough for every
  // encoding.
  const auto region = [&](const CenterScale& at) {
    const double width = std::max<double>(at.scale[0], at.scale[1] * aspect) * 200 * grown;
    return swept(at.center[0], at.center[1], width, width / aspect, degrees, picture_width, picture_height);
  };
  Region all = region(place);
  if (augment == nullptr || augment->half_body <= 0) return all;
  for (const bool upper : {true, false}) {
    if (const auto half = official_half_body(joints, skeleton, upper, aspect)) all = united(all, region(*half));
  }
  return all;
}

Region reach_seed(const Box& box, std::span<const double> joints, const Skeleton& skeleton,
                  const AugmentOptions* augment, int picture_width, int picture_height, int w, int h) {
  const double grown = augment != nullptr ? 1 + augment->scale : 1.25;
  const double degrees = augment != nullptr ? augment->rotation : 0;
  const auto region = [&](const Box& at) {
    const Box whole = seed_adjust_box(at, h, w);
    return swept(whole.x + whole.w / 2, whole.y + whole.h / 2, whole.w * grown, whole.h * grown, degrees, picture_width,
                 picture_height);
  };
  Region all = region(box);
  if (augment == nullptr || augment->half_body <= 0) return all;
  for (const bool upper : {true, false}) {
    if (const auto half = seed_half_body(joints, skeleton, upper)) all = united(all, region(*half));
  }
  return all;
}

}  // namespace hr
