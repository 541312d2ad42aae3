#include "ops/int8_depthwise.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/cpu_level.h"
#include "core/error.h"
#include "ops/conv/int8_silu.h"

namespace hr {
namespace {

// The channels of a pixel are computed in parts of this many, whose sums stay in registers.
constexpr int64_t kPart = 32;
// Adding this to a number from 0 to 255 rounds it to the nearest integer, which is then in the lowest byte.
constexpr float kRound = 8388608.0F;

struct Pixel {
  const uint8_t* first;  // The first tap.
  int64_t row_step, pixel_step, kernel, channels;
  const float* weights;
};

inline __attribute__((always_inline)) void add_taps(const Pixel& p, int64_t c0, int64_t cs, float* __restrict sums) {
  for (int64_t ky = 0; ky < p.kernel; ++ky) {
    for (int64_t kx = 0; kx < p.kernel; ++kx) {
      const uint8_t* from = p.first + ky * p.row_step + kx * p.pixel_step + c0;
      const float* w = p.weights + (ky * p.kernel + kx) * p.channels + c0;
      for (int64_t c = 0; c < cs; ++c) sums[c] = sums[c] + static_cast<float>(from[c]) * w[c];
    }
  }
}

}  // namespace

Int8Depthwise::Int8Depthwise(const Int8Conv::Shape& s, std::span<const float> filter, std::span<const float> bias,
                             Int8Step in, Int8Step out)
    : shape_(s), bias_(bias.begin(), bias.end()) {
  check(s.in == s.out && s.in > 0 && s.kernel > 0 && s.stride > 0 && s.pad >= 0 && s.pad <= 1 && !s.transposed,
        "int8: this depthwise convolution is not supported");
  const int64_t taps = int64_t{s.kernel} * s.kernel;
  check(static_cast<int64_t>(filter.size()) == taps * s.in && static_cast<int64_t>(bias.size()) == s.in,
        "int8: {} weights and {} biases do not fit a depthwise convolution of {} channels with {} weights each",
        filter.size(), bias.size(), s.in, taps);
  for (const Int8Step& step : {in, out}) {
    check(std::isfinite(step.scale) && step.scale > 0 && step.zero >= 0 && step.zero <= 255,
          "int8: the scale {} with the zero {} is not possible", step.scale, step.zero);
  }
  weights_.resize(filter.size());
  for (int64_t c = 0; c < s.in; ++c) {
    float sum = 0;
    for (int64_t t = 0; t < taps; ++t) {
      const float w = filter[static_cast<size_t>(c * taps + t)] * in.scale;
      weights_[static_cast<size_t>(t * s.in + c)] = w;
      sum += w;
    }
    bias_[static_cast<size_t>(c)] -= static_cast<float>(in.zero) * sum;
  }
  inverse_ = 1.0F / out.scale;
  zero_ = static_cast<float>(out.zero);
}

void Int8Depthwise::row(const Int8Layout& in, const uint8_t* x, const Int8Layout& out, int64_t n, int64_t y,
                        uint8_t* bytes) const {
  uint8_t* to = bytes + out.first() + n * out.image() + y * out.row();
  Pixel p{x + in.first() + n * in.image() + (y * shape_.stride - shape_.pad) * in.row() - shape_.pad * in.pixel(),
          in.row(),
          in.pixel(),
          shape_.kernel,
          shape_.in,
          weights_.data()};
  at_cpu_level([&] {
    for (int64_t ox = 0; ox < out.w; ++ox) {
      for (int64_t c0 = 0; c0 < out.c; c0 += kPart) {
        float sums[kPart];
        const int64_t cs = std::min(kPart, out.c - c0);
        for (int64_t c = 0; c < cs; ++c) sums[c] = bias_[static_cast<size_t>(c0 + c)];
        if (cs == kPart) {
          add_taps(p, c0, kPart, sums);
        } else {
          add_taps(p, c0, cs, sums);
        }
        uint8_t* part = to + ox * out.pixel() + c0;
        for (int64_t c = 0; c < cs; ++c) {
          const float v = int8::silu(sums[c]) * inverse_ + zero_;
          const float positive = v > 0.0F ? v : 0.0F;
          const float limited = positive < 255.0F ? positive : 255.0F;
          part[c] = static_cast<uint8_t>(std::bit_cast<uint32_t>(limited + kRound));
        }
      }
      p.first += shape_.stride * in.pixel();
    }
  });
}

}  // namespace hr
