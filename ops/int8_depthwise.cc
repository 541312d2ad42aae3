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

}  // namespace

template <class T>
inline __attribute__((always_inline)) void Int8Depthwise::add_taps(const Pixel<T>& p, int64_t c0, int64_t cs,
                                                                   float* __restrict sums) {
  for (int64_t ky = p.rows.begin; ky < p.rows.end; ++ky) {
    for (int64_t kx = p.columns.begin; kx < p.columns.end; ++kx) {
      const T* from = p.first + ky * p.row_step + kx * p.pixel_step + c0;
      const float* w = p.weights + (ky * p.kernel + kx) * p.channels + c0;
      for (int64_t c = 0; c < cs; ++c) sums[c] = sums[c] + static_cast<float>(from[c]) * w[c];
    }
  }
}

Int8Depthwise::Int8Depthwise(const Int8Conv::Shape& s, std::span<const float> filter, std::span<const float> bias,
                             Int8Step in, const Int8Steps& out)
    : shape_(s), bias_(bias.begin(), bias.end()) {
  check(s.in == s.out && s.in > 0 && s.kernel > 0 && s.stride > 0 && s.pad >= 0 && s.pad <= 1 && !s.transposed,
        "int8: this depthwise convolution is not supported");
  const int64_t taps = int64_t{s.kernel} * s.kernel;
  check(static_cast<int64_t>(filter.size()) == taps * s.in && static_cast<int64_t>(bias.size()) == s.in,
        "int8: {} weights and {} biases do not fit a depthwise convolution of {} channels with {} weights each",
        filter.size(), bias.size(), s.in, taps);
  const bool floats = in.scale == 0;
  out.require_channels(s.out);
  for (const Int8Step& step : {floats ? Int8Step(1) : in, Int8Step(out)}) {
    check(std::isfinite(step.scale) && step.scale > 0 && step.zero >= 0 && step.zero <= 255,
          "int8: the scale {} with the zero {} is not possible", step.scale, step.zero);
  }
  weights_.resize(filter.size());
  for (int64_t c = 0; c < s.in; ++c) {
    float sum = 0;
    for (int64_t t = 0; t < taps; ++t) {
      const float w = filter[static_cast<size_t>(c * taps + t)] * (floats ? 1.0F : in.scale);
      weights_[static_cast<size_t>(t * s.in + c)] = w;
      sum += w;
    }
    bias_[static_cast<size_t>(c)] -= static_cast<float>(in.zero) * sum;
    inverse_.push_back(1.0F / (out.scale * out.factor(static_cast<size_t>(c))));
  }
  zero_ = static_cast<float>(out.zero);
}

template <class T>
inline __attribute__((always_inline)) void Int8Depthwise::pixel(const Pixel<T>& p, uint8_t* to) const {
  const float* inverse = inverse_.data();
  for (int64_t c0 = 0; c0 < shape_.out; c0 += kPart) {
    float sums[kPart];
    const int64_t cs = std::min(kPart, shape_.out - c0);
    for (int64_t c = 0; c < cs; ++c) sums[c] = bias_[static_cast<size_t>(c0 + c)];
    if (cs == kPart) {
      add_taps(p, c0, kPart, sums);
    } else {
      add_taps(p, c0, cs, sums);
    }
    for (int64_t c = 0; c < cs; ++c) {
      const float v = int8::silu(sums[c]) * inverse[c0 + c] + zero_;
      const float positive = v > 0.0F ? v : 0.0F;
      const float limited = positive < 255.0F ? positive : 255.0F;
      to[c0 + c] = static_cast<uint8_t>(std::bit_cast<uint32_t>(limited + kRound));
    }
  }
}

void Int8Depthwise::row(const Int8Layout& in, const uint8_t* x, const Int8Layout& out, int64_t n, int64_t y,
                        uint8_t* bytes) const {
  uint8_t* to = bytes + out.first() + n * out.image() + y * out.row();
  Pixel<uint8_t> p{
      x + in.first() + n * in.image() + (y * shape_.stride - shape_.pad) * in.row() - shape_.pad * in.pixel(),
      in.row(),
      in.pixel(),
      shape_.in,
      weights_.data(),
      shape_.kernel,
      {0, shape_.kernel},
      {0, shape_.kernel}};
  at_cpu_level([&] {
    for (int64_t ox = 0; ox < out.w; ++ox) {
      pixel(p, to + ox * out.pixel());
      p.first += shape_.stride * in.pixel();
    }
  });
}

void Int8Depthwise::row(const Int8Layout& in, const float* x, const Int8Layout& out, int64_t n, int64_t y,
                        uint8_t* bytes) const {
  uint8_t* to = bytes + out.first() + n * out.image() + y * out.row();
  const auto inside = [&](int64_t first, int64_t size) {
    return Taps{std::max<int64_t>(0, -first), std::min<int64_t>(shape_.kernel, size - first)};
  };
  const int64_t top = y * shape_.stride - shape_.pad, row = in.w * in.c;
  Pixel<float> p{nullptr, row, in.c, shape_.in, weights_.data(), shape_.kernel, inside(top, in.h), {}};
  at_cpu_level([&] {
    for (int64_t ox = 0; ox < out.w; ++ox) {
      const int64_t left = ox * shape_.stride - shape_.pad;
      p.first = x + (n * in.h + top) * row + left * in.c;
      p.columns = inside(left, in.w);
      pixel(p, to + ox * out.pixel());
    }
  });
}

}  // namespace hr
