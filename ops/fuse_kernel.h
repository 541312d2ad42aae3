#pragma once
#include "ops/kernel.h"
#include "ops/low_row.h"
#include "ops/signs.h"

namespace hr {

constexpr int kMaxTerms = 4;

// A functor keeps this of a mask until it is used: the bits, or the numbers themselves.
template <class V, class T, bool Bits>
struct MaskOf {
  using type = Fetched<V, T>;
};
template <class V, class T>
struct MaskOf<V, T, true> {
  using type = FetchedSigns<V>;
};

// If Bits, the functor also writes one bit for each output, which says whether it is positive. The number of channels
// must then be a multiple of 8.
template <class T, int Terms, bool Bits = false>
struct FuseForward {
  using Element = T;
  static constexpr const char* kName = "fuse: forward";
  double bytes_per_element() const {
    double terms = Bits ? 1 + 0.125 / sizeof(T) : 1;
    for (int t = 0; t < Terms; ++t) terms += 1.0 / (1 << 2 * up[t]);
    return terms * sizeof(T);
  }
  const T* x[Terms];
  const float *scale[Terms], *shift[Terms];  // [C]; null for a term without normalisation.
  int up[Terms];
  T* y;
  uint32_t h, w;
  int64_t channels;
  float floor;              // 0 for ReLU, -inf for no activation.
  uint8_t* bits = nullptr;  // [rows, channels / 8] if Bits.

  static constexpr int kAhead = Terms == 1 ? 2 : 1;
  struct Row {
    const T* x[Terms];
    int64_t y;
  };
  template <class V>
  struct In {
    Fetched<V, T> x[Terms];
  };
  HR_HD Row row(int64_t r) const {
    Row at;
    HR_UNROLL for (int t = 0; t < Terms; ++t) at.x[t] = x[t] + low_row(r, h, w, up[t]) * channels;
    at.y = r * channels;
    return at;
  }
  template <class V>
  HR_HD In<V> read(const Row& at, int64_t c) const {
    In<V> in;
    HR_UNROLL for (int t = 0; t < Terms; ++t) in.x[t] = Fetched<V, T>(at.x[t] + c);
    return in;
  }
  static constexpr bool kKeepsCoefficients = Terms <= 2, kLoadsCoefficients = true;
  template <class V>
  struct Coefficients {
    V scale[Terms], shift[Terms];  // Undefined for a term without normalisation.
  };
  template <class V>
  HR_HD Coefficients<V> coefficients(int64_t c) const {
    Coefficients<V> k;
    HR_UNROLL for (int t = 0; t < Terms; ++t) {
      if (scale[t] != nullptr) k.scale[t] = load<V>(scale[t] + c), k.shift[t] = load<V>(shift[t] + c);
    }
    return k;
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c, const In<V>& in, const Coefficients<V>& k) const {
    V sum;
    HR_UNROLL for (int t = 0; t < Terms; ++t) {
      V v = in.x[t].value();
      if (scale[t] != nullptr) v = v * k.scale[t] + k.shift[t];
      sum = t == 0 ? v : sum + v;
    }
    write<V>(at, c, at_least(sum, Lanes<V>::fill(floor)));
  }
  // Loads the coefficients where it uses them, because all at once would take too many registers.
  template <class V>
  HR_HD void one(const Row& at, int64_t c, const In<V>& in) const {
    V sum;
    HR_UNROLL for (int t = 0; t < Terms; ++t) {
      V v = in.x[t].value();
      if (scale[t] != nullptr) v = v * load<V>(scale[t] + c) + load<V>(shift[t] + c);
      sum = t == 0 ? v : sum + v;
    }
    write<V>(at, c, at_least(sum, Lanes<V>::fill(floor)));
  }
  template <class V>
  HR_HD void write(const Row& at, int64_t c, const V& v) const {
    store<V>(y + at.y + c, v);
    if constexpr (Bits) store_signs<V>(bits + (at.y + c) / 8, rounded<T>(v));
  }
};

// dz = sum of the addends of dy where y > 0, which is the derivative of ReLU. dz may be one of the addends. If Bits,
// the bits that FuseForward wrote say where y > 0.
template <class T, int Addends, bool Bits = false>
struct MaskedSum {
  using Element = T;
  static constexpr const char* kName = "fuse: backward, mask";
  double bytes_per_element() const { return (Addends + 1.0) * sizeof(T) + (Bits ? 0.125 : sizeof(T)); }
  const T* dy[Addends];
  const T* y;
  T* dz;
  int64_t channels;
  const uint8_t* bits = nullptr;  // [rows, channels / 8] in place of y if Bits.

  static constexpr int kAhead = 1;
  template <class V>
  using Mask = typename MaskOf<V, T, Bits>::type;
  template <class V>
  struct In {
    Fetched<V, T> dy[Addends];
    Mask<V> mask;
  };
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD In<V> read(int64_t at, int64_t c) const {
    In<V> in;
    HR_UNROLL for (int a = 0; a < Addends; ++a) in.dy[a] = Fetched<V, T>(dy[a] + at + c);
    if constexpr (Bits) {
      in.mask = Mask<V>(bits + (at + c) / 8);
    } else {
      in.mask = Mask<V>(y + at + c);
    }
    return in;
  }
  template <class V>
  HR_HD V value(const In<V>& in) const {
    V g = in.dy[0].value();
    HR_UNROLL for (int a = 1; a < Addends; ++a) g += in.dy[a].value();
    if constexpr (Bits) {
      return in.mask.pass(g);
    } else {
      return where_positive(in.mask.value(), g);
    }
  }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, const In<V>& in) const {
    store<V>(dz + at + c, value<V>(in));
  }
};

// The same, and in the same pass the two reductions of batch normalisation: the sums of dz and of dz * (x - mean).
template <class T, int Addends, bool Bits = false>
struct MaskedSumReduce {
  using Element = T;
  static constexpr const char* kName = "fuse: backward, mask + sums";
  double bytes_per_element() const { return masked.bytes_per_element() + sizeof(T); }
  static constexpr int kSums = 2;
  MaskedSum<T, Addends, Bits> masked;
  const T* x;
  const float* mean;

  static constexpr int kAhead = 1;
  template <class V>
  struct In {
    typename MaskedSum<T, Addends, Bits>::template In<V> masked;
    Fetched<V, T> x;
  };
  HR_HD int64_t row(int64_t r) const { return masked.row(r); }
  template <class V>
  HR_HD In<V> read(int64_t at, int64_t c) const {
    return {masked.template read<V>(at, c), Fetched<V, T>(x + at + c)};
  }
  template <class V>
  struct Coefficients {
    V mean;
  };
  template <class V>
  HR_HD Coefficients<V> coefficients(int64_t c) const {
    return {load<V>(mean + c)};
  }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, const In<V>& in, const Coefficients<V>& k, V* terms) const {
    const V g = masked.template value<V>(in.masked);
    store<V>(masked.dz + at + c, g);
    terms[0] = rounded<T>(g);  // Uses the values that later passes will read from memory.
    terms[1] = terms[0] * (in.x.value() - k.mean);
  }
};

// Applies the mask of y = relu(scale * x + shift) to dz. y is computed again exactly as FuseForward computed it, which
// saves reading it and writing the masked gradient.
template <class V>
HR_HD V passed(V dz, V x, V scale, V shift) {
  return where_positive(x * scale + shift, dz);
}

// Only the two reductions of batch normalisation. If Relu, the mask of ReLU has not yet been applied to dz.
template <class T, bool Relu>
struct NormReduce {
  using Element = T;
  static constexpr const char* kName = Relu ? "batch norm: backward sums, mask" : "batch norm: backward sums";
  double bytes_per_element() const { return 2 * sizeof(T); }
  static constexpr int kSums = 2;
  const T *dz, *x;
  const float *mean, *scale, *shift;
  int64_t channels;

  static constexpr int kAhead = 2;
  template <class V>
  struct In {
    Fetched<V, T> dz, x;
  };
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD In<V> read(int64_t at, int64_t c) const {
    return {Fetched<V, T>(dz + at + c), Fetched<V, T>(x + at + c)};
  }
  template <class V>
  struct Coefficients {
    V mean, scale, shift;  // The last two are undefined without Relu.
  };
  template <class V>
  HR_HD Coefficients<V> coefficients(int64_t c) const {
    Coefficients<V> k;
    k.mean = load<V>(mean + c);
    if constexpr (Relu) k.scale = load<V>(scale + c), k.shift = load<V>(shift + c);
    return k;
  }
  template <class V>
  HR_HD void one(int64_t, int64_t, const In<V>& in, const Coefficients<V>& k, V* terms) const {
    const V xs = in.x.value();
    V g = in.dz.value();
    if constexpr (Relu) g = passed(g, xs, k.scale, k.shift);
    terms[0] = g;
    terms[1] = g * (xs - k.mean);
  }
};

// The gradient of an upsampled term: the sum of dz over the footprint of 2^Up x 2^Up of each low-resolution pixel.
template <class T, int Up>
struct FootprintSum {
  using Element = T;
  static constexpr const char* kName = "fuse: backward of upsampling";
  double bytes_per_element() const { return ((1 << 2 * Up) + 1.0) * sizeof(T); }
  const T* dz;  // [N, h << Up, w << Up, C].
  T* low;       // [N, h, w, C].
  uint32_t h, w;
  int64_t channels;

  struct Row {
    const T* corner;
    T* low;
  };
  HR_HD Row row(int64_t r) const {
    const uint32_t line = static_cast<uint32_t>(r) / w, x = static_cast<uint32_t>(r) - line * w;  // line = n * h + y
    const int64_t corner = (static_cast<int64_t>(line) << Up) * (w << Up) + (x << Up);
    return {dz + corner * channels, low + r * channels};
  }
  template <class V>
  HR_HD void one(const Row& at, int64_t c) const {
    V sum = Lanes<V>::fill(0);
    for (int fy = 0; fy < 1 << Up; ++fy) {
      HR_UNROLL for (int fx = 0; fx < 1 << Up; ++fx) sum += load<V>(at.corner + (fy * (w << Up) + fx) * channels + c);
    }
    store<V>(at.low + c, sum);
  }
};

// The derivative of batch normalisation from its two reductions: the gradients of the learned tensors, and the
// coefficients of dx = a dz + b (x - mean) + d per channel. The formula is dx = w inv_std (dz - mean(dz) - xhat mean(dz
// xhat)) with xhat = (x - mean) inv_std. If the statistics are not those of the batch, only the first part remains.
template <class Sum>
struct NormCoefficients {
  struct State {
    double dz = 0, dz_x = 0;
    HR_HD void add(const State& o) {
      dz += o.dz;
      dz_x += o.dz_x;
    }
  };
  const Sum* sums;  // [parts, 2, channels].
  int64_t rows, channels;
  const double* count;  // [channels]: replaces `rows` if the statistics are over several ranks. Null: use `rows`.
  bool batch_statistics;
  const float *weight, *inv_std;
  float *dweight, *dbias;  // Null if the gradient is not needed.
  bool accumulate_weight, accumulate_bias;
  float *a, *b, *d;
  const float* mean = nullptr;  // If not null, d is that of dx = a dz + b x + d.

  HR_HD State part(int64_t block, int64_t c) const {
    return {sums[block * 2 * channels + c], sums[(block * 2 + 1) * channels + c]};
  }
  HR_HD void finish(int64_t c, const State& s) const {
    if (dbias != nullptr) dbias[c] = static_cast<float>(accumulate_bias ? dbias[c] + s.dz : s.dz);
    const double dw = s.dz_x * inv_std[c];
    if (dweight != nullptr) dweight[c] = static_cast<float>(accumulate_weight ? dweight[c] + dw : dw);
    const double scale = static_cast<double>(weight[c]) * inv_std[c];
    const double n = count != nullptr ? count[c] : static_cast<double>(rows);
    a[c] = static_cast<float>(scale);
    b[c] = batch_statistics ? static_cast<float>(-scale * inv_std[c] * inv_std[c] * s.dz_x / n) : 0.0f;
    double constant = batch_statistics ? -scale * s.dz / n : 0.0;
    // This is the product with b as it was rounded, so that its rounding error is multiplied by x - mean and not by x.
    if (mean != nullptr) constant -= static_cast<double>(b[c]) * mean[c];
    d[c] = static_cast<float>(constant);
  }
};

// One rank's part of the two reductions, [2, channels], which is then added up over the ranks.
struct RankSums {
  using State = NormCoefficients<float>::State;
  const float* sums;  // [blocks, 2, channels].
  int64_t channels;
  double* out;
  HR_HD State part(int64_t block, int64_t c) const {
    return {sums[block * 2 * channels + c], sums[(block * 2 + 1) * channels + c]};
  }
  HR_HD void finish(int64_t c, const State& s) const {
    out[c] = s.dz;
    out[channels + c] = s.dz_x;
  }
};

// dx = a dz + b (x - mean) + d per channel, the derivative of batch normalisation. dx may be dz. If Relu, the mask of
// ReLU has not yet been applied to dz.
template <class T, bool Relu>
struct NormBackward {
  using Element = T;
  static constexpr const char* kName = Relu ? "batch norm: backward, mask" : "batch norm: backward";
  double bytes_per_element() const { return 3 * sizeof(T); }
  const T *dz, *x;
  const float *mean, *scale, *shift, *a, *b, *d;
  T* dx;
  int64_t channels;

  static constexpr int kAhead = 1;
  template <class V>
  struct In {
    Fetched<V, T> dz, x;
  };
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD In<V> read(int64_t at, int64_t c) const {
    return {Fetched<V, T>(dz + at + c), Fetched<V, T>(x + at + c)};
  }
  template <class V>
  struct Coefficients {
    V mean, a, b, d, scale, shift;  // The last two are undefined without Relu.
  };
  template <class V>
  HR_HD Coefficients<V> coefficients(int64_t c) const {
    Coefficients<V> k;
    k.mean = load<V>(mean + c), k.a = load<V>(a + c), k.b = load<V>(b + c), k.d = load<V>(d + c);
    if constexpr (Relu) k.scale = load<V>(scale + c), k.shift = load<V>(shift + c);
    return k;
  }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, const In<V>& in, const Coefficients<V>& k) const {
    const V xs = in.x.value();
    V g = in.dz.value();
    if constexpr (Relu) g = passed(g, xs, k.scale, k.shift);
    store<V>(dx + at + c, k.a * g + k.b * (xs - k.mean) + k.d);
  }
};

// The same as dx = a dz + b x + e with e = d - b mean, which takes fewer numbers per channel: the scale of the forward
// pass is a. The result differs from that of NormBackward by roundings of b mean (docs/design/gpu.md).
template <class T, bool Relu>
struct FoldedNormBackward {
  using Element = T;
  static constexpr const char* kName = NormBackward<T, Relu>::kName;
  double bytes_per_element() const { return 3 * sizeof(T); }
  const T *dz, *x;
  const float *scale, *shift, *b, *e;
  T* dx;
  int64_t channels;

  static constexpr int kAhead = 2;
  template <class V>
  struct In {
    Fetched<V, T> dz, x;
  };
  HR_HD int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  HR_HD In<V> read(int64_t at, int64_t c) const {
    return {Fetched<V, T>(dz + at + c), Fetched<V, T>(x + at + c)};
  }
  template <class V>
  struct Coefficients {
    V a, b, e, shift;  // The last one is undefined without Relu.
  };
  template <class V>
  HR_HD Coefficients<V> coefficients(int64_t c) const {
    Coefficients<V> k;
    k.a = load<V>(scale + c), k.b = load<V>(b + c), k.e = load<V>(e + c);
    if constexpr (Relu) k.shift = load<V>(shift + c);
    return k;
  }
  template <class V>
  HR_HD void one(int64_t at, int64_t c, const In<V>& in, const Coefficients<V>& k) const {
    const V xs = in.x.value();
    V g = in.dz.value();
    if constexpr (Relu) g = passed(g, xs, k.a, k.shift);
    store<V>(dx + at + c, k.a * g + (k.b * xs + k.e));
  }
};

// The functors that a GPU runs, each with its loop (ops/kernel.h).
#define HR_FUSE_TERMS(T, N)      \
  HR_FOR_EACH(FuseForward<T, N>) \
  HR_FOR_EACH(MaskedSum<T, N>)   \
  HR_REDUCE_ROWS(MaskedSumReduce<T, N>)
#define HR_FUSE(T)                          \
  HR_FUSE_TERMS(T, 1)                       \
  HR_FUSE_TERMS(T, 2)                       \
  HR_FUSE_TERMS(T, 3)                       \
  HR_FUSE_TERMS(T, 4)                       \
  HR_FOR_EACH(FootprintSum<T, 1>)           \
  HR_FOR_EACH(FootprintSum<T, 2>)           \
  HR_FOR_EACH(FootprintSum<T, 3>)           \
  HR_REDUCE_ROWS(NormReduce<T, false>)      \
  HR_FOR_EACH(NormBackward<T, false>)       \
  HR_REDUCE_ROWS(NormReduce<T, true>)       \
  HR_FOR_EACH(NormBackward<T, true>)        \
  HR_FOR_EACH(FoldedNormBackward<T, false>) \
  HR_FOR_EACH(FoldedNormBackward<T, true>)
HR_FUSE(float)
HR_FUSE(bf16)
#define HR_MASK_BITS(N)                 \
  HR_FOR_EACH(MaskedSum<bf16, N, true>) \
  HR_REDUCE_ROWS(MaskedSumReduce<bf16, N, true>)
HR_FOR_EACH(FuseForward<bf16, 2, true>)
HR_FOR_EACH(FuseForward<bf16, 3, true>)
HR_MASK_BITS(1)
HR_MASK_BITS(2)
HR_MASK_BITS(3)
HR_MASK_BITS(4)
HR_FOR_COLUMNS(NormCoefficients<float>)
HR_FOR_COLUMNS(NormCoefficients<double>)
HR_FOR_COLUMNS(RankSums)

}  // namespace hr
