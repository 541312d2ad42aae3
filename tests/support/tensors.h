// Tensors for tests: generated values, torch's layouts and ours, and the distance of two lists of numbers.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/context.h"
#include "core/io/safetensors.h"
#include "core/philox.h"

namespace hr::test {

using Values = std::vector<double>;

// The largest relative error of one rounding to nearest.
inline double rounding(DType t) { return t == DType::bf16 ? 0x1p-8 : 0x1p-24; }

inline double rounded(double v, DType t) {
  const auto f = static_cast<float>(v);
  return t == DType::bf16 ? static_cast<float>(bf16(f)) : f;
}

// Returns uniform values that `t` represents exactly, so that a reference in double starts from the same numbers.
inline Values random_values(int64_t n, uint64_t seed, DType t = DType::f32, double lo = -1, double hi = 1) {
  Philox rng(seed, 0x74657374, 0);  // "test"
  Values v(static_cast<size_t>(n));
  for (double& x : v) x = rounded(rng.uniform(lo, hi), t);
  return v;
}

inline Tensor make(const Context& cx, Shape shape, DType t, const Values& v) {
  Tensor y = cx.empty(std::move(shape), t);
  EXPECT_EQ(static_cast<size_t>(y.numel()), v.size());
  for (size_t i = 0; i < v.size(); ++i) {
    if (t == DType::f32) {
      y.data<float>()[i] = static_cast<float>(v[i]);
    } else {
      y.data<bf16>()[i] = bf16(static_cast<float>(v[i]));
    }
  }
  return y;
}

inline Values values(const Tensor& x) {
  Values v(static_cast<size_t>(x.numel()));
  for (size_t i = 0; i < v.size(); ++i) {
    v[i] = x.dtype() == DType::f32 ? x.data<float>()[i] : static_cast<float>(x.data<bf16>()[i]);
  }
  return v;
}

// [A, B, C, D] -> [A, C, D, B]: NCHW -> NHWC, and torch's filters O·I·kh·kw -> ours O·kh·kw·I.
inline Values second_to_last(const Values& v, const std::vector<int64_t>& s) {
  Values out(v.size());
  size_t from = 0;
  for (int64_t a = 0; a < s[0]; ++a) {
    for (int64_t b = 0; b < s[1]; ++b) {
      for (int64_t c = 0; c < s[2]; ++c) {
        for (int64_t d = 0; d < s[3]; ++d) out[((a * s[2] + c) * s[3] + d) * s[1] + b] = v[from++];
      }
    }
  }
  return out;
}

// [A, B, C, D] -> [B, C, D, A]: torch's deconvolution filters I·O·kh·kw -> ours O·kh·kw·I.
inline Values first_to_last(const Values& v, const std::vector<int64_t>& s) {
  Values out(v.size());
  size_t from = 0;
  for (int64_t a = 0; a < s[0]; ++a) {
    for (int64_t b = 0; b < s[1]; ++b) {
      for (int64_t c = 0; c < s[2]; ++c) {
        for (int64_t d = 0; d < s[3]; ++d) out[((b * s[2] + c) * s[3] + d) * s[0] + a] = v[from++];
      }
    }
  }
  return out;
}

// Returns a golden array's values in our order. A filter of a deconvolution needs first_to_last instead.
inline Values ours(const ArrayView& a) {
  return a.shape.size() == 4 ? second_to_last(a.to_f64(), a.shape) : a.to_f64();
}

inline Tensor make(const Context& cx, const ArrayView& a, DType t = DType::f32) {
  const auto& s = a.shape;
  return make(cx, s.size() == 4 ? Shape{s[0], s[2], s[3], s[1]} : Shape(s), t, ours(a));
}

inline Tensor make_deconv(const Context& cx, const ArrayView& a) {
  const auto& s = a.shape;
  return make(cx, {s[1], s[2], s[3], s[0]}, DType::f32, first_to_last(a.to_f64(), s));
}

// The number of trajectories over whose median a tiny batch is judged. Adam turns the sign of a tiny gradient into a
// full step, so that after a few steps two trajectories that began one rounding apart differ by up to 2 %, and a single
// one proves little.
constexpr uint64_t kTrajectories = 5;
// Returns v with each value moved by up to two roundings; draw 0 is v itself.
template <class T>
void nudge(std::vector<T>& v, uint64_t draw) {
  if (draw == 0) return;
  Philox rng(draw, 0x6e756467, 0);  // "nudg"
  for (T& x : v) x = static_cast<T>(rounded(x * (1 + rng.uniform(-0x1p-22, 0x1p-22)), DType::f32));
}
inline double median(Values v) {
  const auto middle = v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

inline double max_abs(const Values& v) {
  double m = 0;
  for (const double x : v) m = std::max(m, std::abs(x));
  return m;
}

inline double norm(const Values& v) {
  double s = 0;
  for (const double x : v) s += x * x;
  return std::sqrt(s);
}

inline double distance(const Values& a, const Values& b) {
  EXPECT_EQ(a.size(), b.size());
  double s = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) s += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(s);
}

// |a - b| / |b|, in the Euclidean norm.
inline double relative_l2(const Values& a, const Values& b) { return distance(a, b) / norm(b); }

// Checks that every |actual - expected| is at most `tolerance`. A NaN is never close.
inline testing::AssertionResult close(const Values& actual, const Values& expected, double tolerance) {
  if (actual.size() != expected.size())
    return testing::AssertionFailure() << actual.size() << " values, expected " << expected.size();
  double worst = 0;
  size_t at = 0, wrong = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double off = std::abs(actual[i] - expected[i]);
    if (off <= tolerance) continue;
    ++wrong;
    if (!(off <= worst)) {
      worst = off;
      at = i;
    }
  }
  if (wrong == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << wrong << " of " << actual.size() << " values are off by more than " << tolerance
                                     << "; worst at " << at << ": " << actual[at] << ", expected " << expected[at];
}

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() &&
         std::equal(a.data<std::byte>(), a.data<std::byte>() + a.bytes(), b.data<std::byte>());
}

}  // namespace hr::test
