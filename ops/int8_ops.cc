#include "ops/int8_ops.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/cpu_level.h"

namespace hr {
namespace {

// Adding this to a number from 0 to 255 rounds it to the nearest integer, which is then in the lowest byte.
constexpr float kRound = 8388608.0F;
// The channels of a pixel are computed in parts of this many, which stay in registers or in the L1 cache.
constexpr int64_t kPart = 64;

// Written as two loops, with the promise that the memory is not shared, so that the compiler uses vectors in builds for
// any processor too.
inline __attribute__((always_inline)) void to_bytes(const float* __restrict v, int64_t count, float factor,
                                                    uint8_t* __restrict to) {
  uint32_t rounded[kPart];
  for (int64_t c = 0; c < count; ++c) {
    const float scaled = v[c] * factor;
    const float positive = scaled > 0.0F ? scaled : 0.0F;
    const float limited = positive < 255.0F ? positive : 255.0F;
    rounded[c] = std::bit_cast<uint32_t>(limited + kRound);
  }
  for (int64_t c = 0; c < count; ++c) to[c] = static_cast<uint8_t>(rounded[c]);
}

const uint8_t* pixel_of(const uint8_t* base, const Int8Layout& l, int64_t n, int64_t y, int64_t x) {
  return base + l.first() + n * l.image() + y * l.row() + x * l.pixel();
}

struct Row {
  const Int8Term* term;
  const uint8_t* bytes;
  const float* floats;
  int64_t pixel;
};

inline __attribute__((always_inline)) void sum_part(const Row* rows, size_t count, int64_t x, int64_t c0, int64_t cs,
                                                    float* __restrict sums) {
  for (int64_t c = 0; c < cs; ++c) sums[c] = 0.0F;
  for (size_t t = 0; t < count; ++t) {
    const Row& r = rows[t];
    const int64_t at = (x >> r.term->up) * r.pixel + c0;
    if (r.bytes != nullptr) {
      const uint8_t* from = r.bytes + at;
      const float scale = r.term->scale;
      for (int64_t c = 0; c < cs; ++c) sums[c] = sums[c] + static_cast<float>(from[c]) * scale;
    } else {
      const float* from = r.floats + at;
      for (int64_t c = 0; c < cs; ++c) sums[c] = sums[c] + from[c];
    }
  }
}

}  // namespace

void int8_sum_row(std::span<const Int8Term> terms, const Int8Layout& out, int64_t n, int64_t y, uint8_t* bytes,
                  float out_scale, float* floats) {
  constexpr size_t kMost = 8;
  Row rows[kMost];
  const size_t count = std::min(terms.size(), kMost);
  for (size_t t = 0; t < count; ++t) {
    const Int8Term& term = terms[t];
    const Int8Layout in{out.n, out.h >> term.up, out.w >> term.up, out.c};
    const int64_t row = y >> term.up;
    rows[t] = {&term, term.bytes != nullptr ? pixel_of(term.bytes, in, n, row, 0) : nullptr,
               term.floats != nullptr ? term.floats + (n * in.h + row) * in.w * in.c : nullptr,
               term.bytes != nullptr ? in.pixel() : in.c};
  }
  const float inverse = bytes != nullptr ? 1.0F / out_scale : 1.0F;
  uint8_t* to_u8 = bytes != nullptr ? bytes + out.first() + n * out.image() + y * out.row() : nullptr;
  float* to_f32 = floats != nullptr ? floats + (n * out.h + y) * out.w * out.c : nullptr;
  at_cpu_level([&] {
    for (int64_t x = 0; x < out.w; ++x) {
      for (int64_t c0 = 0; c0 < out.c; c0 += kPart) {
        float sums[kPart];
        const int64_t cs = std::min(kPart, out.c - c0);
        sum_part(rows, count, x, c0, cs, sums);
        if (to_u8 != nullptr) {
          to_bytes(sums, cs, inverse, to_u8 + x * out.pixel() + c0);
        } else {
          float* to = to_f32 + x * out.c + c0;
          for (int64_t c = 0; c < cs; ++c) to[c] = sums[c] > 0.0F ? sums[c] : 0.0F;
        }
      }
    }
  });
}

void int8_fill_border(const Int8Layout& l, int64_t n, uint8_t zero, uint8_t* bytes) {
  if (n == 0) std::memset(bytes, zero, static_cast<size_t>(l.first()));
  uint8_t* image = bytes + l.first() + n * l.image();
  for (int64_t y = 0; y < l.h; ++y)
    std::memset(image + y * l.row() + l.w * l.pixel(), zero, static_cast<size_t>(l.pixel()));
  std::memset(image + l.h * l.row(), zero, static_cast<size_t>(l.row()));
}

void int8_concat_row(std::span<const Int8Term> terms, std::span<const int64_t> channels, const Int8Layout& out,
                     int64_t n, int64_t y, uint8_t* bytes) {
  uint8_t* to = bytes + out.first() + n * out.image() + y * out.row();
  for (size_t t = 0; t < terms.size(); ++t) {
    const int up = terms[t].up;
    const Int8Layout in{out.n, out.h >> up, out.w >> up, channels[t]};
    const uint8_t* from = pixel_of(terms[t].bytes, in, n, y >> up, 0);
    for (int64_t x = 0; x < out.w; ++x)
      std::memcpy(to + x * out.pixel(), from + (x >> up) * in.pixel(), static_cast<size_t>(channels[t]));
    to += channels[t];
  }
}

void int8_max_pool_row(const Int8Layout& in, const uint8_t* x, const MaxPool2d& o, const Int8Layout& out, int64_t n,
                       int64_t y, uint8_t* to) {
  const int64_t pixel = out.pixel();
  uint8_t* row = to + out.first() + n * out.image() + y * out.row();
  at_cpu_level([&] {
    for (int64_t ox = 0; ox < out.w; ++ox) {
      uint8_t* best = row + ox * pixel;
      for (int64_t c = 0; c < out.c; ++c) best[c] = 0;
      for (int64_t ky = 0; ky < o.kernel; ++ky) {
        const int64_t iy = y * o.stride - o.pad + ky;
        if (iy < 0 || iy >= in.h) continue;
        for (int64_t kx = 0; kx < o.kernel; ++kx) {
          const int64_t ix = ox * o.stride - o.pad + kx;
          if (ix < 0 || ix >= in.w) continue;
          const uint8_t* from = x + in.first() + n * in.image() + iy * in.row() + ix * in.pixel();
          for (int64_t c = 0; c < out.c; ++c) best[c] = best[c] > from[c] ? best[c] : from[c];
        }
      }
    }
  });
}

}  // namespace hr
