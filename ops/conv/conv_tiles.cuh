// The parts that our own convolution kernels share: tiles of pixels with their border, and copying them into shared
// memory (ops/conv/tile_conv_kernels.cuh, ops/conv/stem_conv_kernels.cuh).
#pragma once
#include "core/dtype.h"
#include "ops/conv/tensor_core.h"
#include "ops/lanes.h"

namespace hr::gpu {

// Returns where piece `c` (16 bytes, eight channels) of row `r` lies in shared memory. Rows have 32 or 64 channels. The
// pieces of a row are permuted so that the same piece of eight neighbouring rows falls into different banks.
template <int Channels>
HR_DEVICE int piece_at(int r, int c) {
  static_assert(Channels == 32 || Channels == 64);
  return Channels == 32 ? r * 64 + ((c ^ ((r >> 1) & 3)) << 4) : r * 128 + ((c ^ (r & 7)) << 4);
}

// The tiles of all images, numbered row by row.
struct Tiles {
  int n, h, w;
  int across, down;  // The number of tiles across and down an image.
};
struct TileOrigin {
  int n, y, x;
};
template <int Rows, int Columns>
HR_DEVICE TileOrigin origin_of(const Tiles& t, int index) {
  const int per_image = t.across * t.down, image = index / per_image, rest = index - image * per_image;
  const int row = rest / t.across;
  return {image, row * Rows, (rest - row * t.across) * Columns};
}

// Copies `Rows` x `Columns` pixels, beginning at (y, x), into shared memory: `Channels` of the `stride` channels of
// each. Pixels outside of the image become zeros.
template <int Channels, int Rows, int Columns>
HR_DEVICE void copy_pixels(unsigned char* shared, const bf16* from, const Tiles& t, int n, int y0, int x0, int stride,
                           int thread, int threads) {
  constexpr int kPieces = Channels / 8;
  for (int i = thread; i < Rows * Columns * kPieces; i += threads) {
    const int p = i / kPieces, c = i % kPieces, py = p / Columns, px = p - py * Columns;
    const int y = y0 + py, x = x0 + px;
    const bool inside = y >= 0 && y < t.h && x >= 0 && x < t.w;
    const int64_t pixel = inside ? (static_cast<int64_t>(n) * t.h + y) * t.w + x : 0;
    copy_16(shared + piece_at<Channels>(p, c), from + pixel * stride + c * 8, inside);
  }
}

// The kernels that add the sums of blocks: threads in a block, and parts of the sum that are added in order.
constexpr int kSumThreads = 256, kSumStrands = 8;

}  // namespace hr::gpu
