#include "eval/decode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/parallel.h"

namespace hr {
namespace {

constexpr std::array<std::string_view, 5> kCodecNames = {"argmax", "quarter", "msra", "dark", "udp"};

// Finds the first maximum of L neighbouring channels of one map [pixels, joints]. L is fixed so that a pixel is one
// vector.
template <int L>
void argmax_lanes(const float* map, int pixels, int joints, float* value, int* index) {
  float best[L];
  int at[L] = {};
  for (int l = 0; l < L; ++l) best[l] = map[l];
  for (int p = 1; p < pixels; ++p) {
    const float* v = map + static_cast<size_t>(p) * joints;
    for (int l = 0; l < L; ++l) {
      at[l] = v[l] > best[l] ? p : at[l];
      best[l] = v[l] > best[l] ? v[l] : best[l];
    }
  }
  std::copy_n(best, L, value);
  std::copy_n(at, L, index);
}

void argmax_map(const float* map, int pixels, int joints, float* value, int* index) {
  constexpr int L = 16;
  if (joints < L) {
    for (int k = 0; k < joints; ++k) argmax_lanes<1>(map + k, pixels, joints, value + k, index + k);
    return;
  }
  for (int k = 0; k < joints; k += L) {
    const int first = std::min(k, joints - L);  // The last block overlaps the one before, so that it is complete.
    argmax_lanes<L>(map + first, pixels, joints, value + first, index + first);
  }
}

float quarter_towards(float before, float after) { return after > before ? 0.25f : after < before ? -0.25f : 0.0f; }

// The kernels of cv2.GaussianBlur with sigma 0: exact ones for small sizes, otherwise a sigma that follows from the
// size.
std::vector<float> gaussian_kernel(int size) {
  if (size == 3) return {0.25f, 0.5f, 0.25f};
  if (size == 5) return {0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f};
  if (size == 7) return {0.03125f, 0.109375f, 0.21875f, 0.28125f, 0.21875f, 0.109375f, 0.03125f};
  const double sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8;
  std::vector<double> weight(size);
  double sum = 0;
  for (int i = 0; i < size; ++i) {
    const double x = i - (size - 1) * 0.5;
    sum += weight[i] = std::exp(-x * x / (2 * sigma * sigma));
  }
  std::vector<float> kernel(size);
  for (int i = 0; i < size; ++i) kernel[i] = static_cast<float>(weight[i] / sum);
  return kernel;
}

// y[i] += a * x[i].
void add_scaled(float* y, const float* x, float a, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] += a * x[i];
}

// Separable blur of one map [h, w, joints] with zeros outside. Both passes run over whole rows, so that they vectorise
// for any number of joints.
void blur_map(const float* map, int h, int w, int joints, std::span<const float> kernel, float* rows, float* out) {
  const int radius = static_cast<int>(kernel.size()) / 2;
  const size_t row = static_cast<size_t>(w) * joints;
  std::fill_n(rows, row * h, 0.0f);
  std::fill_n(out, row * h, 0.0f);
  for (int y = 0; y < h; ++y) {
    for (int t = std::max(-radius, 1 - w); t <= std::min(radius, w - 1); ++t) {
      const size_t shift = static_cast<size_t>(std::abs(t)) * joints;
      const float* from = map + y * row + (t > 0 ? shift : 0);
      add_scaled(rows + y * row + (t < 0 ? shift : 0), from, kernel[t + radius], row - shift);
    }
  }
  for (int y = 0; y < h; ++y) {
    for (int t = std::max(-radius, -y); t <= std::min(radius, h - 1 - y); ++t) {
      add_scaled(out + y * row, rows + (y + t) * row, kernel[t + radius], row);
    }
  }
}

// The derivatives of the logarithm of a blurred map at its peak.
struct Taylor {
  double dx, dy, dxx, dyy, dxy;
};

struct BlurredPeak {
  const float* map;  // [h, w, joints], at this joint.
  int h, w, joints, x, y;
  float rescale;  // Scales the blurred maximum back to the original one.
  float low, high;

  // The logarithm at an offset from the peak. Outside of the map the pixel at the edge repeats.
  double at(int ox, int oy) const {
    const int px = std::clamp(x + ox, 0, w - 1), py = std::clamp(y + oy, 0, h - 1);
    const float v = map[(static_cast<size_t>(py) * w + px) * joints] * rescale;
    return std::log(static_cast<double>(std::clamp(v, low, high)));
  }
  Taylor wide() const {  // DARK: second differences over two pixels.
    const double h0 = at(0, 0);
    return {0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1)), 0.25 * (at(2, 0) - 2 * h0 + at(-2, 0)),
            0.25 * (at(0, 2) - 2 * h0 + at(0, -2)), 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))};
  }
  Taylor narrow() const {  // UDP: over one pixel.
    const double h0 = at(0, 0), right = at(1, 0), left = at(-1, 0), below = at(0, 1), above = at(0, -1);
    return {0.5 * (right - left), 0.5 * (below - above), right - 2 * h0 + left, below - 2 * h0 + above,
            0.5 * (at(1, 1) - right - below + 2 * h0 - left - above + at(-1, -1))};
  }
};

// Moves the peak by -H^-1 d, or not at all if H is singular.
void newton_step(const Taylor& t, double ridge, float* peak) {
  const double xx = t.dxx + ridge, yy = t.dyy + ridge;
  const double determinant = xx * yy - t.dxy * t.dxy;
  if (determinant == 0) return;
  peak[0] -= static_cast<float>((yy * t.dx - t.dxy * t.dy) / determinant);
  peak[1] -= static_cast<float>((xx * t.dy - t.dxy * t.dx) / determinant);
}

void refine_blurred(const float* map, const Heatmaps& maps, const DecodeOptions& options, std::span<const float> kernel,
                    std::vector<float>& scratch, float* poses) {
  const int h = maps.h, w = maps.w, joints = maps.joints;
  const size_t size = static_cast<size_t>(h) * w * joints;
  scratch.resize(2 * size + joints);
  float* blurred = scratch.data() + size;
  float* highest = blurred + size;
  blur_map(map, h, w, joints, kernel, scratch.data(), blurred);
  std::copy_n(blurred, joints, highest);
  for (size_t p = 1; p < static_cast<size_t>(h) * w; ++p) {
    for (int k = 0; k < joints; ++k) highest[k] = std::max(highest[k], blurred[p * joints + k]);
  }
  for (int k = 0; k < joints; ++k) {
    float* peak = poses + 3 * k;
    if (!(peak[2] > 0)) continue;
    const int x = static_cast<int>(peak[0]), y = static_cast<int>(peak[1]);
    BlurredPeak at{blurred + k, h, w, joints, x, y, peak[2] / highest[k], 1e-10f, std::numeric_limits<float>::max()};
    if (options.codec == Codec::udp) {
      at.low = 1e-3f;
      at.high = 50;
      newton_step(at.narrow(), std::numeric_limits<float>::epsilon(), peak);
    } else if (x > 1 && x < w - 2 && y > 1 && y < h - 2) {
      newton_step(at.wide(), 0, peak);
    }
  }
}

void refine_quarter(const float* map, const Heatmaps& maps, Codec codec, float* poses) {
  const int h = maps.h, w = maps.w, joints = maps.joints;
  for (int k = 0; k < joints; ++k) {
    float* peak = poses + 3 * k;
    const int x = static_cast<int>(peak[0]), y = static_cast<int>(peak[1]);
    const bool inside_x = x > 1 && x<w - 1, inside_y = y> 1 && y < h - 1;
    const bool move_x = codec == Codec::quarter ? inside_x && inside_y : inside_x && y > 0;
    const bool move_y = codec == Codec::quarter ? inside_x && inside_y : inside_y && x > 0;
    const auto at = [&](int px, int py) { return map[(static_cast<size_t>(py) * w + px) * joints + k]; };
    const float dx = move_x ? quarter_towards(at(x - 1, y), at(x + 1, y)) : 0.0f;
    const float dy = move_y ? quarter_towards(at(x, y - 1), at(x, y + 1)) : 0.0f;
    peak[0] += dx;
    peak[1] += dy;
  }
}

}  // namespace

std::string_view codec_name(Codec codec) { return kCodecNames[static_cast<size_t>(codec)]; }

Codec parse_codec(std::string_view name) {
  for (size_t i = 0; i < kCodecNames.size(); ++i) {
    if (name == kCodecNames[i]) return static_cast<Codec>(i);
  }
  fail("codec '{}' is not known; there are {}", name, fmt::join(kCodecNames, ", "));
}

Encoding encoding_of(Codec codec) {
  return codec == Codec::dark ? Encoding::dark : codec == Codec::udp ? Encoding::udp : Encoding::quarter;
}

std::vector<float> decode(const Heatmaps& maps, const DecodeOptions& options) {
  check(maps.n >= 0 && maps.h > 0 && maps.w > 0 && maps.joints > 0,
        "decode: heatmaps [{}, {}, {}, {}] hold no pixel; expected [n, h, w, joints]", maps.n, maps.h, maps.w,
        maps.joints);
  const bool blurs = options.codec == Codec::dark || options.codec == Codec::udp;
  check(!blurs || (options.blur >= 3 && options.blur % 2 == 1 && options.blur < 1000),
        "decode: blur kernel size {}; expected an odd number from 3 to 999 (11 for heatmap sigma 2, 17 for 3)",
        options.blur);
  const std::vector<float> kernel = blurs ? gaussian_kernel(options.blur) : std::vector<float>{};
  const bool official = options.codec == Codec::argmax || options.codec == Codec::quarter;
  const float nowhere = official ? 0.0f : -1.0f;
  const size_t size = static_cast<size_t>(maps.h) * maps.w * maps.joints;
  std::vector<float> poses(static_cast<size_t>(maps.n) * maps.joints * 3);

  parallel_for(maps.n, static_cast<int64_t>(size) * maps.n, [&](int64_t i) {
    thread_local std::vector<float> value, scratch;
    thread_local std::vector<int> index;
    value.resize(maps.joints);
    index.resize(maps.joints);
    const float* map = maps.data + static_cast<size_t>(i) * size;
    float* pose = poses.data() + static_cast<size_t>(i) * maps.joints * 3;
    argmax_map(map, maps.h * maps.w, maps.joints, value.data(), index.data());
    for (int k = 0; k < maps.joints; ++k) {
      const bool found = value[k] > 0;
      const int x = index[k] % maps.w, y = index[k] / maps.w;
      pose[3 * k] = found ? static_cast<float>(x) : nowhere;
      pose[3 * k + 1] = found ? static_cast<float>(y) : nowhere;
      pose[3 * k + 2] = value[k];
    }
    if (blurs) refine_blurred(map, maps, options, kernel, scratch, pose);
    if (options.codec == Codec::quarter || options.codec == Codec::msra) {
      refine_quarter(map, maps, options.codec, pose);
    }
  });
  return poses;
}

Affine image_from_heatmap(Codec codec, const CenterScale& place, int w, int h) {
  if (codec != Codec::udp) return official_affine_inverse(place, 0, w, h);
  check(w > 1 && h > 1, "image_from_heatmap: a map of {} x {} has no extent between pixel centres", w, h);
  const double width = 200.0 * place.scale[0], height = 200.0 * place.scale[1];
  return {{width / (w - 1), 0, place.center[0] - width / 2, 0, height / (h - 1), place.center[1] - height / 2}};
}

void to_image(std::span<float> poses, int joints, std::span<const Affine> maps) {
  check(joints > 0 && poses.size() == maps.size() * joints * 3,
        "to_image: {} numbers for {} affine maps; expected 3 x {} joints for each", poses.size(), maps.size(), joints);
  for (size_t i = 0; i < poses.size(); i += 3) {
    double x = poses[i], y = poses[i + 1];
    maps[i / 3 / joints].apply(x, y);
    poses[i] = static_cast<float>(x);
    poses[i + 1] = static_cast<float>(y);
  }
}

}  // namespace hr
