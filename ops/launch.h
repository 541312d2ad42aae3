// How many GPU threads run what: plain functions, tested on the CPU. A block is threads_x groups of neighbouring
// channels by threads_y rows, so that a warp touches consecutive memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace hr {

// Rows per block of a reduction on the CPU, a power of two that the number of rows alone decides: sums come out with
// the same bits whatever the number of threads. At most 1,024 rows, so that sums in float32 stay short.
constexpr int64_t block_rows(int64_t rows) {
  int64_t block = 64;
  while (block < 1024 && block * 512 < rows) block *= 2;
  return block;
}

// How a reduction's rows are dealt to blocks: block b takes the runs of `run` rows that begin at (b + k * count) * run.
// A block on the CPU has one run. On a GPU all blocks work at once, and together they walk through memory from its
// beginning to its end.
struct RowBlocks {
  int64_t rows, count, run;
  constexpr RowBlocks(int64_t all, int64_t blocks, int64_t each) : rows(all), count(blocks), run(each) {
    const int64_t before = all / (blocks * each) * each;  // rows of each block in whole rounds
    const int64_t rest = all % (blocks * each);           // rows of the last round, which is less than a whole one
    full_ = rest / each;
    many_ = static_cast<double>(before + each);
    middle_ = static_cast<double>(before + rest % each);
    few_ = static_cast<double>(before);
  }
  // Rows of a block.
  constexpr double rows_of(int64_t block) const { return block < full_ ? many_ : block == full_ ? middle_ : few_; }

 private:
  int64_t full_ = 0;                        // blocks that have a whole run in the last round
  double many_ = 0, middle_ = 0, few_ = 0;  // rows of these, of the one after them, and of the others
};
constexpr RowBlocks row_blocks(int64_t rows) {
  const int64_t each = block_rows(rows);
  return {rows, (rows + each - 1) / each, each};
}

constexpr int kThreads = 256;             // per block
constexpr int64_t kProcessors = 132;  // of an H100 or H200. Sums may depend on it, so it is not asked of the device.
constexpr int64_t kGridCap = 4224;    // 32 blocks for each of them; the rest is a loop in the kernel
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

// Every row exactly once: row = block * threads_y + y, then in strides of blocks * threads_y. No more than `cap`
// blocks: where a thread loads coefficients before its loop, as many as the device holds at once, so that it has many
// rows.
constexpr RowsLaunch launch_rows(int64_t rows, int64_t channels, size_t element_bytes, int64_t cap = kGridCap) {
  RowsLaunch l{.lanes = lanes_for(channels, element_bytes)};
  const int64_t groups = channels / l.lanes;
  l.threads_x = static_cast<uint32_t>(std::min<int64_t>(groups, kThreads));
  l.threads_y = kThreads / l.threads_x;
  const int64_t each = l.threads_y, blocks = (rows + each - 1) / each;
  l.blocks = static_cast<uint32_t>(std::min(blocks, cap));
  return l;
}

// Blocks of a reduction that the device holds at once: 128 registers a thread, and little to be merged.
constexpr int64_t kReductionBlocks = 256;
// A thread sums no more rows than this, so that sums in float32 stay short.
constexpr int64_t kRowsPerThread = 1024;
// Channels whose sums one block merges in the end: 64 bytes of a row in bf16. More would take one block too long.
constexpr int64_t kMergedChannels = 32;

// `blocks` by `groups` of `width` neighbouring channels, the last of which may be fewer.
struct ReductionLaunch {
  uint32_t blocks = 0, groups = 1, threads_x = 1, threads_y = 1;
  int lanes = 1, width = 1;
  constexpr RowBlocks row_blocks(int64_t rows) const { return {rows, blocks, threads_y}; }
};
constexpr ReductionLaunch launch_reduction(int64_t rows, int64_t channels, size_t element_bytes) {
  ReductionLaunch l{.lanes = lanes_for(channels, element_bytes)};
  const int64_t width = channels <= kMergedChannels * 3 / 2 ? channels : kMergedChannels;
  const int64_t groups = (channels + width - 1) / width;
  l.width = static_cast<int>(width);
  l.groups = static_cast<uint32_t>(groups);
  l.threads_x = static_cast<uint32_t>(width / l.lanes);
  l.threads_y = kThreads / l.threads_x;
  const int64_t each = l.threads_y, runs = (rows + each - 1) / each;
  const int64_t wanted =
      std::max({int64_t{1}, kReductionBlocks / groups, (runs + kRowsPerThread - 1) / kRowsPerThread});
  l.blocks = static_cast<uint32_t>(std::min(runs, wanted));
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

// Columns: 16 channels by up to 64 strands of parts per block. Many short strands, because a strand is a chain of
// dependent sums in double, and a step waits for it.
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
