// The loops of ops/for_each.h as CUDA kernels. Their launch parameters come from ops/launch_grid.h.
// tests/gpu_loops/loops_test.cc compiles this file for the CPU, with one CPU thread per CUDA thread. Therefore it may
// only use the built-in variables, __shared__, __syncthreads() and the two functions of wait_for_predecessor() of CUDA.
#pragma once
#include "ops/kernel.h"

namespace hr::gpu {
namespace detail {

// The first thing that every kernel does. A kernel that was launched before the one in front of it has ended must not
// touch memory before that has (programmatic dependent launch, core/gpu_switches.h); in other launches the wait returns
// at once. With kStartsNext the next kernel may be launched from now on, otherwise when the blocks end.
__device__ inline void wait_for_predecessor(int flags) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  if ((flags & kStartsNext) != 0) cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// The value type of a thread: Floats<N>, or a float for a single channel.
template <int N>
struct ValueOf {
  using type = Floats<N>;
};
template <>
struct ValueOf<1> {
  using type = float;
};

// The number of rows that a thread processes at once.
template <class F>
inline constexpr int kRowsAtOnce = rows_ahead<F> > 0 ? rows_ahead<F> : 1;

struct NoCoefficients {};
template <class V, bool Keep, class F>
HR_HD auto kept_coefficients(const F& f, int64_t c) {
  if constexpr (Keep) {
    return f.template coefficients<V>(c);
  } else {
    return NoCoefficients();
  }
}

// Calls use(one) for the rows row, row + stride, ... below `end`, kRowsAtOnce<F> of them at once, with all reads before
// the first use. one(terms...) applies the functor to a row. Groups contain only existing rows. With a bounds check
// inside the group the compiler would delay each load until after its check, and the loads would no longer overlap.
// If Reverse, the rows are row, row - stride, ... down to 0. This is a parameter of the template, because a direction
// in a register made two functors spill. If Keep, the coefficients are loaded once (ops/kernel.h).
template <class V, bool Reverse, bool Keep, class F, class Use>
HR_HD void for_rows(const F& f, int64_t row, int64_t stride, int64_t end, int64_t c, const Use& use) {
  // As an unsigned number a negative row is above `end`. (A comparison with 0 made one functor spill.)
  const auto exists = [&](int64_t r) {
    return Reverse ? static_cast<uint64_t>(r) < static_cast<uint64_t>(end) : r < end;
  };
  const int64_t step = Reverse ? -stride : stride;
  const auto kept = kept_coefficients<V, Keep>(f, c);
  // Processes one row that was read already.
  const auto finish = [&](const auto& at, const auto& in, auto*... terms) {
    if constexpr (Keep) {
      f.template one<V>(at, c, in, kept, terms...);
    } else {
      run_read<V>(f, at, c, in, terms...);
    }
  };
  constexpr int kRows = kRowsAtOnce<F>;
  if constexpr (kRows > 1) {
    for (; exists(row + (kRows - 1) * step); row += kRows * step) {
      decltype(f.row(row)) at[kRows];
      decltype(f.template read<V>(at[0], c)) in[kRows];
      HR_UNROLL for (int u = 0; u < kRows; ++u) {
        at[u] = f.row(row + u * step);
        in[u] = f.template read<V>(at[u], c);
      }
      HR_UNROLL for (int u = 0; u < kRows; ++u) {
        use([&](auto*... terms) { finish(at[u], in[u], terms...); });
      }
    }
  }
  for (; exists(row); row += step) {
    const auto at = f.row(row);
    use([&](auto*... terms) {
      if constexpr (rows_ahead < F >> 0) {
        finish(at, f.template read<V>(at, c), terms...);
      } else {
        f.template one<V>(at, c, terms...);
      }
    });
  }
}

template <class F, int N, bool Reverse, bool Keep>
// Allows 64 registers. The compiler would choose 40, with which some functors spill. A thread that keeps coefficients
// may have 80.
__global__ void __launch_bounds__(kThreads, Keep ? kKeepingBlocks : 4)
    for_each_kernel(const F f, int64_t rows, int channels, int flags) {
  using V = typename ValueOf<N>::type;
  wait_for_predecessor(flags);
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.y;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  for (int c = static_cast<int>(threadIdx.x) * N; c < channels; c += static_cast<int>(blockDim.x) * N)
    for_rows<V, Reverse, Keep>(f, Reverse ? rows - 1 - first : first, stride, rows, c, [](const auto& one) { one(); });
}

// Each thread sums every blockDim.y-th row of the block. The strands of one channel group are then added pairwise, in
// an order that depends only on the shape of the block.
template <class F, int N>
// Allows 80 registers. The compiler would choose 40, with which some functors spill.
__global__ void __launch_bounds__(kThreads, 3)
    reduce_rows_kernel(const F f, int64_t rows, int block, int channels, int flags, float* __restrict__ partial) {
  using V = typename ValueOf<N>::type;
  __shared__ float strands[F::kSums * N * kThreads];
  wait_for_predecessor(flags);
  // Only the order of the blocks is reversed. That of the rows within a block decides how the sums are rounded.
  const unsigned part = (flags & kReverse) != 0 ? gridDim.x - 1 - blockIdx.x : blockIdx.x;
  const int64_t begin = static_cast<int64_t>(part) * block;
  const int64_t end = begin + block < rows ? begin + block : rows;
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  for (int first = 0; first < channels; first += static_cast<int>(blockDim.x) * N) {
    const int c = first + static_cast<int>(threadIdx.x) * N;
    V sums[F::kSums];
    HR_UNROLL for (int s = 0; s < F::kSums; ++s) sums[s] = Lanes<V>::fill(0);
    if (c < channels) {
      for_rows<V, false, keeps_coefficients<F>>(f, begin + threadIdx.y, blockDim.y, end, c, [&](const auto& one) {
        V terms[F::kSums];
        one(terms);
        HR_UNROLL for (int s = 0; s < F::kSums; ++s) sums[s] += terms[s];
      });
    }
    // The layout is [sum][lane][thread], which puts neighbouring threads on neighbouring banks.
    HR_UNROLL for (int s = 0; s < F::kSums; ++s) {
      HR_UNROLL for (int i = 0; i < N; ++i) strands[(s * N + i) * kThreads + thread] = lane(sums[s], i);
    }
    __syncthreads();
    for (int have = static_cast<int>(blockDim.y); have > 1;) {
      const int half = (have + 1) / 2;
      if (static_cast<int>(threadIdx.y) < have - half) {
        const int other = thread + half * static_cast<int>(blockDim.x);
        HR_UNROLL for (int i = 0; i < F::kSums * N; ++i) strands[i * kThreads + thread] +=
            strands[i * kThreads + other];
      }
      have = half;
      __syncthreads();
    }
    if (threadIdx.y == 0 && c < channels) {
      HR_UNROLL for (int s = 0; s < F::kSums; ++s) {
        float* out = partial + (static_cast<int64_t>(part) * F::kSums + s) * channels + c;
        V total;
        HR_UNROLL for (int i = 0; i < N; ++i) set_lane(total, i, strands[(s * N + i) * kThreads + thread]);
        store<V>(out, total);
      }
    }
    __syncthreads();  // All threads must have read the strands before the next channels overwrite them.
  }
}

template <class F>
__global__ void __launch_bounds__(kColumnThreads* kColumnStrands)
    for_columns_kernel(const F f, int64_t parts, int channels, int flags) {
  using State = typename F::State;
  wait_for_predecessor(flags);
  alignas(State) __shared__ unsigned char memory[sizeof(State) * kColumnThreads * kColumnStrands];
  State* states = reinterpret_cast<State*>(memory);
  const int c = static_cast<int>(blockIdx.x) * kColumnThreads + static_cast<int>(threadIdx.x);
  const int y = static_cast<int>(threadIdx.y), strands = static_cast<int>(blockDim.y);
  State& mine = states[y * kColumnThreads + static_cast<int>(threadIdx.x)];
  // Each strand (the threads of one threadIdx.y) adds a run of consecutive parts. Then the sums of neighbouring strands
  // are added pairwise. If there are fewer runs than strands, the last strands have nothing to add.
  const int64_t run = (parts + strands - 1) / strands;
  const int64_t begin = y * run, end = begin + run < parts ? begin + run : parts;
  if (c < channels && begin < end) {
    State state = f.part(begin, c);
    HR_UNROLL_4 for (int64_t b = begin + 1; b < end; ++b) state.add(f.part(b, c));
    mine = state;
  }
  for (int step = 1; step < strands; step *= 2) {
    __syncthreads();
    if (c < channels && y % (2 * step) == 0 && (y + step) * run < parts)
      mine.add(states[(y + step) * kColumnThreads + static_cast<int>(threadIdx.x)]);
  }
  if (y == 0 && c < channels) f.finish(c, mine);
}

template <class F, int N>
__global__ void __launch_bounds__(kThreads) for_each_flat_kernel(const F f, int64_t n, int flags) {
  using V = typename ValueOf<N>::type;
  wait_for_predecessor(flags);
  const int64_t vectors = n / N, work = vectors + n % N;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < work; i += stride) {
    if (i < vectors) {
      f.template one<V>(i * N);
    } else {
      f.template one<float>(vectors * N + (i - vectors));
    }
  }
}

}  // namespace detail
}  // namespace hr::gpu
