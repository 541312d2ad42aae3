// The kernels of ops/conv/tile_conv_kernels.cuh give the sums of a tile to an epilogue. It writes them, with bias,
// summand and ReLU (PlainEpilogue), with the statistics of the result for batch norm (StatisticsEpilogue), or as a
// gradient with summand, mask and the sums of batch norm (MaskedGradientEpilogue). For the sums, a lane holds eight
// neighbouring channels of four pixels of the tile. It adds its pixels in order; the lanes of a warp add theirs
// pairwise; each lane keeps two of the 64 totals of its warp for all tiles of the block; in the end the block adds its
// warps in order. Thus the order of the sums depends only on the shape and on the number of blocks.
#pragma once
#include "ops/conv/conv_tiles.cuh"
#include "ops/signs.h"

namespace hr::gpu {

struct TileConv {
  Tiles tiles{};
  int count = 0;  // The number of tiles.
  const bf16 *x = nullptr, *filter = nullptr;
  const bf16 *bias = nullptr, *add = nullptr;  // [channels], and of the shape of y; or null.
  bf16* y = nullptr;
  bool relu = false;
  // Statistics [blocks, 4, channels], or the sums of a gradient [blocks, 2, channels].
  float* parts = nullptr;
  // The pointers of GradientEpilogue besides `add`.
  const bf16* mask = nullptr;
  const uint8_t* bits = nullptr;
  const bf16* normalised = nullptr;
  const float *mean = nullptr, *scale = nullptr, *shift = nullptr;
};

// The place of a thread in its block. A warp computes 32 pixels x 32 channels of the tile as two products of 16 pixels,
// which are two rows of eight.
template <class S>
struct TileShare {
  int lane, warp, across, down;  // `across` counts groups of 32 channels, `down` groups of 32 pixels.
  HR_DEVICE explicit TileShare(int thread)
      : lane(thread & 31), warp(thread >> 5), across(warp % S::kWarpsAcross), down(warp / S::kWarpsAcross) {}

  static constexpr bool kWide = S::kColumns == 16;
  static constexpr int kRows = kWide ? 2 : 4;  // The rows of the tile that belong to a warp.
  HR_DEVICE int first_row() const { return down * kRows; }
  // The first row and column of product m, relative to those of the warp.
  HR_DEVICE static int row(int m) { return kWide ? 0 : m * 2; }
  HR_DEVICE static int column(int m) { return kWide ? m * 8 : 0; }
  HR_DEVICE int channel() const { return across * 32 + (lane & 3) * 8; }  // The first of the eight of this lane.
};

// The pixels of a tile that a lane writes: those of its column in the two rows of each product.
template <class S>
struct TilePixels {
  const Tiles& tiles;
  int y, x, first;
  HR_DEVICE TilePixels(const Tiles& t, const TileOrigin& o, const TileShare<S>& share)
      : tiles(t), y(o.y + share.first_row()), x(o.x + (share.lane >> 2)), first((o.n * t.h + y) * t.w + x) {}
  // Returns -1 for a pixel outside of the image.
  HR_DEVICE int at(int m, int half) const {
    const int dy = TileShare<S>::row(m) + half, dx = TileShare<S>::column(m);
    return y + dy < tiles.h && x + dx < tiles.w ? first + dy * tiles.w + dx : -1;
  }
  // Tells whether the warp has pixels in the image, in which case its first one is among them.
  HR_DEVICE bool any() const { return y < tiles.h; }
  // Returns the number of the warp's pixels in the image; the same in all its lanes.
  HR_DEVICE int count(const TileOrigin& o) const {
    const int rows = tiles.h - y, columns = tiles.w - o.x;
    return (rows < TileShare<S>::kRows ? rows : TileShare<S>::kRows) * (columns < S::kColumns ? columns : S::kColumns);
  }
};

// Returns the sums of one pixel in the order of its channels.
HR_DEVICE Floats<8> channels_of(const float (&sums)[2][4][4], int m, int half) {
  Floats<8> v;
  HR_UNROLL for (int j = 0; j < 4; ++j) {
    v.v[2 * j] = sums[m][j][2 * half];
    v.v[2 * j + 1] = sums[m][j][2 * half + 1];
  }
  return v;
}

// y = relu?(sums + add? + bias?). A gradient has none of these.
template <class S, bool Flipped>
class PlainEpilogue {
 public:
  static constexpr bool kFlipped = Flipped;
  static constexpr int kBytes = 0;
  HR_DEVICE PlainEpilogue(const TileConv& p, unsigned char*, const TileShare<S>& share, int)
      : p_(p), channel_(share.channel()) {}

  // Prefetches what write() will read into the L2.
  HR_DEVICE void prefetch_operands(const TilePixels<S>& pixels) const {
    if constexpr (!Flipped) {
      HR_UNROLL for (int m = 0; m < 2; ++m) {
        HR_UNROLL for (int half = 0; half < 2; ++half) {
          const int pixel = pixels.at(m, half);
          if (p_.add != nullptr && pixel >= 0) {
            prefetch(p_.add + static_cast<int64_t>(pixel) * S::kChannels + channel_);
          }
        }
      }
    }
  }

  HR_DEVICE void write(const float (&sums)[2][4][4], const TilePixels<S>& pixels, const TileOrigin&) {
    using V = Floats<8>;
    HR_UNROLL for (int m = 0; m < 2; ++m) {
      HR_UNROLL for (int half = 0; half < 2; ++half) {
        const int pixel = pixels.at(m, half);
        if (pixel < 0) continue;
        V v = channels_of(sums, m, half);
        if constexpr (!Flipped) {
          if (p_.add != nullptr) v += load<V>(p_.add + static_cast<int64_t>(pixel) * S::kChannels + channel_);
          if (p_.bias != nullptr) v += load<V>(p_.bias + channel_);
          if (p_.relu) v = at_least(v, Lanes<V>::fill(0));
        }
        store<V>(p_.y + static_cast<int64_t>(pixel) * S::kChannels + channel_, v);
      }
    }
  }
  HR_DEVICE void finish(float*, int) const {}

 private:
  const TileConv& p_;
  int channel_;
};

// Two sums of 32 channels over the pixels of a warp.
class WarpTotals {
 public:
  // Adds `terms`, the two sums of this lane's eight channels. In each of three steps a lane gives half of its numbers
  // to the lane that has the same channels of other pixels and keeps the other half.
  HR_DEVICE void add(const Floats<8> (&terms)[2], int lane) {
    float eight[8], four[4];
    HR_UNROLL for (int i = 0; i < 8; ++i) eight[i] = shared_sum(terms[0].v[i], terms[1].v[i], lane, 16);
    HR_UNROLL for (int i = 0; i < 4; ++i) four[i] = shared_sum(eight[i], eight[4 + i], lane, 8);
    HR_UNROLL for (int i = 0; i < 2; ++i) totals_[i] += shared_sum(four[i], four[2 + i], lane, 4);
  }
  // Writes the totals to [2, 32] in shared memory.
  HR_DEVICE void store(float* shared, int lane) const {
    const int g = lane >> 2;
    float* to = shared + (g >> 2) * 32 + (lane & 3) * 8 + (g & 3) * 2;
    to[0] = totals_[0];
    to[1] = totals_[1];
  }

 private:
  HR_DEVICE static float shared_sum(float lower, float upper, int lane, int bit) {
    const bool high = (lane & bit) != 0;
    return (high ? upper : lower) + exchange(high ? lower : upper, bit);
  }
  float totals_[2] = {0, 0};
};

// Computes the statistics of the result. The sums are relative to the first pixel of the warp, so that large means lose
// no digits.
template <class S>
class StatisticsEpilogue {
 public:
  static constexpr bool kFlipped = false;
  // Its shared memory: for each warp the shifts of 32 channels, then for each warp its number of pixels.
  static constexpr int kBytes = S::kThreads / 32 * (32 + 1) * 4;
  HR_DEVICE StatisticsEpilogue(const TileConv& p, unsigned char* memory, const TileShare<S>& share, int)
      : p_(p), share_(share), memory_(reinterpret_cast<float*>(memory)) {}

  HR_DEVICE void prefetch_operands(const TilePixels<S>&) const {}

  HR_DEVICE void write(const float (&sums)[2][4][4], const TilePixels<S>& pixels, const TileOrigin& o) {
    using V = Floats<8>;
    if (!pixels.any()) return;
    const int channel = share_.channel();
    float* shift = memory_ + share_.warp * 32 + (share_.lane & 3) * 8;
    if (count_ == 0) {
      if (share_.lane < 4) store<V>(shift, rounded<bf16>(channels_of(sums, 0, 0)));
      synchronize_warp();
    }
    count_ += pixels.count(o);
    const V k = load<V>(shift);
    V terms[2] = {Lanes<V>::fill(0), Lanes<V>::fill(0)};
    HR_UNROLL for (int m = 0; m < 2; ++m) {
      HR_UNROLL for (int half = 0; half < 2; ++half) {
        const int pixel = pixels.at(m, half);
        if (pixel < 0) continue;
        const V v = rounded<bf16>(channels_of(sums, m, half)), d = v - k;
        store<V>(p_.y + static_cast<int64_t>(pixel) * S::kChannels + channel, v);
        terms[0] += d;
        terms[1] += d * d;
      }
    }
    totals_.add(terms, share_.lane);
  }

  // Writes the block's part. `scratch` is shared memory that is not in use any more, for 64 numbers of each warp.
  HR_DEVICE void finish(float* scratch, int thread) const {
    auto* counts = reinterpret_cast<int*>(memory_ + S::kThreads);
    totals_.store(scratch + share_.warp * 64, share_.lane);
    if (share_.lane == 0) counts[share_.warp] = count_;
    __syncthreads();
    if (thread >= S::kChannels) return;
    // All sums become relative to the shift of the first warp that has pixels. In double this costs no digits.
    int pixels = 0;
    double sum = 0, squares = 0;
    float common = 0;
    for (int down = 0; down < 8; ++down) {
      const int warp = down * S::kWarpsAcross + thread / 32, c = thread % 32, n = counts[warp];
      if (n == 0) continue;
      const float shift = memory_[warp * 32 + c];
      if (pixels == 0) common = shift;
      const double d = static_cast<double>(shift) - common, s = scratch[warp * 64 + c];
      sum += s + n * d;
      squares += scratch[warp * 64 + 32 + c] + d * (2 * s + n * d);
      pixels += n;
    }
    float* part = p_.parts + static_cast<int64_t>(blockIdx.x) * 4 * S::kChannels;
    part[thread] = static_cast<float>(pixels);
    part[S::kChannels + thread] = common;
    part[2 * S::kChannels + thread] = static_cast<float>(sum);
    part[3 * S::kChannels + thread] = static_cast<float>(squares);
  }

 private:
  const TileConv& p_;
  TileShare<S> share_;
  float* memory_;
  WarpTotals totals_;
  int count_ = 0;  // The pixels of the warp so far.
};

// Adds the other gradient, applies the mask of ReLU and computes the sums of batch norm.
template <class S>
class MaskedGradientEpilogue {
 public:
  static constexpr bool kFlipped = true;
  static constexpr int kBytes = 3 * S::kChannels * 4;  // Its shared memory: mean, scale and shift.
  HR_DEVICE MaskedGradientEpilogue(const TileConv& p, unsigned char* memory, const TileShare<S>& share, int thread)
      : p_(p), share_(share), coefficients_(reinterpret_cast<float*>(memory)) {
    if (thread >= S::kChannels || p.normalised == nullptr) return;
    coefficients_[thread] = p.mean[thread];
    if (p.mask != nullptr || p.bits != nullptr) return;
    coefficients_[S::kChannels + thread] = p.scale[thread];
    coefficients_[2 * S::kChannels + thread] = p.shift[thread];
  }

  HR_DEVICE void prefetch_operands(const TilePixels<S>& pixels) const {
    HR_UNROLL for (int m = 0; m < 2; ++m) {
      HR_UNROLL for (int half = 0; half < 2; ++half) {
        const int pixel = pixels.at(m, half);
        if (pixel < 0) continue;
        const int64_t at = static_cast<int64_t>(pixel) * S::kChannels + share_.channel();
        if (p_.add != nullptr) prefetch(p_.add + at);
        if (p_.mask != nullptr) prefetch(p_.mask + at);
        if (p_.bits != nullptr) prefetch(p_.bits + at / 8);
        if (p_.normalised != nullptr) prefetch(p_.normalised + at);
      }
    }
  }

  HR_DEVICE void write(const float (&sums)[2][4][4], const TilePixels<S>& pixels, const TileOrigin&) {
    using V = Floats<8>;
    if (!pixels.any()) return;
    const int channel = share_.channel();
    const float* coefficients = coefficients_ + channel;
    V terms[2] = {Lanes<V>::fill(0), Lanes<V>::fill(0)};
    HR_UNROLL for (int m = 0; m < 2; ++m) {
      HR_UNROLL for (int half = 0; half < 2; ++half) {
        const int pixel = pixels.at(m, half);
        if (pixel < 0) continue;
        const int64_t at = static_cast<int64_t>(pixel) * S::kChannels + channel;
        // The gradient is rounded before the addition, so that dx has the bits of separate passes.
        V g = rounded<bf16>(channels_of(sums, m, half));
        if (p_.add != nullptr) g += load<V>(p_.add + at);
        if (p_.mask != nullptr) g = where_positive(load<V>(p_.mask + at), g);
        if (p_.bits != nullptr) g = FetchedSigns<V>(p_.bits + at / 8).pass(g);
        if (p_.normalised == nullptr) {
          store<V>(p_.y + at, g);
          continue;
        }
        const V x = load<V>(p_.normalised + at);
        if (p_.mask == nullptr && p_.bits == nullptr) {
          const float* scale = coefficients + S::kChannels;
          g = where_positive(x * load<V>(scale) + load<V>(scale + S::kChannels), g);
        }
        g = rounded<bf16>(g);
        store<V>(p_.y + at, g);
        terms[0] += g;
        terms[1] += g * (x - load<V>(coefficients));
      }
    }
    if (p_.normalised != nullptr) totals_.add(terms, share_.lane);
  }

  HR_DEVICE void finish(float* scratch, int thread) const {
    if (p_.normalised == nullptr) return;
    totals_.store(scratch + share_.warp * 64, share_.lane);
    __syncthreads();
    if (thread >= 2 * S::kChannels) return;
    const int sum = thread / S::kChannels, c = thread % S::kChannels;
    float total = 0;
    for (int down = 0; down < 8; ++down) {
      total += scratch[(down * S::kWarpsAcross + c / 32) * 64 + sum * 32 + c % 32];
    }
    p_.parts[static_cast<int64_t>(blockIdx.x) * 2 * S::kChannels + thread] = total;
  }

 private:
  const TileConv& p_;
  TileShare<S> share_;
  float* coefficients_;
  WarpTotals totals_;
};

}  // namespace hr::gpu
