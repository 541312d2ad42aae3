// Normalises pixels (declared in data/formats/image.h).
#include <algorithm>

#include "core/error.h"
#include "data/formats/image.h"

namespace hr {
namespace {

// (v / 255 - mean) / std in float32 steps, as for the reference's tensors. It processes sixteen pixels at a time, so
// that the constants of the three channels align with vectors of any width; the compiler vectorises the inner loop.
constexpr size_t block = 48;
struct Normal {
  float mean[block], deviation[block];
  constexpr Normal() : mean(), deviation() {
    constexpr double means[3] = {0.485, 0.456, 0.406}, deviations[3] = {0.229, 0.224, 0.225};
    for (size_t i = 0; i < block; ++i) {
      mean[i] = static_cast<float>(means[i % 3]);
      deviation[i] = static_cast<float>(deviations[i % 3]);
    }
  }
};
constexpr Normal normal;

inline void normalize_block(const uint8_t* from, size_t n, float* to) {
  for (size_t i = 0; i < n; ++i) to[i] = (static_cast<float>(from[i]) / 255.0F - normal.mean[i]) / normal.deviation[i];
}

}  // namespace

void normalize_row(const uint8_t* rgb, size_t n, float* out, bool bgr) {
  uint8_t swapped[block];
  for (size_t done = 0; done < 3 * n; done += block) {
    const size_t count = std::min(block, 3 * n - done);
    const uint8_t* from = rgb + done;
    if (bgr) {
      for (size_t i = 0; i < count; i += 3) {
        swapped[i] = from[i + 2];
        swapped[i + 1] = from[i + 1];
        swapped[i + 2] = from[i];
      }
      from = swapped;
    }
    if (count == block) {
      normalize_block(from, block, out + done);
    } else {
      normalize_block(from, count, out + done);
    }
  }
}

void normalize(const Image& image, std::span<float> out, bool bgr) {
  check(out.size() == image.rgb.size(), "normalize: a picture of {} x {} pixels needs {} floats, got {}", image.width,
        image.height, image.rgb.size(), out.size());
  normalize_row(image.rgb.data(), image.rgb.size() / 3, out.data(), bgr);
}

}  // namespace hr
