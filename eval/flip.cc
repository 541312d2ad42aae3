#include "eval/flip.h"

#include "core/error.h"
#include "core/parallel.h"

namespace hr {
namespace {

void check_flip(const char* name, const Heatmaps& maps, std::span<const int> mirror, std::span<float> out) {
  const size_t size = static_cast<size_t>(maps.n) * maps.h * maps.w * maps.joints;
  check(mirror.size() == static_cast<size_t>(maps.joints), "{}: {} mirror indices for {} joints", name, mirror.size(),
        maps.joints);
  check(out.size() == size, "{}: result holds {} numbers; expected [{}, {}, {}, {}] = {}", name, out.size(), maps.n,
        maps.h, maps.w, maps.joints, size);
  for (const int k : mirror) check(k >= 0 && k < maps.joints, "{}: mirror index {} of {} joints", name, k, maps.joints);
}

}  // namespace

void flip_back(const Heatmaps& maps, std::span<const int> mirror, std::span<float> out) {
  check_flip("flip_back", maps, mirror, out);
  check(out.data() != maps.data, "flip_back: cannot work in place; give it another buffer");
  const int joints = maps.joints, w = maps.w;
  const size_t row = static_cast<size_t>(w) * joints;
  const int64_t rows = static_cast<int64_t>(maps.n) * maps.h;
  parallel_for(rows, static_cast<int64_t>(out.size()), [&](int64_t y) {
    const float* from = maps.data + y * row;
    float* to = out.data() + y * row;
    for (int x = 0; x < w; ++x) {
      const float* pixel = from + static_cast<size_t>(w - 1 - x) * joints;
      for (int k = 0; k < joints; ++k) to[static_cast<size_t>(x) * joints + k] = pixel[mirror[k]];
    }
  });
}

void flip_average(const Heatmaps& maps, const Heatmaps& flipped, std::span<const int> mirror, bool shift,
                  std::span<float> out) {
  check(maps.n == flipped.n && maps.h == flipped.h && maps.w == flipped.w && maps.joints == flipped.joints,
        "flip_average: maps [{}, {}, {}, {}] and flipped maps [{}, {}, {}, {}] differ", maps.n, maps.h, maps.w,
        maps.joints, flipped.n, flipped.h, flipped.w, flipped.joints);
  check_flip("flip_average", maps, mirror, out);
  check(out.data() != flipped.data, "flip_average: the result may overwrite maps, not the flipped maps");
  const int joints = maps.joints, w = maps.w;
  const size_t row = static_cast<size_t>(w) * joints;
  const int64_t rows = static_cast<int64_t>(maps.n) * maps.h;
  parallel_for(rows, static_cast<int64_t>(out.size()), [&](int64_t y) {
    const float* a = maps.data + y * row;
    const float* b = flipped.data + y * row;
    float* to = out.data() + y * row;
    for (int x = 0; x < w; ++x) {
      const int unshifted = shift && x > 0 ? x - 1 : x;
      const float* pixel = b + static_cast<size_t>(w - 1 - unshifted) * joints;
      const size_t at = static_cast<size_t>(x) * joints;
      for (int k = 0; k < joints; ++k) to[at + k] = (a[at + k] + pixel[mirror[k]]) * 0.5f;
    }
  });
}

}  // namespace hr
