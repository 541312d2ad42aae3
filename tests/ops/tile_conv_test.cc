// The kernels of ops/conv/tile_conv_kernels.cuh, compiled for the CPU. Every GPU thread is a fiber. What a warp does
// together (ldmatrix, mma) is done when its 32 fibers have requested it, by the tables of the PTX manual. Shared memory
// starts as NaN, and a copy arrives only when a fiber waits for it, so that a missing wait or barrier is noticed.
#include <gtest/gtest.h>
#include <ucontext.h>

#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "core/dtype.h"
#include "core/philox.h"
#include "ops/conv/tensor_core.h"
#include "ops/conv/tile_conv.h"
#include "ops/lanes.h"
#include "ops/launch_grid.h"

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's names
namespace {

struct Index {
  uint32_t x = 0, y = 0, z = 0;
};
Index threadIdx, blockIdx, gridDim;

struct Copy {
  void* to;
  const void* from;  // null: zeros
  size_t bytes;
};

// The states in which a fiber waits.
enum class State { ready, warp, block, done };
enum class Kind { load, load_transposed, multiply };

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
  std::deque<std::vector<Copy>> groups{1};  // the last one is still open
  static constexpr size_t kStack = 128 << 10;
};

std::vector<Fiber> fibers;
Fiber* current = nullptr;
ucontext_t scheduler;
std::vector<unsigned char> dynamic_memory;
std::function<void()> kernel_body;

void wait_as(State state) {
  current->state = state;
  swapcontext(&current->context, &scheduler);
}

void __syncthreads() { wait_as(State::block); }

float value_of(uint32_t word, int half) { return std::bit_cast<float>(half == 0 ? word << 16 : word & 0xffff0000u); }

// Does together what the 32 fibers from `first` on have requested.
void run_warp(size_t first) {
  const Kind kind = fibers[first].kind;
  for (size_t l = 0; l < 32; ++l) {
    if (fibers[first + l].state != State::warp || fibers[first + l].kind != kind)
      throw std::logic_error("the lanes of a warp have parted");
  }
  if (kind == Kind::multiply) {
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
  } else {
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

void enter() {
  kernel_body();
  current->state = State::done;
  swapcontext(&current->context, &scheduler);
}

// Calls kernel() for every thread of every block.
void launch(int blocks, int threads, size_t dynamic_bytes, const std::function<void()>& kernel) {
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
        for (size_t l = 0; l < 32; ++l) {
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

}  // namespace

namespace hr::gpu {

void load_matrices(uint32_t (&r)[4], const void* row) {
  current->kind = Kind::load, current->r = r, current->row = row;
  wait_as(State::warp);
}
void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  current->kind = Kind::load_transposed, current->r = r, current->row = row;
  wait_as(State::warp);
}
void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  current->kind = Kind::multiply, current->d = d, current->a = a, current->b0 = b0, current->b1 = b1;
  wait_as(State::warp);
}
void copy_16(void* shared, const void* global, bool valid) {
  current->groups.back().push_back({shared, valid ? global : nullptr, 16});
}
void copy_4(void* shared, const void* global, bool valid) {
  current->groups.back().push_back({shared, valid ? global : nullptr, 4});
}
void end_copy_group() { current->groups.emplace_back(); }
template <int Pending>
void wait_for_copies() {
  while (current->groups.size() > Pending + 1) {
    for (const Copy& c : current->groups.front()) {
      c.from != nullptr ? std::memcpy(c.to, c.from, c.bytes) : std::memset(c.to, 0, c.bytes);
    }
    current->groups.pop_front();
  }
}
unsigned char* dynamic_shared_memory() {
  return reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(dynamic_memory.data()) + 127) / 128 * 128);
}

}  // namespace hr::gpu

#define __global__
#define __launch_bounds__(...)
#define __shared__ static
// NOLINTEND(bugprone-reserved-identifier)
#include "ops/conv/stem_conv_kernels.cuh"
#include "ops/conv/tile_conv_kernels.cuh"

namespace hr {
namespace {

struct Case {
  int n, h, w, ci, co;
};

std::vector<bf16> random_numbers(int64_t count, uint64_t stream) {
  Philox rng(7, 0, stream);
  std::vector<bf16> v(static_cast<size_t>(count));
  for (bf16& x : v) x = static_cast<bf16>(static_cast<float>(rng.normal()));
  return v;
}

gpu::Tiles tiles_of(const Case& c, int rows, int columns) {
  return {c.n, c.h, c.w, (c.w + columns - 1) / columns, (c.h + rows - 1) / rows};
}

// Calls use(output pixel, input pixel, tap) for all pairs that a 3x3 convolution of padding 1 connects.
template <class Use>
void for_pairs(const Case& c, const Use& use) {
  for (int n = 0; n < c.n; ++n) {
    for (int y = 0; y < c.h; ++y) {
      for (int x = 0; x < c.w; ++x) {
        for (int ky = 0; ky < 3; ++ky) {
          for (int kx = 0; kx < 3; ++kx) {
            const int iy = y + ky - 1, ix = x + kx - 1;
            if (iy < 0 || iy >= c.h || ix < 0 || ix >= c.w) continue;
            use((int64_t{n} * c.h + y) * c.w + x, (int64_t{n} * c.h + iy) * c.w + ix, ky * 3 + kx);
          }
        }
      }
    }
  }
}

void expect_close(const std::vector<float>& actual, const std::vector<double>& expected, double relative) {
  double largest = 0, worst = 0;
  int64_t at = -1;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    const double off = std::abs(static_cast<double>(actual[i]) - expected[i]);
    if (!(off <= worst)) worst = off, at = static_cast<int64_t>(i);
  }
  EXPECT_LE(worst, relative * largest) << "worst at " << at << ": " << (at < 0 ? 0 : actual[at]) << ", expected "
                                       << (at < 0 ? 0 : expected[at]);
}

const std::vector<Case> kShapes{{1, 1, 1, 32, 32},   {2, 5, 7, 32, 32},   {1, 16, 16, 32, 32},
                                {1, 35, 17, 32, 32}, {3, 31, 15, 32, 32}, {1, 2, 48, 32, 32}};

template <class S>
void expect_forward_and_data_gradient(const Case& c, bool flipped, int epilogue) {
  constexpr int C = S::kChannels;
  SCOPED_TRACE(testing::Message() << "[" << c.n << ", " << c.h << ", " << c.w << ", " << C << "], flipped " << flipped
                                  << ", epilogue " << epilogue);
  const int64_t pixels = int64_t{c.n} * c.h * c.w;
  const std::vector<bf16> x = random_numbers(pixels * C, 1), filter = random_numbers(C * 9 * C, 2),
                          bias = random_numbers(C, 3), add = random_numbers(pixels * C, 4);
  std::vector<bf16> y(static_cast<size_t>(pixels * C), static_cast<bf16>(12345.0f));
  const bool biased = epilogue > 0, adds = epilogue > 1;
  const gpu::Tiles tiles = tiles_of(c, S::kRows, S::kColumns);
  const gpu::TileConv p{tiles,
                        tiles.n * tiles.across * tiles.down,
                        x.data(),
                        filter.data(),
                        biased ? bias.data() : nullptr,
                        adds ? add.data() : nullptr,
                        y.data(),
                        adds};
  // There are fewer blocks than tiles, so that blocks process several tiles.
  launch((p.count + 1) / 2, S::kThreads, S::kBytes,
         [&] { flipped ? gpu::tile_conv_kernel<S, true>(p) : gpu::tile_conv_kernel<S, false>(p); });

  std::vector<double> expected(y.size(), 0.0);
  for_pairs(c, [&](int64_t out, int64_t in, int tap) {
    for (int co = 0; co < C; ++co) {
      for (int ci = 0; ci < C; ++ci) {
        const double w = to_float(filter[(co * 9 + tap) * C + ci]);
        if (flipped) {
          expected[in * C + ci] += w * to_float(x[out * C + co]);
        } else {
          expected[out * C + co] += w * to_float(x[in * C + ci]);
        }
      }
    }
  });
  std::vector<float> actual;
  for (size_t i = 0; i < y.size(); ++i) {
    if (adds) expected[i] += to_float(add[i]);
    if (biased) expected[i] += to_float(bias[i % C]);
    if (adds) expected[i] = std::max(expected[i], 0.0);
    actual.push_back(to_float(y[i]));
  }
  expect_close(actual, expected, 0x1p-8);  // one rounding to bf16
}

TEST(TileConv, ForwardAndDataGradientAtEveryOddSizeAreAPlainLoops) {
  for (const Case& c : kShapes) {
    for (const int epilogue : {0, 1, 2}) {
      expect_forward_and_data_gradient<gpu::TileShape32>(c, false, epilogue);
    }
    expect_forward_and_data_gradient<gpu::TileShape32>(c, true, 0);
  }
}

TEST(TileConv, FilterGradientOfEveryPartIsAPlainLoops) {
  std::vector<Case> shapes = kShapes;
  shapes.push_back({2, 18, 9, 64, 32});
  shapes.push_back({1, 5, 20, 32, 96});
  for (const Case& c : shapes) {
    for (const int slots : {1, 3}) {
      SCOPED_TRACE(testing::Message() << "[" << c.n << ", " << c.h << ", " << c.w << ", " << c.ci << "] -> " << c.co
                                      << ", slots " << slots);
      const int64_t pixels = int64_t{c.n} * c.h * c.w;
      const std::vector<bf16> x = random_numbers(pixels * c.ci, 1), dy = random_numbers(pixels * c.co, 2);
      const int parts = c.ci / 32 * (c.co / 32);
      constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> partial(static_cast<size_t>(slots) * parts * gpu::kGradientQuads * 4, kPoison);
      std::vector<float> filter(static_cast<size_t>(c.co) * 9 * c.ci, kPoison);
      const gpu::Tiles tiles = tiles_of(c, gpu::kTile, gpu::kTile);
      const gpu::TileFilterGradient p{
          tiles, tiles.n * tiles.across * tiles.down, x.data(), dy.data(), c.ci, c.co, parts, slots, partial.data()};
      launch(parts * slots, gpu::kGradientThreads, gpu::kGradientBytes, [&] { gpu::tile_filter_gradient_kernel(p); });
      launch(parts * gpu::kGradientQuads / 32, gpu::kSumThreads, 0,
             [&] { gpu::tile_filter_sum_kernel(p, filter.data()); });

      std::vector<double> expected(filter.size(), 0.0);
      for_pairs(c, [&](int64_t out, int64_t in, int tap) {
        for (int co = 0; co < c.co; ++co) {
          for (int ci = 0; ci < c.ci; ++ci) {
            expected[(int64_t{co} * 9 + tap) * c.ci + ci] +=
                static_cast<double>(to_float(dy[out * c.co + co])) * to_float(x[in * c.ci + ci]);
          }
        }
      });
      expect_close(filter, expected, 1e-5);
    }
  }
}

TEST(TileConv, TheStemsForwardAndFilterGradientAreAPlainLoops) {
  for (const auto& [n, in_h, in_w] : {std::array{1, 2, 2}, {2, 9, 14}, {1, 33, 34}, {1, 64, 48}}) {
    for (const int epilogue : {0, 1}) {
      SCOPED_TRACE(testing::Message() << "[" << n << ", " << in_h << ", " << in_w << "], epilogue " << epilogue);
      const int h = (in_h + 1) / 2, w = (in_w + 1) / 2;
      const Case result{n, h, w, 3, 64};
      const std::vector<bf16> x = random_numbers(int64_t{n} * in_h * in_w * 3, 1), filter = random_numbers(64 * 27, 2),
                              bias = random_numbers(64, 3), dy = random_numbers(int64_t{n} * h * w * 64, 4);
      // Calls use(result's pixel, picture's pixel, tap).
      const auto for_taps = [&](const auto& use) {
        for (int64_t out = 0; out < int64_t{n} * h * w; ++out) {
          for (int tap = 0; tap < 9; ++tap) {
            const int64_t y = 2 * (out / w % h) + tap / 3 - 1, px = 2 * (out % w) + tap % 3 - 1;
            if (y >= 0 && y < in_h && px >= 0 && px < in_w) use(out, (out / w / h * in_h + y) * in_w + px, tap);
          }
        }
      };
      std::vector<bf16> y(dy.size(), static_cast<bf16>(12345.0f));
      const gpu::Tiles tiles = tiles_of(result, 16, 16);
      const int count = tiles.n * tiles.across * tiles.down;
      const gpu::StemConv p{
          tiles,    count,       in_h, in_w, x.data(), filter.data(), epilogue > 0 ? bias.data() : nullptr,
          y.data(), epilogue > 0};
      launch(count, gpu::kStemThreads, 0, [&] { gpu::stem_conv_kernel(p); });
      std::vector<double> expected(y.size(), 0.0), gradient(64 * 27, 0.0);
      for_taps([&](int64_t out, int64_t in, int tap) {
        for (int co = 0; co < 64; ++co) {
          for (int c = 0; c < 3; ++c) {
            expected[out * 64 + co] +=
                static_cast<double>(to_float(filter[co * 27 + tap * 3 + c])) * to_float(x[in * 3 + c]);
            gradient[co * 27 + tap * 3 + c] +=
                static_cast<double>(to_float(dy[out * 64 + co])) * to_float(x[in * 3 + c]);
          }
        }
      });
      std::vector<float> actual;
      for (size_t i = 0; i < y.size(); ++i) {
        if (epilogue > 0) expected[i] = std::max(0.0, expected[i] + to_float(bias[i % 64]));
        actual.push_back(to_float(y[i]));
      }
      expect_close(actual, expected, 0x1p-8);
      if (epilogue > 0) continue;

      const int blocks = (count + 1) / 2;
      constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> partial(static_cast<size_t>(blocks) * gpu::kStemSums, kPoison), made(64 * 27, kPoison);
      const gpu::StemFilterGradient q{tiles, count, in_h, in_w, x.data(), dy.data(), partial.data(), blocks};
      launch(blocks, gpu::kStemThreads, gpu::kStemGradientBytes, [&] { gpu::stem_filter_gradient_kernel(q); });
      launch(64, gpu::kSumThreads, 0, [&] { gpu::stem_filter_sum_kernel(q, made.data()); });
      expect_close(made, gradient, 1e-5);
    }
  }
}

}  // namespace
}  // namespace hr
