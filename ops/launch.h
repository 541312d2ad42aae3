// How many GPU threads run what: plain functions, tested on the CPU. A block is threads_x groups of neighbouring
// channels by threads_y rows, so that a warp touches consecutive memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace hr {

// Rows per block of a reduction, on every device: sums come out with the same bits whatever the number of threads.
constexpr int64_t kBlockRows = 256;

constexpr int kThreads = 256;             // per block
constexpr int64_t kGridCap = 4224;        // 32 blocks for each of 132 multiprocessors; the rest is a loop in the kernel
constexpr int64_t kGridMax = 2147483647;  // of gridDim.x

struct RowsLaunch {
  uint32_t blocks = 0, threads_x = 1, threads_y = 1;
  int lanes = 1;  // channels per thread and access
};

// Channels that one 16-byte access holds, where rows start at multiples of it; else 2 or 1.
constexpr int lanes_for(int64_t channels, size_t element_bytes) {
  const auto full = static_cast<int>(16 / element_bytes);
  return channels % full == 0 ? full : channels % 2 == 0 ? 2 : 1;
}

// Every row exactly once: row = block * threads_y + y, then in strides of blocks * threads_y.
constexpr RowsLaunch launch_rows(int64_t rows, int64_t channels, size_t element_bytes) {
  RowsLaunch l{.lanes = lanes_for(channels, element_bytes)};
  const int64_t groups = channels / l.lanes;
  l.threads_x = static_cast<uint32_t>(std::min<int64_t>(groups, kThreads));
  l.threads_y = kThreads / l.threads_x;
  const int64_t blocks = (rows + l.threads_y - 1) / l.threads_y;
  l.blocks = static_cast<uint32_t>(std::min(blocks, kGridCap));
  return l;
}

// One block per kBlockRows rows.
constexpr RowsLaunch launch_reduction(int64_t rows, int64_t channels, size_t element_bytes) {
  RowsLaunch l = launch_rows(rows, channels, element_bytes);
  l.blocks = static_cast<uint32_t>((rows + kBlockRows - 1) / kBlockRows);
  return l;
}

// One thread per `lanes` elements of a flat array, then a grid stride; the tail of n % lanes goes to one more thread
// each.
struct FlatLaunch {
  uint32_t blocks = 0, threads = kThreads;
};
constexpr FlatLaunch launch_flat(int64_t n, int lanes) {
  const int64_t work = n / lanes + n % lanes;
  return {.blocks = static_cast<uint32_t>(std::min((work + kThreads - 1) / kThreads, kGridCap))};
}

// Columns: 32 channels by 8 strands of parts per block.
constexpr int kColumnThreads = 32, kColumnStrands = 8;
constexpr uint32_t launch_columns(int64_t channels) {
  return static_cast<uint32_t>((channels + kColumnThreads - 1) / kColumnThreads);
}

}  // namespace hr
