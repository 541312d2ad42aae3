// Runs the kernels of ops/conv/tile_conv_kernels.cuh and ops/conv/stem_conv_kernels.cuh on the CPU. Every GPU thread is
// a fiber. What a warp does together (ldmatrix, mma, shfl) is done when its 32 fibers have requested it, by the tables
// of the PTX manual. Shared memory starts as NaN, and a copy arrives only when a fiber waits for it, so that a missing
// wait or barrier is noticed. Include this once in a file, after all other headers.
#pragma once
#include <gtest/gtest.h>
#include <ucontext.h>

#include <bit>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "ops/conv/tensor_core.h"

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
struct Index {
  uint32_t x = 0, y = 0, z = 0;
};
inline Index threadIdx, blockIdx, gridDim;

namespace simulated_warps {

struct Copy {
  void* to;
  const void* from;  // null: zeros
  size_t bytes;
};

// The states in which a fiber waits.
enum class State { ready, warp, block, done };
enum class Kind { load, load_transposed, multiply, exchange, synchronize };

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStack);
  State state = State::ready;
  Kind kind = Kind::load;
  uint32_t* r = nullptr;
  const void* row = nullptr;
  float* d = nullptr;
  const uint32_t* a = nullptr;
  uint32_t b0 = 0, b1 = 0;
  float own = 0, received = 0;
  int mask = 0;
  std::deque<std::vector<Copy>> groups{1};  // the last one is still open
  static constexpr size_t kStack = 128 << 10;
};

inline std::vector<Fiber> fibers;
inline Fiber* current = nullptr;
inline ucontext_t scheduler;
inline std::vector<unsigned char> dynamic_memory;
inline std::function<void()> kernel_body;

inline void wait_as(State state) {
  current->state = state;
  swapcontext(&current->context, &scheduler);
}

inline float value_of(uint32_t word, int half) {
  return std::bit_cast<float>(half == 0 ? word << 16 : word & 0xffff0000u);
}

// Does together what the 32 fibers from `first` on have requested.
inline void run_warp(size_t first) {
  const Kind kind = fibers[first].kind;
  for (size_t l = 0; l < 32; ++l) {
    if (fibers[first + l].state != State::warp || fibers[first + l].kind != kind)
      throw std::logic_error("the lanes of a warp have parted");
  }
  if (kind == Kind::exchange) {
    for (size_t l = 0; l < 32; ++l) fibers[first + l].received = fibers[first + (l ^ fibers[first + l].mask)].own;
  } else if (kind == Kind::multiply) {
    float a[16][16], b[16][8];
    for (int l = 0; l < 32; ++l) {
      const Fiber& f = fibers[first + l];
      const int g = l / 4, t = l % 4;
      for (int half = 0; half < 2; ++half) {
        a[g][2 * t + half] = value_of(f.a[0], half);
        a[g + 8][2 * t + half] = value_of(f.a[1], half);
        a[g][2 * t + 8 + half] = value_of(f.a[2], half);
        a[g + 8][2 * t + 8 + half] = value_of(f.a[3], half);
        b[2 * t + half][g] = value_of(f.b0, half);
        b[2 * t + 8 + half][g] = value_of(f.b1, half);
      }
    }
    for (int l = 0; l < 32; ++l) {
      float* d = fibers[first + l].d;
      for (int i = 0; i < 4; ++i) {
        const int row = l / 4 + i / 2 * 8, column = 2 * (l % 4) + i % 2;
        for (int k = 0; k < 16; ++k) d[i] += a[row][k] * b[k][column];
      }
    }
  } else if (kind != Kind::synchronize) {
    uint16_t matrix[4][8][8];
    for (int l = 0; l < 32; ++l) {
      if (reinterpret_cast<uintptr_t>(fibers[first + l].row) % 16 != 0) throw std::logic_error("a row is not aligned");
      std::memcpy(matrix[l / 8][l % 8], fibers[first + l].row, 16);
    }
    for (int l = 0; l < 32; ++l) {
      for (int m = 0; m < 4; ++m) {
        const int i = l / 4, j = 2 * (l % 4);
        const bool transposed = kind == Kind::load_transposed;
        const uint32_t low = transposed ? matrix[m][j][i] : matrix[m][i][j],
                       high = transposed ? matrix[m][j + 1][i] : matrix[m][i][j + 1];
        fibers[first + l].r[m] = low | high << 16;
      }
    }
  }
  for (size_t l = 0; l < 32; ++l) fibers[first + l].state = State::ready;
}

inline void enter() {
  kernel_body();
  current->state = State::done;
  swapcontext(&current->context, &scheduler);
}

// Calls kernel() for every thread of every block.
inline void launch(int blocks, int threads, size_t dynamic_bytes, const std::function<void()>& kernel) {
  kernel_body = kernel;
  gridDim.x = static_cast<uint32_t>(blocks);
  for (blockIdx = {}; static_cast<int>(blockIdx.x) < blocks; ++blockIdx.x) {
    dynamic_memory.assign(dynamic_bytes + 128, 0xff);
    fibers.clear();
    fibers.resize(threads);
    for (Fiber& f : fibers) {
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack.get();
      f.context.uc_stack.ss_size = Fiber::kStack;
      makecontext(&f.context, enter, 0);
    }
    for (bool any = true; any;) {
      any = false;
      for (size_t warp = 0; warp < fibers.size(); warp += 32) {
        bool together = true;
        for (size_t i = 0; i < 32; ++i) {
          // The lanes of every second warp run in the opposite order, so that a missing barrier of a warp is noticed.
          const size_t l = warp % 64 == 0 ? i : 31 - i;
          current = &fibers[warp + l];
          threadIdx.x = static_cast<uint32_t>(warp + l);
          while (current->state == State::ready) swapcontext(&scheduler, &current->context), any = true;
          together = together && current->state == State::warp;
        }
        if (together) run_warp(warp), any = true;
      }
      if (any) continue;
      for (Fiber& f : fibers) {
        if (f.state == State::block) f.state = State::ready, any = true;
      }
    }
    for (const Fiber& f : fibers) ASSERT_EQ(f.state, State::done) << "a thread waits for ever";
  }
}

}  // namespace simulated_warps

inline void __syncthreads() { simulated_warps::wait_as(simulated_warps::State::block); }

namespace hr::gpu {

inline void load_matrices(uint32_t (&r)[4], const void* row) {
  simulated_warps::Fiber& f = *simulated_warps::current;
  f.kind = simulated_warps::Kind::load, f.r = r, f.row = row;
  simulated_warps::wait_as(simulated_warps::State::warp);
}
inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  simulated_warps::Fiber& f = *simulated_warps::current;
  f.kind = simulated_warps::Kind::load_transposed, f.r = r, f.row = row;
  simulated_warps::wait_as(simulated_warps::State::warp);
}
inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  simulated_warps::Fiber& f = *simulated_warps::current;
  f.kind = simulated_warps::Kind::multiply, f.d = d, f.a = a, f.b0 = b0, f.b1 = b1;
  simulated_warps::wait_as(simulated_warps::State::warp);
}
inline float exchange(float own, int mask) {
  simulated_warps::Fiber& f = *simulated_warps::current;
  f.kind = simulated_warps::Kind::exchange, f.own = own, f.mask = mask;
  simulated_warps::wait_as(simulated_warps::State::warp);
  return f.received;
}
inline void synchronize_warp() {
  simulated_warps::current->kind = simulated_warps::Kind::synchronize;
  simulated_warps::wait_as(simulated_warps::State::warp);
}
inline void copy_16(void* shared, const void* global, bool valid) {
  simulated_warps::current->groups.back().push_back({shared, valid ? global : nullptr, 16});
}
inline void copy_4(void* shared, const void* global, bool valid) {
  simulated_warps::current->groups.back().push_back({shared, valid ? global : nullptr, 4});
}
inline void end_copy_group() { simulated_warps::current->groups.emplace_back(); }
template <int Pending>
void wait_for_copies() {
  auto& groups = simulated_warps::current->groups;
  while (groups.size() > Pending + 1) {
    for (const simulated_warps::Copy& c : groups.front()) {
      c.from != nullptr ? std::memcpy(c.to, c.from, c.bytes) : std::memset(c.to, 0, c.bytes);
    }
    groups.pop_front();
  }
}
inline unsigned char* dynamic_shared_memory() {
  const auto begin = reinterpret_cast<uintptr_t>(simulated_warps::dynamic_memory.data());
  return reinterpret_cast<unsigned char*>((begin + 127) / 128 * 128);
}

}  // namespace hr::gpu

#define __global__ __attribute__((unused))
#define __launch_bounds__(...)
#define __shared__ static
// NOLINTEND(bugprone-reserved-identifier)
