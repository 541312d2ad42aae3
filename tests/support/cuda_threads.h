// The CUDA loops, compiled for the CPU: one thread for every thread of a block, a barrier for __syncthreads, one block
// after the other. The index arithmetic and the order of the sums are those of a GPU, only the speed is not. All test
// files of a program that include this share CUDA's names, because the linker keeps one copy of each kernel.
#pragma once
#include <gtest/gtest.h>

#include <barrier>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "ops/for_each.h"
#include "ops/kernel.h"
#include "tests/support/tensors.h"

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
struct Index {
  uint32_t x = 0, y = 0, z = 0;
};
inline thread_local Index threadIdx;
inline Index blockIdx, blockDim, gridDim;
inline std::barrier<>* block_barrier = nullptr;
inline void __syncthreads() { block_barrier->arrive_and_wait(); }
// The kernel in front of the one that runs. It runs when the first thread waits for it, which is as late as possible.
inline std::function<void()> predecessor;
inline std::mutex predecessor_mutex;
inline int waits = 0, next_starts = 0;
inline void cudaGridDependencySynchronize() {
  const std::lock_guard lock(predecessor_mutex);
  ++waits;
  if (predecessor) std::exchange(predecessor, nullptr)();
}
inline void cudaTriggerProgrammaticLaunchCompletion() {
  const std::lock_guard lock(predecessor_mutex);
  ++next_starts;
}
#define __device__
#define __global__
#define __launch_bounds__(...)
#define __shared__ static
// NOLINTEND(bugprone-reserved-identifier)
#include "ops/loops_kernels.cuh"

namespace hr {
namespace {

using test::Values;

// Calls kernel() for every thread of every block. `barriers`: the kernel waits for its block.
template <class Kernel>
void launch(uint32_t blocks, Index threads, bool barriers, const Kernel& kernel) {
  gridDim = {blocks, 1, 1};
  blockDim = threads;
  const uint32_t count = threads.x * threads.y;
  if (!barriers) {
    for (blockIdx = {}; blockIdx.x < blocks; ++blockIdx.x) {
      for (uint32_t t = 0; t < count; ++t) {
        threadIdx = {t % threads.x, t / threads.x, 0};
        kernel();
      }
    }
    return;
  }
  std::barrier<> barrier(count);
  block_barrier = &barrier;
  blockIdx = {};
  std::vector<std::thread> team;
  for (uint32_t t = 0; t < count; ++t) {
    team.emplace_back([&, t] {
      threadIdx = {t % threads.x, t / threads.x, 0};
      for (uint32_t b = 0; b < blocks; ++b) {
        if (t == 0) blockIdx.x = b;
        barrier.arrive_and_wait();
        kernel();
        barrier.arrive_and_wait();
      }
    });
  }
  for (std::thread& t : team) t.join();
  block_barrier = nullptr;
}

template <class F, class Body>
void for_lanes(int lanes, const Body& body) {
  constexpr int kFull = static_cast<int>(16 / sizeof(typename F::Element));
  if (lanes == kFull) return body.template operator()<kFull>();
  ASSERT_TRUE(lanes == 2 || lanes == 1);
  if (lanes == 2) return body.template operator()<2>();
  body.template operator()<1>();
}

// The launches of ops/for_each.cuh.
struct Way {
  bool reverse = false, keep = false;
  int flags = 0;
  int64_t most = kGridCap;  // blocks
};
template <class F>
void gpu_for_each(int64_t rows, int64_t channels, const F& f, Way way = {}) {
  const RowsLaunch l = launch_rows(rows, channels, sizeof(typename F::Element), gpu::detail::kRowsAtOnce<F>, way.most);
  for_lanes<F>(l.lanes, [&]<int N>() {
    launch(l.blocks, {l.threads_x, l.threads_y}, false, [&] {
      auto kernel = way.reverse ? gpu::detail::for_each_kernel<F, N, true, false>
                                : gpu::detail::for_each_kernel<F, N, false, false>;
      if constexpr (keeps_coefficients<F>) {
        if (way.keep)
          kernel = way.reverse ? gpu::detail::for_each_kernel<F, N, true, true>
                               : gpu::detail::for_each_kernel<F, N, false, true>;
      }
      kernel(f, rows, static_cast<int>(channels), way.flags);
    });
  });
}
template <class F>
std::vector<float> gpu_reduce_rows(int64_t rows, int64_t channels, const F& f, int flags = 0) {
  const RowsLaunch l = launch_reduction(rows, channels, sizeof(typename F::Element));
  std::vector<float> partial(l.blocks * F::kSums * channels, -1);
  for_lanes<F>(l.lanes, [&]<int N>() {
    launch(l.blocks, {l.threads_x, l.threads_y}, true, [&] {
      gpu::detail::reduce_rows_kernel<F, N>(f, rows, static_cast<int>(block_rows(rows)), static_cast<int>(channels),
                                            flags, partial.data());
    });
  });
  return partial;
}
template <class F>
void gpu_for_columns(int64_t parts, int64_t channels, const F& f, int flags = 0) {
  const ColumnsLaunch l = launch_columns(parts, channels);
  launch(l.blocks, {kColumnThreads, l.strands}, true,
         [&] { gpu::detail::for_columns_kernel<F>(f, parts, static_cast<int>(channels), flags); });
}
template <class F>
void gpu_for_each_flat(int64_t n, const F& f, int flags = 0) {
  constexpr int kFull = static_cast<int>(16 / sizeof(typename F::Element));
  const FlatLaunch l = launch_flat(n, kFull);
  launch(l.blocks, {l.threads, 1}, false, [&] { gpu::detail::for_each_flat_kernel<F, kFull>(f, n, flags); });
}

template <class T>
std::vector<T> random(int64_t n, uint64_t seed) {
  std::vector<T> v;
  for (const double x : test::random_values(n, seed)) v.push_back(from_float<T>(static_cast<float>(x)));
  return v;
}
template <class T>
Values numbers(const std::vector<T>& v) {
  Values d;
  for (const T x : v) d.push_back(to_float(x));
  return d;
}

// Counts how often every (row, channel) is visited.
struct Count {
  using Element = float;
  int* seen;
  int64_t channels;
  int64_t row(int64_t r) const { return r * channels; }
  template <class V>
  void one(int64_t at, int64_t c) const {
    for (int i = 0; i < Lanes<V>::kCount; ++i) ++seen[at + c + i];
  }
};

}  // namespace
}  // namespace hr
