#pragma once
#include "core/crop_slot.h"
#include "ops/kernel.h"

namespace hr {

// A row of the loop is a row of a crop, and a channel is one of its 3 w numbers.
template <class T>
struct CropWarp {
  using Element = float;
  static constexpr const char* kName = "crops";
  double bytes_per_element() const { return 1 + sizeof(T); }
  const uint8_t* sources;  // [n, slot].
  const float* normal;     // [3, 256].
  T* images;               // [n, h, w, 3].
  int64_t slot;            // In bytes.
  uint32_t h, w;

  struct Row {
    CropSource part;
    const int32_t *column_x, *column_y;
    const uint8_t* pixels;
    T* to;
    int32_t x, y;
  };
  HR_HD Row row(int64_t r) const {
    const uint32_t n = static_cast<uint32_t>(r) / h, y = static_cast<uint32_t>(r) - n * h;
    const uint8_t* source = sources + n * slot;
    const auto* columns = reinterpret_cast<const int32_t*>(source + sizeof(CropSource));
    const int32_t* rows = columns + 2 * static_cast<int64_t>(w);
    return {*reinterpret_cast<const CropSource*>(source),
            columns,
            columns + w,
            reinterpret_cast<const uint8_t*>(rows + 2 * static_cast<int64_t>(h)),
            images + r * 3 * w,
            rows[y],
            rows[h + y]};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    for (int64_t lane = c; lane < c + Lanes<V>::kCount; ++lane) {
      const uint32_t x = static_cast<uint32_t>(lane) / 3;
      at.to[lane] = from_float<T>(value(at, x, static_cast<uint32_t>(lane) - 3 * x));
    }
  }
  HR_HD float value(const Row& at, uint32_t x, uint32_t channel) const {
    constexpr int kShift = CropSource::coordinate_bits - CropSource::weight_bits, kOne = 1 << CropSource::weight_bits;
    const int32_t sx = (at.x + at.column_x[x]) >> kShift, sy = (at.y + at.column_y[x]) >> kShift;
    const int32_t px = (sx >> CropSource::weight_bits) - at.part.left;
    const int32_t py = (sy >> CropSource::weight_bits) - at.part.top;
    const int32_t fx = sx & (kOne - 1), fy = sy & (kOne - 1);
    const uint32_t from = at.part.bgr != 0 ? 2 - channel : channel;
    const int32_t top = pixel(at, px, py, from) * (kOne - fx) + pixel(at, px + 1, py, from) * fx;
    const int32_t bottom = pixel(at, px, py + 1, from) * (kOne - fx) + pixel(at, px + 1, py + 1, from) * fx;
    constexpr int kBits = 2 * CropSource::weight_bits;
    const int32_t blended = (top * (kOne - fy) + bottom * fy + (1 << (kBits - 1))) >> kBits;
    return normal[channel * 256 + static_cast<uint32_t>(blended)];
  }
  HR_HD static int32_t pixel(const Row& at, int32_t x, int32_t y, uint32_t channel) {
    if (x < 0 || x >= at.part.width || y < 0 || y >= at.part.height) return 0;
    const int32_t column = at.part.mirrored != 0 ? at.part.width - 1 - x : x;
    return at.pixels[(static_cast<int64_t>(y) * at.part.width + column) * 3 + channel];
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
HR_FOR_EACH(CropWarp<float>)
HR_FOR_EACH(CropWarp<bf16>)

}  // namespace hr
