#include "data/augment.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

bool labelled(std::span<const double> joints, size_t k) { return joints[3 * k + 2] > 0; }

void check_joints(std::span<const double> joints, const Skeleton& skeleton) {
  check(joints.empty() || joints.size() == static_cast<size_t>(skeleton.joints()) * 3,
        "augmentation: {} joint numbers for a skeleton of {} joints", joints.size(), skeleton.joints());
}

// x -> width - 1 - x, and left joints become right ones.
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
        random.normal() < 0.5;  // a normal, not a uniform: the published recipe tries the upper half in 69 %
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
  return out;
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

  // float32 throughout, as the reference's array of chosen joints.
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
  // All joints at one point have no extent to crop to; the reference would divide by zero.
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

Placement place_official(const CenterScale& whole, std::span<const double> joints, const Skeleton& skeleton,
                         const Augmentation& augmentation, int image_width, int w, int h) {
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
  out.image_to_crop = official_affine(out.place, augmentation.rotation, w, h);
  out.heatmap_to_image = official_affine_inverse(out.place, augmentation.rotation, w / 4, h / 4);
  if (augmentation.flip) {  // x -> width - 1 - x behind the map
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
    // x -> (w - 1) / 4 - x before the map.
    double* m = out.heatmap_to_image.m;
    for (const int row : {0, 3}) {
      m[row + 2] += m[row] * (w - 1) / 4;
      m[row] = -m[row];
    }
  }
  return out;
}

Image crop_image(const Image& picture, const Placement& placement, int w, int h) {
  Image crop = warp_affine(picture, placement.image_to_crop, w, h, placement.mirror_source);
  return placement.mirror_crop ? mirrored(crop) : crop;
}

}  // namespace hr
