// Our own bf16 kernels of the first convolution of a network: 3x3 with stride 2 over pictures of 3 channels.
//   stem_conv_kernel                                      3 -> 64 channels
//   stem_filter_gradient_kernel + stem_filter_sum_kernel  the gradient of the filter
// tests/ops/tile_conv_test.cc compiles this file for the CPU, with a fiber for each thread.
#pragma once
#include "ops/conv/conv_tiles.cuh"

namespace hr::gpu {

// 16 x 16 pixels of the result need 33 x 33 pixels of the picture, whose rows lie unchanged in shared memory, with 3
// numbers per pixel. They begin one pixel further to the left, so that a row begins at a multiple of 4 bytes. The 27
// numbers under a kernel, and 5 more that are multiplied by zeros in the filter, are the 32 rows of a product; each
// lane selects its own.
struct StemConv {
  Tiles tiles;     // Tiles of the result, [n, h, w, 64].
  int count;       // The number of tiles.
  int in_h, in_w;  // The size of the picture [n, in_h, in_w, 3]; in_w is even.
  const bf16 *x, *filter;
  const bf16* bias;  // [64] or null.
  bf16* y;
  bool relu;
};

constexpr int kStemThreads = 256;
// The words have 4 bytes; the pitch is in bytes.
constexpr int kPictureRows = 33, kPictureWords = 51, kPicturePitch = 52 * 4;
constexpr int kPictureBytes = (kPictureRows * kPicturePitch + 127) / 128 * 128;

HR_DEVICE void copy_picture(unsigned char* shared, const bf16* x, int in_h, int in_w, const TileOrigin& o, int thread) {
  for (int i = thread; i < kPictureRows * kPictureWords; i += kStemThreads) {
    const int row = i / kPictureWords, word = i - row * kPictureWords;
    const int y = 2 * o.y - 1 + row, element = (2 * o.x - 2) * 3 + 2 * word;
    const bool inside = y >= 0 && y < in_h && element >= 0 && element < 3 * in_w;
    const int64_t at = inside ? (static_cast<int64_t>(o.n) * in_h + y) * in_w * 3 + element : 0;
    copy_4(shared + row * kPicturePitch + word * 4, x + at, inside);
  }
}
// Returns the offset in bytes of number `k` under the kernel from the corner of the pixel; for k >= 27 that of number
// 0.
HR_DEVICE int picture_offset(int k) {
  const int tap = k < 27 ? k / 3 : 0, c = k < 27 ? k - tap * 3 : 0, ky = tap / 3, kx = tap - ky * 3;
  return ky * kPicturePitch + ((kx + 1) * 3 + c) * 2;
}
HR_DEVICE uint32_t two_numbers(const unsigned char* first, const unsigned char* second) {
  return *reinterpret_cast<const uint16_t*>(first) | static_cast<uint32_t>(*reinterpret_cast<const uint16_t*>(second))
                                                         << 16;
}

// Processes one tile per block. A warp computes two rows of 16 pixels and all channels, arranged as in
// tile_conv_kernel.
static __global__ void __launch_bounds__(kStemThreads, 2) stem_conv_kernel(const StemConv p) {
  alignas(128) __shared__ unsigned char filter[64 * 64];
  alignas(128) __shared__ unsigned char picture[kPictureBytes];
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const TileOrigin o = origin_of<16, 16>(p.tiles, static_cast<int>(blockIdx.x));
  copy_picture(picture, p.x, p.in_h, p.in_w, o, thread);
  end_copy_group();
  for (int i = thread; i < 64 * 32; i += kStemThreads) {
    const int co = i >> 5, k = i & 31;
    const int q = (co & ~31) + ((co & 7) >> 1) * 8 + ((co & 31) >> 3) * 2 + (co & 1);
    const bf16 value = k < 27 ? p.filter[co * 27 + k] : from_float<bf16>(0.0f);
    *reinterpret_cast<bf16*>(filter + piece_at<32>(q, k >> 3) + (k & 7) * 2) = value;
  }
  wait_for_copies<0>();
  __syncthreads();

  const int matrix = lane >> 3, r = lane & 7, g = lane >> 2, t = lane & 3;
  float sums[2][8][4];
  HR_UNROLL for (int m = 0; m < 2; ++m) {
    HR_UNROLL for (int j = 0; j < 8; ++j) { HR_UNROLL for (int i = 0; i < 4; ++i) sums[m][j][i] = 0; }
  }
  HR_UNROLL for (int k = 0; k < 2; ++k) {
    uint32_t a[2][4];
    HR_UNROLL for (int high = 0; high < 2; ++high) {
      const int first = 16 * k + 8 * high + 2 * t, e0 = picture_offset(first), e1 = picture_offset(first + 1);
      HR_UNROLL for (int m = 0; m < 2; ++m) {
        HR_UNROLL for (int half = 0; half < 2; ++half) {
          const unsigned char* corner = picture + 2 * (2 * warp + half) * kPicturePitch + 2 * (8 * m + g) * 6;
          a[m][2 * high + half] = two_numbers(corner + e0, corner + e1);
        }
      }
    }
    HR_UNROLL for (int j = 0; j < 4; ++j) {
      uint32_t b[4];
      load_matrices(b, filter + piece_at<32>((2 * j + (matrix >> 1)) * 8 + r, 2 * k + (matrix & 1)));
      HR_UNROLL for (int m = 0; m < 2; ++m) {
        multiply_add(sums[m][2 * j], a[m], b[0], b[1]);
        multiply_add(sums[m][2 * j + 1], a[m], b[2], b[3]);
      }
    }
  }
  using V = Floats<8>;
  HR_UNROLL for (int m = 0; m < 2; ++m) {
    HR_UNROLL for (int half = 0; half < 2; ++half) {
      const int y = o.y + 2 * warp + half, x = o.x + 8 * m + g;
      if (y >= p.tiles.h || x >= p.tiles.w) continue;
      const int64_t at = ((static_cast<int64_t>(o.n) * p.tiles.h + y) * p.tiles.w + x) * 64 + t * 8;
      HR_UNROLL for (int block = 0; block < 2; ++block) {
        V v;
        HR_UNROLL for (int j = 0; j < 4; ++j) {
          v.v[2 * j] = sums[m][4 * block + j][2 * half];
          v.v[2 * j + 1] = sums[m][4 * block + j][2 * half + 1];
        }
        if (p.bias != nullptr) v += load<V>(p.bias + block * 32 + t * 8);
        if (p.relu) v = at_least(v, Lanes<V>::fill(0));
        store<V>(p.y + at + block * 32, v);
      }
    }
  }
}

struct StemFilterGradient {
  Tiles tiles;
  int count, in_h, in_w;
  const bf16 *x, *dy;
  float* partial;  // [blocks, kStemSums].
  int blocks;
};
constexpr int kStemStageBytes = kPictureBytes + 256 * 128, kStemStages = 2;
constexpr int kStemSums = 64 * 32;  // [channel][number under the kernel].
constexpr int kStemGradientBytes = kStemStages * kStemStageBytes;
static_assert(8 * kStemSums * 4 <= kStemGradientBytes);

// A block processes every gridDim.x-th tile, and a warp two rows of it. The sums stay in registers to the end.
static __global__ void __launch_bounds__(kStemThreads, 2) stem_filter_gradient_kernel(const StemFilterGradient p) {
  HR_DYNAMIC_SHARED(memory);
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const auto fetch = [&](int tile, int stage) {
    if (tile < p.count) {
      unsigned char* to = memory + stage * kStemStageBytes;
      const TileOrigin o = origin_of<16, 16>(p.tiles, tile);
      copy_picture(to, p.x, p.in_h, p.in_w, o, thread);
      copy_pixels<64, 16, 16>(to + kPictureBytes, p.dy, p.tiles, o.n, o.y, o.x, 64, thread, kStemThreads);
    }
    end_copy_group();
  };
  const int matrix = lane >> 3, r = lane & 7, g = lane >> 2, t = lane & 3;
  int offset[4];
  HR_UNROLL for (int j = 0; j < 4; ++j) offset[j] = picture_offset(8 * j + g);
  float sums[4][4][4];
  HR_UNROLL for (int m = 0; m < 4; ++m) {
    HR_UNROLL for (int j = 0; j < 4; ++j) { HR_UNROLL for (int i = 0; i < 4; ++i) sums[m][j][i] = 0; }
  }
  fetch(static_cast<int>(blockIdx.x), 0);
  int stage = 0;
  for (int tile = static_cast<int>(blockIdx.x); tile < p.count; tile += static_cast<int>(gridDim.x)) {
    fetch(tile + static_cast<int>(gridDim.x), 1 - stage);
    wait_for_copies<1>();
    __syncthreads();
    const unsigned char *picture = memory + stage * kStemStageBytes, *rows = picture + kPictureBytes;
    HR_UNROLL for (int s = 0; s < 2; ++s) {  // 16 pixels: eight of a row and the eight below them.
      uint32_t b[4][2];
      HR_UNROLL for (int half = 0; half < 2; ++half) {
        const unsigned char* corner = picture + 2 * (2 * warp + half) * kPicturePitch + 2 * (8 * s + 2 * t) * 6;
        HR_UNROLL for (int j = 0; j < 4; ++j) b[j][half] = two_numbers(corner + offset[j], corner + 12 + offset[j]);
      }
      HR_UNROLL for (int m = 0; m < 4; ++m) {
        uint32_t a[4];
        const int pixel = (2 * warp + (matrix >> 1)) * 16 + 8 * s + r;
        load_matrices_transposed(a, rows + piece_at<64>(pixel, 2 * m + (matrix & 1)));
        HR_UNROLL for (int j = 0; j < 4; ++j) multiply_add(sums[m][j], a, b[j][0], b[j][1]);
      }
    }
    stage = 1 - stage;
    __syncthreads();
  }
  wait_for_copies<0>();
  __syncthreads();
  auto* all = reinterpret_cast<float*>(memory);  // [warp][channel][number].
  HR_UNROLL for (int m = 0; m < 4; ++m) {
    HR_UNROLL for (int j = 0; j < 4; ++j) {
      HR_UNROLL for (int i = 0; i < 4; ++i)
          all[warp * kStemSums + (16 * m + g + i / 2 * 8) * 32 + 8 * j + 2 * t + i % 2] = sums[m][j][i];
    }
  }
  __syncthreads();
  for (int i = thread; i < kStemSums; i += kStemThreads) {
    float sum = all[i];
    HR_UNROLL for (int other = 1; other < 8; ++other) sum += all[other * kStemSums + i];
    p.partial[static_cast<int64_t>(blockIdx.x) * kStemSums + i] = sum;
  }
}

static __global__ void __launch_bounds__(kSumThreads)
    stem_filter_sum_kernel(const StemFilterGradient p, float* filter) {
  __shared__ float strands[kSumStrands][32];
  const int lane = static_cast<int>(threadIdx.x) & 31, strand = static_cast<int>(threadIdx.x) >> 5;
  const int co = static_cast<int>(blockIdx.x);  // One block per channel, one lane per number.
  float sum = 0;
  HR_UNROLL_4 for (int b = strand; b < p.blocks; b += kSumStrands) sum += p.partial[b * kStemSums + co * 32 + lane];
  strands[strand][lane] = sum;
  __syncthreads();
  if (strand > 0 || lane >= 27) return;
  HR_UNROLL for (int other = 1; other < kSumStrands; ++other) sum += strands[other][lane];
  filter[co * 27 + lane] = sum;
}

}  // namespace hr::gpu
