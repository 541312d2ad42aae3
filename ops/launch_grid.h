// Divides work among GPU threads. These are plain functions, which are tested on the CPU. A block has threads_x groups
// of neighbouring channels by threads_y rows, so that a warp touches consecutive memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace hr {

// Returns the rows per block of a reduction. It is a power of two that depends only on the number of rows, on every
// device, so that sums have the same bits with any number of threads. The aim is about 512 blocks, which 132
// multiprocessors hold at once. With fewer, some would be idle. With more, merging the sums, which one block does,
// would take as long as the reduction. A block has at most 1,024 rows, so that sums in float32 stay short.
constexpr int64_t block_rows(int64_t rows) {
  int64_t block = 64;
  while (block < 1024 && block * 512 < rows) block *= 2;
  return block;
}

constexpr int kThreads = 256;             // Per block.
constexpr int64_t kGridCap = 4224;        // 32 blocks for each of 132 multiprocessors. The kernels loop over the rest.
constexpr int64_t kGridMax = 2147483647;  // The limit of gridDim.x.

// A loop whose threads keep the coefficients of their channels has a grid that is resident as a whole, so that each
// thread has many rows: this many blocks for each of 132 multiprocessors.
constexpr int kKeepingBlocks = 3;
constexpr int64_t kKeepingGrid = 132 * kKeepingBlocks;

// Flags of a launch.
constexpr int kReverse = 1;     // The blocks of a reduction are taken from the last to the first.
constexpr int kStartsNext = 2;  // The next kernel of the stream may be launched as soon as all blocks have begun.

struct RowsLaunch {
  uint32_t blocks = 0, threads_x = 1, threads_y = 1;
  int lanes = 1;  // Channels per thread and access.
};

// Returns the number of channels in one 16-byte access if rows start at multiples of it, otherwise 2 or 1.
constexpr int lanes_for(int64_t channels, size_t element_bytes) {
  const auto full = static_cast<int>(16 / element_bytes);
  return channels % full == 0 ? full : channels % 2 == 0 ? 2 : 1;
}

// Every row is visited exactly once: row = block * threads_y + y, then in strides of blocks * threads_y. `ahead` is the
// number of rows that a thread processes at once, `most` the largest grid.
constexpr RowsLaunch launch_rows(int64_t rows, int64_t channels, size_t element_bytes, int ahead = 1,
                                 int64_t most = kGridCap) {
  RowsLaunch l{.lanes = lanes_for(channels, element_bytes)};
  const int64_t groups = channels / l.lanes;
  l.threads_x = static_cast<uint32_t>(std::min<int64_t>(groups, kThreads));
  l.threads_y = kThreads / l.threads_x;
  const int64_t each = int64_t{l.threads_y} * ahead, blocks = (rows + each - 1) / each;
  l.blocks = static_cast<uint32_t>(std::min(blocks, most));
  return l;
}

// One block per block_rows(rows) rows.
constexpr RowsLaunch launch_reduction(int64_t rows, int64_t channels, size_t element_bytes) {
  RowsLaunch l = launch_rows(rows, channels, element_bytes);
  l.blocks = static_cast<uint32_t>((rows + block_rows(rows) - 1) / block_rows(rows));
  return l;
}

// One thread per `lanes` elements of a flat array, then a grid stride. Each of the last n % lanes elements gets a
// thread of its own.
struct FlatLaunch {
  uint32_t blocks = 0, threads = kThreads;
};
constexpr FlatLaunch launch_flat(int64_t n, int lanes) {
  const int64_t work = n / lanes + n % lanes;
  return {.blocks = static_cast<uint32_t>(std::min((work + kThreads - 1) / kThreads, kGridCap))};
}

// Columns: a block has 16 channels by up to 64 strands of parts. Many short strands are used because a strand is a
// chain of dependent sums in double, for which a step has to wait.
constexpr int kColumnThreads = 16, kColumnStrands = 64;
struct ColumnsLaunch {
  uint32_t blocks = 0, strands = 1;
};
constexpr ColumnsLaunch launch_columns(int64_t parts, int64_t channels) {
  ColumnsLaunch l{.blocks = static_cast<uint32_t>((channels + kColumnThreads - 1) / kColumnThreads)};
  while (l.strands < kColumnStrands && l.strands < parts) l.strands *= 2;
  return l;
}

}  // namespace hr
